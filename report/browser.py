"""The data of the page's browser of pairs, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..predict.pairs import Pair
from ..predict.words import segments
from ..train.protocols.split import PART_NAMES
from .thumbnails import Thumbnail

DIGITS = 4
"""Decimal places of weights, gates and shares."""

KEY_LENGTH = 16
"""Number of hexadecimal digits of an image's digest that identify it on the page."""


@dataclass(frozen=True)
class RunPairs:
    """The pairs of one part of one run, for the browser."""

    name: str
    """The name of the run in the report."""
    part: str
    pairs: Sequence[Pair]
    span: tuple[float, float] | None = None
    """The span of the run's target if it is a number, or None."""

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the run's."""
        return list(self.pairs[0].prediction.probabilities) if self.pairs else []


def pairs_data(shown: Sequence[RunPairs], pictures: Mapping[str, Thumbnail]) -> dict[str, Any]:
    """Return the data of the widget `pairs`.

    Args:
        shown: the runs that can be browsed, one at a time.
        pictures: thumbnails by the digest of the image.
    """
    return {
        "runs": [
            {
                "name": one.name,
                "part": PART_NAMES[one.part],
                "labels": list(one.classes),
                "span": one.span,
                "pairs": [_pair(pair, {name: number for number, name in enumerate(one.classes)}) for pair in one.pairs],
            }
            for one in shown
        ],
        "pictures": {
            digest[:KEY_LENGTH]: {"url": one.url, "size": one.size, "why": one.reason}
            for digest, one in pictures.items()
        },
    }


def _pair(pair: Pair, numbers: Mapping[str, int]) -> dict[str, Any]:
    prediction = pair.prediction
    return {
        "id": pair.id,
        "text": segments(pair.text, prediction.words),
        **_said(pair, numbers),
        "p": [_round(value) for value in prediction.probabilities.values()],
        "picture": pair.image_sha256[:KEY_LENGTH],
        "regions": [
            {
                "box": [round(value, 1) for value in region.box],
                "name": region.name,
                "gate": _round(region.gate),
                "attention": _round(region.attention),
                "words": [[word, _round(weight)] for word, weight in sorted(region.words.items())],
            }
            for region in prediction.regions
            if region.gate is not None
        ],
    }


def _said(pair: Pair, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return what is true and what is predicted: numbers of classes, -1 for unknown; or of a number its values."""
    prediction = pair.prediction
    if prediction.value is None:
        return {"label": numbers[pair.label] if pair.label else -1, "predicted": numbers[prediction.label]}
    ends = None if prediction.interval is None else [_round(end) for end in prediction.interval]
    true = None if pair.value is None else _round(pair.value)
    return {"label": true, "predicted": _round(prediction.value), "interval": ends}


def _round(value: float) -> float:
    return round(value, DIGITS)
