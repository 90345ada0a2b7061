"""The classes of every data set and head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABELS = ("positive", "neutral", "negative")
"""The classes; the number of a class is its position."""


def numbers_of(labels: Iterable[str]) -> NDArray[np.int64]:
    """Return the numbers of classes, (N,) int64; raise ValueError for an unknown class."""
    import numpy as np

    return np.array([LABELS.index(label) for label in labels], dtype=np.int64)
