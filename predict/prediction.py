"""The predictions of a head: labels, and each region's gate, attention and weights over the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..device import matmul_precision
from ..extract.frcnn.vocabulary import Vocabulary
from ..itin_head import Head, HeadOutput
from ..itin_head.outputs import predicted
from ..labels import listed
from ..targets import Target
from ..train.config import TrainConfig
from ..train.features.batches import ResidentFeatures
from ..train.features.features import Features
from ..train.label_rule import decided
from ..train.runs.folder import Run
from ..train.runs.write import COVERAGE
from ..train.steps import chunks

SPECIAL = -1
"""The word number that stands for [CLS] and [SEP]."""


@dataclass(frozen=True)
class Region:
    """A region and what the head computed for it."""

    box: tuple[float, float, float, float]
    """The box x1, y1, x2, y2 in pixels of the image."""
    score: float
    object: int
    """The object class, -1 if unknown."""
    attribute: int
    """The attribute class, -1 if unknown."""
    object_name: str
    """The object's name if the encoder has a vocabulary, else its number."""
    attribute_name: str
    """The attribute's name likewise."""
    gate: float | None
    """The gate g of eq. 8, its mean if the gate is a vector; None for heads without."""
    attention: float
    """The region's attention α_z of eq. 12, or that of the head's last hop."""
    words: dict[int, float]
    """The weight of each word number, Ā of eq. 6 summed over the word's WordPieces; -1 stands for [CLS] and [SEP].
    Empty for heads that align no words with regions."""

    @property
    def name(self) -> str:
        """The known ones of attribute and object, as in "red car"; empty if neither is known."""
        known = [self.attribute_name] if self.attribute >= 0 else []
        return " ".join([*known, self.object_name] if self.object >= 0 else [])


@dataclass(frozen=True)
class Prediction:
    """What a head predicts for one pair, with what it computed on the way."""

    label: str
    """The predicted class; of a number its value as text."""
    probabilities: dict[str, float]
    """The probability of each class; empty for a number."""
    words: list[str]
    """The words of the text, as far as the encoder read it."""
    regions: list[Region]
    """The regions by descending score; empty for heads that do not attend to regions."""
    value: float | None = None
    """The predicted number; None for a class."""
    interval: tuple[float, float] | None = None
    """The ends of the number's 90% interval within the target's span; None for a class, or where the run has none."""
    further: Mapping[str, Prediction] = field(default_factory=dict)
    """What the head predicts for further targets, by name, without words and regions."""
    reasons: Mapping[str, float] = field(default_factory=dict)
    """What spoke for the prediction, by name, and how strongly, where the head can say (`Head.reasons`): for a class in
    units of its log-odds against the mean class, for a number in its own."""
    attended: dict[int, float] = field(default_factory=dict)
    """The weight of each word number where the head attends to the words themselves, as in `Region.words`."""
    sentences: list[tuple[str, float]] = field(default_factory=list)
    """Each sentence of the text, as far as the encoder read it, and its weight, where the head attends to sentences."""

    def chances(self, form: str, most: int = 8) -> str:
        """Return the classes with their probabilities in a format such as `.3f`; of many only the most probable.

        Of a number its interval; empty where there is none.
        """
        if self.value is not None:
            if self.interval is None:
                return ""
            return f"{COVERAGE:.0%} interval {self.interval[0]:.3f} to {self.interval[1]:.3f}"
        each = list(self.probabilities.items())
        if len(each) > most:
            each.sort(key=lambda one: -one[1])
        return listed([f"{label} {value:{form}}" for label, value in each], most)

    def heaviest(self, weights: Mapping[int, float], most: int = 8) -> str:
        """Return the words of the greatest weight, such as `good 0.61  day 0.22`."""
        ordered = sorted(weights.items(), key=lambda one: -one[1])[:most]
        return "  ".join(f"{self.word(number)} {weight:.2f}" for number, weight in ordered)

    @property
    def by_sentence(self) -> str:
        """The sentences with their weights, such as `what a day ! 0.61  |  rain again . 0.39`; empty for fewer than
        two."""
        parts = [f"{text} {weight:.2f}" for text, weight in self.sentences]
        return "  |  ".join(parts) if len(parts) > 1 else ""

    @property
    def because(self) -> str:
        """The reasons in words, such as `love +0.19, image -0.42`; empty for a head that gives none."""
        return ", ".join(f"{name} {value:+.2f}" for name, value in self.reasons.items())

    def word(self, number: int) -> str:
        """Return the word with this number."""
        return self.words[number] if 0 <= number < len(self.words) else "[CLS]/[SEP]"


@dataclass(frozen=True, eq=False)
class PairDetails:
    """The words and regions of a pair, which describe what the head computes."""

    words: list[str]
    """The words of the text."""
    word_ids: NDArray[np.int32]
    """The word of each WordPiece that the head sees, (n,), -1 for [CLS] and [SEP]; empty if it reads no text."""
    regions: Mapping[str, np.ndarray] | None
    """The `boxes`, `scores`, `objects` and `attributes`, one entry per region; None if the head uses no regions."""


def token_mask(word_ids: np.ndarray, config: TrainConfig) -> NDArray[np.bool_]:
    """Return which WordPieces of a text the head of a run sees, (n,) bool, from the word ids (n,)."""
    kept = np.ones(len(word_ids), bool) if config.keep_special else np.asarray(word_ids) != SPECIAL
    return kept & (kept.cumsum() <= config.max_words)


