"""The head `linear`: n-grams of the text beside the means of words and V, and nothing between them and the outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from torch import Tensor

from ...targets import Target
from ..config import HeadConfig
from ..extras import Extras, standard_of_known
from ..gru.packing import Words
from ..head import Head, HeadOutput, Inputs, mean_of, standard
from ..outputs import steps_of

LEAST = 2
"""Texts of the training part that an n-gram must stand in."""

MOST_REASONS = 8
"""n-grams of a pair that `reasons` names."""

WORD = r"(?u)\b\w\w+\b"
"""What a word is: at least two letters, digits or underscores."""


class LinearHead(Head):
    """z = W [TF-IDF of words ⊕ TF-IDF of characters ⊕ γ t ⊕ γ v ⊕ δ l] + b; of classes y = softmax(z).

    t and v are the standardised mean of the words' vectors and V, as in `pooled`, l the lexicons' values, standardised
    as in `extras.ExtraLogits`; γ is `means_scale`, δ `lexicon_scale`. TF-IDF is that of scikit-learn, each block
    divided by its L2 norm: (1 + ln count) (1 + ln((1 + N) / (1 + texts with the n-gram))).
    Everything is in float64 and on the CPU. `train.solving` solves for W and b; there are no steps.

    Ordered classes have a row of W each, of which the head makes the outputs of their cumulative links.
    """

    recurrent = False

    text_mean: Tensor
    text_sd: Tensor
    context_mean: Tensor
    context_sd: Tensor
    lexicon_mean: Tensor
    lexicon_scale: Tensor
    idf: Tensor
    """(n-grams,), of all blocks, in the order of the vocabulary."""
    weight: Tensor
    """(rows, columns), W: the n-grams, then words, V and lexicons."""
    bias: Tensor
    """(rows,), b."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        own = replace(config, mask=True, lexical=0, entries=0)  # padding is never read, and no table is learnt
        super().__init__(replace(own, lexicon_values=0), gru)
        self.config = own  # the lexicons' values are columns of X, not the base class's
        for name, size in (("text", config.token_dim), ("context", config.context_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size, dtype=torch.float64))
            self.register_buffer(f"{name}_sd", torch.ones(size, dtype=torch.float64))
        for name in ("lexicon_mean", "lexicon_scale"):
            self.register_buffer(name, torch.zeros(config.lexicon_values, dtype=torch.float64))
        self.know({"targets": [["classes", config.classes]]})

    def know(self, vocabulary: Mapping[str, Any]) -> None:
        """Take the n-grams of each block and the targets' rows, and make room for their weights.

        Args:
            vocabulary: `words` and `characters`, lists of n-grams; `targets`, the type and the rows of each target.
        """
        blocks = {name: list(vocabulary.get(name, ())) for name in ("words", "characters")}
        self._targets: list[tuple[str, int]] = [(str(kind), int(rows)) for kind, rows in vocabulary["targets"]]
        self.vocabulary: dict[str, Any] = {**blocks, "targets": [list(target) for target in self._targets]}
        self._counters = {name: self._counter(name, terms) for name, terms in blocks.items() if terms}
        terms, rows = sum(map(len, blocks.values())), sum(rows for _, rows in self._targets)
        columns = terms + sum(size for _, size in self._dense)
        for name, shape in (("idf", (terms,)), ("weight", (rows, columns)), ("bias", (rows,))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=self.text_mean.device))

    def learn(self, texts: Sequence[str], targets: Sequence[Target]) -> None:
        """Take the n-grams that stand in at least `LEAST` of the training part's texts, and their idf."""
        blocks, idf = {}, [np.zeros(0)]
        for name in ("words", "characters"):
            if self._ngrams(name)[1]:
                analyze = self._counter(name).build_analyzer()
                held = Counter(term for text in texts for term in set(analyze(text)))
                blocks[name] = sorted(term for term, count in held.items() if count >= LEAST)
                idf.append(np.log((1 + len(texts)) / (1 + np.array([held[term] for term in blocks[name]]))) + 1)
        rows = [[one.kind, 1 if one.is_number else len(one.classes)] for one in targets]
        self.know({**blocks, "targets": rows})
        self.idf.copy_(torch.from_numpy(np.concatenate(idf)))

    def scale(self, batches: Iterable[Inputs]) -> None:
        """Measure the means and standard deviations of the training part, of a text's over those that have words."""
        texts, contexts, values = [], [], []
        for _, words, _, context, _, _, extras in batches:
            text, V, there = self._means(words, context)
            texts.append(text[there])
            contexts.append(V)
            values += [] if extras is None else [extras.values.cpu()]
        if self.config.lexicon_values:
            mean, scale = standard_of_known(torch.cat(values))
            self.lexicon_mean.copy_(mean)
            self.lexicon_scale.copy_(scale)
        for name, each in (("text", texts), ("context", contexts)):
            mean, sd = standard(torch.cat(each))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_sd").copy_(sd)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LinearHead:
        """Stay in float64 and on the CPU, wherever a head that this is the partner of is moved to."""

        def here(own: Tensor) -> Tensor:
            return torch.empty_like(own, device="cpu") if own.is_meta else own

        return super()._apply(here, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def matrix(self, batch: Inputs) -> sparse.csr_matrix:
        """Return what the weights multiply, X (B, columns), of the arguments of `forward`."""
        regions, tokens, token_mask, context, region_mask, texts, extras = batch
        words = self._check(regions, tokens, token_mask, context, region_mask)
        if texts is None or len(texts) != len(words.mask):
            raise ValueError(f"texts: expected {len(words.mask)}, got {None if texts is None else len(texts)}")
        blocks = [self._tfidf(counter, idf, texts) for counter, idf in self._blocks()]
        if self.config.means_scale:
            text, V, there = self._means(words, context)
            text = ((text - self.text_mean) / self.text_sd).masked_fill(~there[:, None], 0)
            V = (V - self.context_mean) / self.context_sd
            blocks.append(sparse.csr_matrix(self.config.means_scale * torch.cat([text, V], 1).numpy()))
        if self.config.lexicon_values:
            if extras is None:
                raise ValueError("extras: expected lexicon values, got None")
            values = (extras.values.cpu().double() - self.lexicon_mean) * self.lexicon_scale
            blocks.append(sparse.csr_matrix(self.config.lexicon_scale * values.nan_to_num(0).numpy()))
        return sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((len(texts), 0))

    def forward(
        self,
        regions: Tensor | None,
        tokens: Tensor | Words | None,
        token_mask: Tensor | None,
        context: Tensor | None,
        region_mask: Tensor | None = None,
        texts: Sequence[str] | None = None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the outputs, in float64 on the CPU; the arguments are those of every head."""
        return HeadOutput(self.outputs(self.matrix((regions, tokens, token_mask, context, region_mask, texts, extras))))

    def outputs(self, X: sparse.csr_matrix) -> Tensor:
        """Return the outputs (B, outputs) of what `matrix` returns."""
        return outputs_of(X @ self.weight.numpy().T + self.bias.numpy(), self._targets)

    def reasons(self, *batch: Any, chosen: NDArray[np.int64] | None = None) -> list[dict[str, float]]:
        """Return what each part of a pair adds to z of the predicted class, above the mean over the classes.

        Of the n-grams the `MOST_REASONS` largest, those of characters in ‹›; then the words' vectors, V and the
        lexicons, each as a whole. For a number, what it adds to z.
        """
        X = self.matrix(batch)
        W, b = (values.numpy()[: self._targets[0][1]] for values in (self.weight, self.bias))
        if chosen is None or len(W) == 1:
            chosen = (X @ W.T + b).argmax(1)
        W = W - W.mean(0) if len(W) > 1 else W
        words, characters = (self.vocabulary[name] for name in ("words", "characters"))
        names = [*words, *(f"‹{term}›" for term in characters)]
        ends = np.cumsum([len(names), *(size for _, size in self._dense)])
        found = []
        for row, own in enumerate(chosen):
            places = X.indices[X.indptr[row] : X.indptr[row + 1]]
            parts = X.data[X.indptr[row] : X.indptr[row + 1]] * W[own, places]
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
        means = [("word vectors", config.token_dim), ("image", config.context_dim)] if config.means_scale else []
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

    def _means(self, words: Tensor | Words | None, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean words (B, token_dim), V and which texts have words (B,), in float64 on the CPU."""
        if not isinstance(words, Words) or context is None:
            raise ValueError("expected packed words and context, got others")
        text = self.read(words)
        mask = text.mask.cpu()
        return mean_of(text.W.cpu().double(), mask), context.cpu().double(), mask.any(-1)


def outputs_of(z: NDArray[np.float64], targets: Sequence[tuple[str, int]]) -> Tensor:
    """Return a head's outputs (B, outputs) of z (B, rows), where each target, by type, has so many rows."""
    parts, begin = [], 0
    for kind, rows in targets:
        own = torch.from_numpy(z[:, begin : begin + rows])
        parts.append(steps_of(own.log_softmax(1)) if kind == "ordered" else own)
        begin += rows
    return torch.cat(parts, 1)
