"""What the page's browser of pairs and its comparison of runs work on, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..labels import LABELS
from ..predict.pairs import PART_NAMES, Pair
from ..predict.words import segments
from .thumbnails import Thumbnail

DIGITS = 4
"""Places after the point that weights, gates and shares are given with."""

KEY = 16
"""Hexadecimal digits of an image's digest that name it on the page."""


@dataclass(frozen=True)
class Shown:
    """The pairs of one part of one run."""

    name: str
    """The run's, as the report calls it."""
    part: str
    pairs: Sequence[Pair]


def pairs_data(shown: Sequence[Shown], pictures: Mapping[str, Thumbnail]) -> dict[str, Any]:
    """What the widget `pairs` works on.

    Args:
        shown: the runs to be looked through, one at a time.
        pictures: small pictures by the digest of the image.
    """
    return {
        "labels": list(LABELS),
        "runs": [
            {
                "name": one.name,
                "part": PART_NAMES[one.part],
                "pairs": [_pair(pair) for pair in one.pairs],
            }
            for one in shown
        ],
        "pictures": {
            digest[:KEY]: {"url": one.url, "size": one.size, "why": one.reason} for digest, one in pictures.items()
        },
    }


def _pair(pair: Pair) -> dict[str, Any]:
    prediction = pair.prediction
    return {
        "id": pair.id,
        "text": segments(pair.text, prediction.words),
        "label": LABELS.index(pair.label) if pair.label else -1,
        "predicted": LABELS.index(prediction.label),
        "p": [_round(prediction.probabilities[label]) for label in LABELS],
        "picture": pair.image_sha256[:KEY],
        "regions": [
            {
                "box": [round(value, 1) for value in region.box],
                "name": region.name,
                "gate": _round(region.gate),
                "attention": _round(region.attention),
                "words": [[word, _round(weight)] for word, weight in sorted(region.words.items())],
            }
            for region in prediction.regions
        ],
    }


def _round(value: float) -> float:
    return round(value, DIGITS)
