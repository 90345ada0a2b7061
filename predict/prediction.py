"""The predictions of a head: labels, and each region's gate, attention and weights over the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..device import matmul_precision
from ..extract.frcnn.vocabulary import Vocabulary
from ..itin_head import Head, HeadOutput
from ..labels import listed
from ..train.config import TrainConfig
from ..train.features.batches import ResidentFeatures
from ..train.features.features import Features
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
    gate: float
    """The gate g of eq. 8; its mean if the gate is a vector."""
    attention: float
    """The region's attention α_z of eq. 12."""
    words: dict[int, float]
    """The weight of each word number, Ā of eq. 6 summed over the word's WordPieces; -1 stands for [CLS] and [SEP]."""

    @property
    def name(self) -> str:
        """The known ones of attribute and object, as in "red car"; empty if neither is known."""
        known = [self.attribute_name] if self.attribute >= 0 else []
        return " ".join([*known, self.object_name] if self.object >= 0 else [])


@dataclass(frozen=True)
class Prediction:
    """The predicted label of one pair, with what the head computed on the way."""

    label: str
    probabilities: dict[str, float]
    words: list[str]
    """The words of the text, as far as the encoder read it."""
    regions: list[Region]
    """The regions by descending score; empty for heads that do not align regions."""

    def chances(self, form: str, most: int = 8) -> str:
        """Return the classes with their probabilities in a format such as `.3f`; of many only the most probable."""
        each = list(self.probabilities.items())
        if len(each) > most:
            each.sort(key=lambda one: -one[1])
        return listed([f"{label} {value:{form}}" for label, value in each], most)

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
    config: TrainConfig,
    features: Features,
    rows: NDArray[np.int64],
    details: Sequence[PairDetails],
    vocabulary: Vocabulary,
    batch_size: int,
    device: str | torch.device = "cpu",
) -> list[Prediction]:
    """Predict samples from their features; every prediction is made here.

    Args:
        head: a run's head, on the device.
        config: the run's recipe.
        features: features of the kinds that the head reads, with the run's classes; the others may be empty.
        rows: (N,), the rows of the samples.
        details: N, of the same samples.
        vocabulary: names of objects and attributes.
        batch_size: number of samples computed together.
        device: the device to compute on.
    """
    resident = ResidentFeatures(
        features, torch.device(device), config.regions, config.max_words, config.lexicon_names, head.table
    )
    found: list[Prediction] = []
    with torch.inference_mode():
        for some in chunks(torch.from_numpy(rows), batch_size):
            batch = resident.batch(some)
            out = head(*batch.inputs, batch.extras)
            for place, values in enumerate(out.logits.double().softmax(1).cpu().numpy()):
                one = details[len(found)]
                found.append(
                    Prediction(
                        features.classes[int(values.argmax())],
                        dict(zip(features.classes, map(float, values), strict=True)),
                        one.words,
                        [] if one.regions is None else regions_of(out, place, one.regions, one.word_ids, vocabulary),
                    )
                )
    return found


def weights_by_word(weights: Sequence[float], word_ids: Sequence[int]) -> dict[int, float]:
    """Sum a region's weights over the WordPieces of each word.

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
    """Return the regions of one pair with what the head computed; none for a head that does not align regions.

    Args:
        out: the output of the head.
        row: the pair's index in the batch.
        arrays: the pair's `boxes`, `scores`, `objects` and `attributes`, one entry per region of the image.
        word_ids: (n,), the word of each WordPiece that the head saw.
        vocabulary: names of objects and attributes.
    """
    if out.alignment is None or out.gate is None or out.attention is None:
        return []
    count = min(out.attention.shape[1], len(arrays["scores"]))
    alignment = out.alignment[row].float().cpu().numpy()
    return [
        Region(
            box=cast(tuple[float, float, float, float], tuple(map(float, arrays["boxes"][i]))),
            score=float(arrays["scores"][i]),
            object=int(arrays["objects"][i]),
            attribute=int(arrays["attributes"][i]),
            object_name=vocabulary.object(int(arrays["objects"][i])),
            attribute_name=vocabulary.attribute(int(arrays["attributes"][i])),
            gate=float(out.gate[row, i].float().mean()),
            attention=float(out.attention[row, i]),
            words=weights_by_word(alignment[i].tolist(), word_ids.tolist()),
        )
        for i in range(count)
    ]