@matmul_precision()
def predictions(
    head: Head,
    run: Run,
    features: Features,
    rows: NDArray[np.int64],
    details: Sequence[PairDetails],
    vocabulary: Vocabulary,
    batch_size: int,
    device: str | torch.device = "cpu",
) -> list[Prediction]:
    """Predict samples from their features; every prediction is made here.

    Args:
        head: the run's head, on the device.
        run: the run.
        features: features of the kinds that the head reads; the others may be empty.
        rows: (N,), the rows of the samples.
        details: N, of the same samples.
        vocabulary: names of objects and attributes.
        batch_size: number of samples computed together.
        device: the device to compute on.
    """
    config = run.config
    resident = ResidentFeatures(
        features,
        torch.device(device),
        config.regions,
        config.max_words,
        targets=(),
        averaged=config.averages,
        lexicons=config.lexicon_names,
        table=head.table,
        uses=run.head_config.uses,
    )
    bounds = run.target.bounds if run.target.is_number else (-1, 1)
    unit = (bounds[1] - bounds[0]) / 2
    found: list[Prediction] = []
    with torch.inference_mode():
        for some in chunks(torch.from_numpy(rows), batch_size):
            inputs = resident.batch(some).inputs
            out = head(*inputs)
            said = decided(predicted(out.logits, run.targets), config.label_from)
            reasons = head.reasons(*inputs, chosen=None if run.target.is_number else said[run.target.name].argmax(1))
            for place in range(len(some)):
                one = details[len(found)]
                first, *further = (
                    of_target(target, said[target.name][place], run.half_widths.get(target.name))
                    for target in run.targets
                )
                regions = [] if one.regions is None else regions_of(out, place, one.regions, one.word_ids, vocabulary)
                named = {target.name: each for target, each in zip(run.targets[1:], further, strict=True)}
                why = {name: unit * value for name, value in reasons[place].items()} if reasons else {}
                attended = (
                    {} if out.words is None else weights_by_word(out.words[place].tolist(), one.word_ids.tolist())
                )
                made = replace(first, words=one.words, regions=regions, attended=attended, further=named, reasons=why)
                extras = inputs[-1]
                if out.sentences is not None and extras is not None and extras.sentences is not None:
                    numbers = extras.sentences[place].tolist()
                    weights = out.sentences[place].tolist()
                    made = replace(made, sentences=_sentences(made, one.word_ids.tolist(), numbers, weights))
                found.append(made)
    return found


def of_target(target: Target, said: NDArray[np.float64], half_width: float | None) -> Prediction:
    """Return the prediction of one target for a pair.

    Args:
        target: the target.
        said: the probabilities of its classes, (classes,), or its number, ().
        half_width: half the width of a number's interval; None for none.
    """
    if not target.is_number:
        chances = dict(zip(target.classes, map(float, said), strict=True))
        return Prediction(target.classes[int(said.argmax())], chances, [], [])
    value = float(said)
    if half_width is None:
        return Prediction(f"{value:.3f}", {}, [], [], value)
    low, high = (min(max(end, target.bounds[0]), target.bounds[1]) for end in (value - half_width, value + half_width))
    return Prediction(f"{value:.3f}", {}, [], [], value, (low, high))


def _sentences(
    prediction: Prediction, word_ids: Sequence[int], numbers: Sequence[int], weights: Sequence[float]
) -> list[tuple[str, float]]:
    """Return the sentences of a text with their weights.

    Args:
        prediction: with the words.
        word_ids: (n,), the word that each WordPiece belongs to.
        numbers: (n,) or longer, the sentence that each stands in.
        weights: (n,) or longer, that of the sentence.
    """
    words: dict[int, dict[int, None]] = {}
    weight_of: dict[int, float] = {}
    for word, number, weight in zip(word_ids, numbers, weights, strict=False):
        words.setdefault(number, {})[word] = None
        weight_of[number] = weight
    return [(" ".join(map(prediction.word, each)), weight_of[number]) for number, each in words.items()]


def weights_by_word(weights: Sequence[float], word_ids: Sequence[int]) -> dict[int, float]:
    """Sum weights over the WordPieces of each word.

    Args:
        weights: (n,) or longer, one for each WordPiece; padding after the n-th is left out.
        word_ids: (n,), the word that each belongs to, -1 for [CLS] and [SEP].
    """
    words: dict[int, float] = {}
    for word, weight in zip(word_ids, weights, strict=False):
        words[int(word)] = words.get(int(word), 0.0) + float(weight)
    return words


def regions_of(
    out: HeadOutput, row: int, arrays: Mapping[str, np.ndarray], word_ids: np.ndarray, vocabulary: Vocabulary
) -> list[Region]:
    """Return the regions of one pair with what the head computed; none for a head that does not attend to regions.

    Args:
        out: the output of the head.
        row: the pair's index in the batch.
        arrays: the pair's `boxes`, `scores`, `objects` and `attributes`, one entry per region of the image.
        word_ids: (n,), the word of each WordPiece that the head saw.
        vocabulary: names of objects and attributes.
    """
    if out.attention is None:
        return []
    count = min(out.attention.shape[1], len(arrays["scores"]))
    alignment = None if out.alignment is None else out.alignment[row].float().cpu().numpy()
    return [
        Region(
            box=cast(tuple[float, float, float, float], tuple(map(float, arrays["boxes"][i]))),
            score=float(arrays["scores"][i]),
            object=int(arrays["objects"][i]),
            attribute=int(arrays["attributes"][i]),
            object_name=vocabulary.object(int(arrays["objects"][i])),
            attribute_name=vocabulary.attribute(int(arrays["attributes"][i])),
            gate=None if out.gate is None else float(out.gate[row, i].float().mean()),
            attention=float(out.attention[row, i]),
            words={} if alignment is None else weights_by_word(alignment[i].tolist(), word_ids.tolist()),
        )
        for i in range(count)
    ]
