"""Classes: the names that a data set's labels have, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABELS = ("positive", "neutral", "negative")
"""MVSA's classes, and those of every table and run from before classes were recorded."""

VALUES = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
"""MVSA's classes as numbers, of which its intensities are means."""


def classes_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes that a data set's record names; the number of a class is its position.

    Args:
        record: the content of `dataset.json`.
    """
    return tuple(record.get("classes", LABELS))


def numbers_of(labels: Iterable[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of some labels, (N,) int64; raise ValueError for one that is none of the classes."""
    import numpy as np

    numbers = {name: number for number, name in enumerate(classes)}
    try:
        return np.array([numbers[label] for label in labels], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"expected a label among {listed(classes)}, got {error.args[0]!r}") from None


def combine(text: str, image: str) -> str | None:
    """Return the pair's label: equal labels stay, a neutral one yields, positive with negative is a conflict (None)."""
    if text == image or image == "neutral":
        return text
    return image if text == "neutral" else None


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return names for people, only the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
