"""The head `linear`: n-grams of the text beside the means of words and V, and nothing between them and the outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from torch import Tensor

from ..config import HeadConfig
from ..extras import Extras
from ..gru.packing import Words
from ..head import Inputs, mean_of, standard
from ..layers.scene import given_scene
from ..solved import Lesson, SolvedHead, rows_of

LEAST = 2
"""Texts of the training part that an n-gram must stand in."""

MOST_REASONS = 8
"""n-grams of a pair that `reasons` names."""

WORD = r"(?u)\b\w\w+\b"
"""What a word is: at least two letters, digits or underscores."""


class LinearHead(SolvedHead):
    """z = W [TF-IDF of words ⊕ TF-IDF of characters ⊕ γ t ⊕ γ v ⊕ δ l] + b; of classes y = softmax(z).

    t and v are the standardised mean of the words' vectors and V, as in `pooled`, l the lexicons' values; γ is
    `means_scale`, δ `lexicon_scale`. With `scene` γ p follows γ v, p the scene's features, standardised. TF-IDF is that
    of scikit-learn, each block divided by its L2 norm: (1 + ln count) (1 + ln((1 + N) / (1 + texts with the n-gram))).
    """

    text_mean: Tensor
    text_sd: Tensor
    context_mean: Tensor
    context_sd: Tensor
    scene_mean: Tensor
    scene_sd: Tensor
    idf: Tensor
    """(n-grams,), of all blocks, in the order of the vocabulary."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        sizes = {"text": config.token_dim, "context": config.context_dim}
        if config.reads_scene:
            sizes["scene"] = config.scene_dim
        for name, size in sizes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size, dtype=torch.float64))
            self.register_buffer(f"{name}_sd", torch.ones(size, dtype=torch.float64))
        self.know({"targets": [["classes", config.classes]]})

    def know(self, vocabulary: Mapping[str, Any]) -> None:
        """Take the n-grams of each block and the targets' rows, and make room for their weights.

        Args:
            vocabulary: `words` and `characters`, lists of n-grams; `targets`, the type and the rows of each target.
        """
        blocks = {name: list(vocabulary.get(name, ())) for name in ("words", "characters")}
        self.vocabulary: dict[str, Any] = {**blocks, "targets": [list(target) for target in vocabulary["targets"]]}
        self._counters = {name: self._counter(name, terms) for name, terms in blocks.items() if terms}
        terms = sum(map(len, blocks.values()))
        self.register_buffer("idf", torch.zeros(terms, dtype=torch.float64, device=self.text_mean.device))
        self._room(vocabulary["targets"], terms + sum(size for _, size in self._dense))

    def learn(self, lesson: Lesson) -> None:
        """Take the n-grams that stand in at least `LEAST` of the training part's texts, and their idf."""
        blocks, idf = {}, [np.zeros(0)]
        for name in ("words", "characters"):
            if self._ngrams(name)[1]:
                analyze = self._counter(name).build_analyzer()
                held = Counter(term for text in lesson.texts for term in set(analyze(text)))
                blocks[name] = sorted(term for term, count in held.items() if count >= LEAST)
                idf.append(np.log((1 + len(lesson.texts)) / (1 + np.array([held[term] for term in blocks[name]]))) + 1)
        self.know({**blocks, "targets": rows_of(lesson.targets)})
        self.idf.copy_(torch.from_numpy(np.concatenate(idf)))

    def scale(self, batches: Iterable[Inputs]) -> None:
        """Measure the means and standard deviations of the training part, of a text's over those that have words."""
        parts: dict[str, list[Tensor]] = {}
        values = []
        for _, words, _, context, _, _, extras in batches:
            means, there = self._means(words, context, extras)
            for name, each in means.items():
                parts.setdefault(name, []).append(each[there] if name == "text" else each)
            values += [self.known(extras).values] if self.config.lexicon_values else []
        if values:
            self.standardise(values)
        for name, every in parts.items():
            mean, sd = standard(torch.cat(every))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_sd").copy_(sd)

    def matrix(self, batch: Inputs) -> sparse.csr_matrix:
        """Return what the weights multiply, X (B, columns), of the arguments of `forward`."""
        regions, tokens, token_mask, context, region_mask, texts, extras = batch
        words = self._check(regions, tokens, token_mask, context, region_mask)
        if texts is None or len(texts) != len(words.mask):
            raise ValueError(f"texts: expected {len(words.mask)}, got {None if texts is None else len(texts)}")
        blocks = [self._tfidf(counter, idf, texts) for counter, idf in self._blocks()]
        if self.config.means_scale:
            means, there = self._means(words, context, extras)
            for name, each in means.items():
                standardised = (each - getattr(self, f"{name}_mean")) / getattr(self, f"{name}_sd")
                means[name] = standardised.masked_fill(~there[:, None], 0) if name == "text" else standardised
            blocks.append(sparse.csr_matrix(self.config.means_scale * torch.cat([*means.values()], 1).numpy()))
        if self.config.lexicon_values:
            blocks.append(sparse.csr_matrix(self.config.lexicon_scale * self.lexicon_values(extras)))
        return sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((len(texts), 0))

    def parts(self, X: sparse.csr_matrix, W: NDArray[np.float64], batch: Inputs) -> list[dict[str, float]]:
        """Return what each part adds: of the n-grams the `MOST_REASONS` largest, those of characters in ‹›; then the
        words' vectors, V, the scene and the lexicons, each as a whole."""
        words, characters = (self.vocabulary[name] for name in ("words", "characters"))
        names = [*words, *(f"‹{term}›" for term in characters)]
        ends = np.cumsum([len(names), *(size for _, size in self._dense)])
        found = []
        for row, own in enumerate(W):
            places = X.indices[X.indptr[row] : X.indptr[row + 1]]
            parts = X.data[X.indptr[row] : X.indptr[row + 1]] * own[places]
            largest = [i for i in np.argsort(-abs(parts), kind="stable") if places[i] < ends[0]][:MOST_REASONS]
            reasons = {names[places[i]]: float(parts[i]) for i in largest}
            for (name, _), begin, end in zip(self._dense, ends[:-1], ends[1:], strict=True):
                reasons[name] = float(parts[(places >= begin) & (places < end)].sum())
            found.append(reasons)
        return found

    @property
    def _dense(self) -> list[tuple[str, int]]:
        """The blocks of X after the n-grams, each with its columns."""
        config = self.config
        means = [("word vectors", config.token_dim), ("image", config.context_dim), ("scene", config.scene_dim)]
        means = [(name, size) for name, size in means if size and config.means_scale]
        return [*means, *([("lexicons", config.lexicon_values)] if config.lexicon_values else [])]

    def _blocks(self) -> Iterator[tuple[CountVectorizer, NDArray[np.float64]]]:
        begin = 0
        for counter in self._counters.values():
            end = begin + len(counter.vocabulary)
            yield counter, self.idf.numpy()[begin:end]
            begin = end

    def _ngrams(self, name: str) -> tuple[int, int]:
        longest = self.config.word_ngrams if name == "words" else self.config.char_ngrams
        return (1 if name == "words" else min(2, longest)), longest

    def _counter(self, name: str, terms: Sequence[str] | None = None) -> CountVectorizer:
        places = None if terms is None else {term: place for place, term in enumerate(terms)}
        kind = "word" if name == "words" else "char"
        return CountVectorizer(
            analyzer=kind, ngram_range=self._ngrams(name), lowercase=True, token_pattern=WORD, vocabulary=places
        )

    @staticmethod
    def _tfidf(counter: CountVectorizer, idf: NDArray[np.float64], texts: Sequence[str]) -> sparse.csr_matrix:
        counts = counter.transform(texts).astype(np.float64)
        counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
        return normalize(counts)

    def _means(
        self, words: Tensor | Words | None, context: Tensor | None, extras: Extras | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the mean words (B, token_dim), V and, where it is read, P, and which texts have words (B,).

        All in float64 on the CPU.
        """
        if not isinstance(words, Words) or context is None:
            raise ValueError("expected packed words and context, got others")
        text = self.read(words)
        mask = text.mask.cpu()
        means = {"text": mean_of(text.W.cpu().double(), mask), "context": context.cpu().double()}
        if self.config.reads_scene:
            means["scene"] = given_scene(self.config, extras).cpu().double()
        return means, mask.any(-1)
