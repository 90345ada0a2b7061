"""Figures of a target that is a number, as data: predicted against true, and the distribution of the errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CELLS = 48
"""Number of cells of a scatter along each axis: pairs in the same cell are one mark."""

LEVELS = 15
"""Number of distinct true values up to which each is a level of its own; more are grouped."""

GROUPS = 10
"""Number of groups of equal width that more values than `LEVELS` are divided into."""


@dataclass(frozen=True)
class Scatter:
    """Predicted against true numbers."""

    name: str
    title: str
    x: tuple[float, float]
    """The range of the true values."""
    y: tuple[float, float]
    """The range of the predictions."""
    marks: tuple[tuple[float, float, int], ...]
    """True value, prediction and number of pairs of each mark, which stands in the middle of its pairs."""
    means: tuple[tuple[float, float], ...]
    """The mean true value and the mean prediction of each level."""
    half_width: float | None = None
    """Half the width of the prediction interval, drawn around the diagonal; None for none."""

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        true: ArrayLike,
        predicted: ArrayLike,
        span: tuple[float, float],
        half_width: float | None = None,
    ) -> Scatter:
        """Return the figure of true values and predictions, (N,) each, of a target of this span."""
        a, b = (np.asarray(one, dtype=np.float64) for one in (true, predicted))
        y = (min(span[0], float(b.min())), max(span[1], float(b.max())))
        x = (min(span[0], float(a.min())), max(span[1], float(a.max())))
        cell = _cell(a, x) * CELLS + _cell(b, y)
        _, place, counts = np.unique(cell, return_inverse=True, return_counts=True)
        middles = [np.bincount(place, one) / counts for one in (a, b)]
        levels = levels_of(a, span)
        means = [(float(a[rows].mean()), float(b[rows].mean())) for _, rows in levels]
        marks = zip(*(one.tolist() for one in (*middles, counts)), strict=True)
        return cls(name, title, x, y, tuple(marks), tuple(means), half_width)

    @property
    def alt(self) -> str:
        """The figure in words."""
        each = (f"{show(predicted)} where {show(true)} is true" for true, predicted in self.means)
        return f"{self.title}: predicted in the mean {', '.join(each)}."


@dataclass(frozen=True)
class Histogram:
    """How often a value lies in each bin."""

    name: str
    title: str
    x_label: str
    edges: tuple[float, ...]
    """The edges of the bins, one more than there are bins."""
    counts: tuple[int, ...]

    @classmethod
    def of(cls, name: str, title: str, x_label: str, values: ArrayLike, bins: int = 24) -> Histogram:
        """Return the figure of values (N,) around 0: 0 is an edge or the middle of a bin."""
        one = np.asarray(values, dtype=np.float64)
        most = float(np.abs(one).max()) or 1.0
        counts, edges = np.histogram(one, bins, (-most, most))
        filled = np.flatnonzero(counts)
        kept = slice(int(filled[0]), int(filled[-1]) + 1)
        ends = edges[kept.start : kept.stop + 1]
        return cls(name, title, x_label, tuple(ends.tolist()), tuple(counts[kept].tolist()))

    @property
    def alt(self) -> str:
        """The figure in words."""
        bins = zip(self.edges, self.edges[1:], self.counts, strict=False)
        each = (f"{n} from {show(low)} to {show(high)}" for low, high, n in bins if n)
        return f"{self.title}, {self.x_label}: {', '.join(each)}."


def levels_of(values: NDArray[np.float64], span: tuple[float, float]) -> list[tuple[str, NDArray[np.int64]]]:
    """Return the levels of true values (N,), from the least: a name and the rows of each.

    Up to `LEVELS` distinct values are a level each; more are put into `GROUPS` groups of equal width over the span.
    """
    distinct = np.unique(values.round(9))
    if len(distinct) <= LEVELS:
        return [(show(one), np.flatnonzero(np.abs(values - one) < 1e-8)) for one in distinct.tolist()]
    edges = np.linspace(min(span[0], distinct[0]), max(span[1], distinct[-1]), GROUPS + 1)
    group = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, GROUPS - 1)
    names = [f"{show(low)} to {show(high)}" for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    rows = [np.flatnonzero(group == number) for number in range(GROUPS)]
    return [(name, one) for name, one in zip(names, rows, strict=True) if len(one)]


def show(value: float) -> str:
    """Format a value of a target."""
    return f"{value:.3g}".replace("-", "−")


def _cell(values: NDArray[np.float64], ends: tuple[float, float]) -> NDArray[np.int64]:
    place = (values - ends[0]) / (ends[1] - ends[0]) * CELLS
    return np.clip(place.astype(np.int64), 0, CELLS - 1)
