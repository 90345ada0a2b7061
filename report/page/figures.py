"""Figures as data, which `svg` draws for the page and `plot` for print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...train.config import SCORE_TITLES
from .number_figures import Histogram, Scatter

SCORE_NAMES = {
    f"{prefix}{name}": f"{part}{title}"
    for prefix, part in (("", ""), ("val_", "validation "), ("train_", "training "))
    for name, title in SCORE_TITLES.items()
}
"""The display names of score columns."""


@dataclass(frozen=True)
class Line:
    """One line of a chart; points whose y is not finite are left out."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    """The lower end of the band at each x, or None for no band."""
    high: tuple[float, ...] | None = None
    """The upper end of the band at each x."""
    dashed: bool = False
    color: int | None = None
    """The index of its colour among the figure colours; None for its position in the chart."""


@dataclass(frozen=True)
class LineChart:
    """Lines over one axis."""

    name: str
    """A unique name, [a-z0-9-]: the anchor and the name of the file."""
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    mark: float | None = None
    """An x that is marked, or None."""
    mark_label: str = ""
    percent: bool = False
    """Whether y is a fraction, shown in per cent."""
    points: bool = True
    """Whether each point is marked."""

    @property
    def alt(self) -> str:
        """The figure in words."""
        return f"{self.y_label} against {self.x_label}: " + "; ".join(map(self._line, self.lines)) + "."

    def _line(self, line: Line) -> str:
        there = [(x, y) for x, y in zip(line.x, line.y, strict=True) if np.isfinite(y)]
        if not there:
            return f"{line.label} has no points"
        (first, start), (last, end) = there[0], there[-1]
        best = max(there, key=lambda point: point[1])
        return (
            f"{line.label} from {self.show(start)} at {first:g} to {self.show(end)} at {last:g},"
            f" greatest {self.show(best[1])} at {best[0]:g}"
        )

    def show(self, y: float) -> str:
        """Format a value as the figure shows it."""
        return f"{y:.1%}" if self.percent else f"{y:.3g}"


MANY = 12
"""Number of classes above which a matrix has no numbers in its cells."""

LONGEST = 24
"""The characters of a class's name that stand beside a matrix, at most."""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    name: str
    title: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """The counts (classes, classes); the row is the true class, the column the predicted one."""

    @classmethod
    def of(cls, name: str, title: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Matrix:
        """Return the matrix of these counts; of many classes only those that occur or are predicted."""
        table = np.array(counts)
        kept = np.arange(len(classes))
        if len(classes) > MANY:
            kept = np.flatnonzero(table.any(0) | table.any(1))
        rows = tuple(tuple(map(int, row)) for row in table[np.ix_(kept, kept)])
        return cls(name, title, tuple(classes[place] for place in kept.tolist()), rows)

    @property
    def large(self) -> bool:
        """Whether it has too many cells for numbers in them."""
        return len(self.classes) > MANY

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, long ones cut."""
        return tuple(name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in self.classes)

    @property
    def alt(self) -> str:
        """The figure in words."""
        rows = zip(self.classes, self.counts, strict=True)
        each = (
            f"of {sum(row)} {label}, "
            + ", ".join(f"{n} as {to}" for n, to in zip(row, self.classes, strict=True) if n or not self.large)
            for label, row in rows
            if any(row) or not self.large
        )
        return f"{self.title}: {'; '.join(each)}."


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: the accuracy of predictions against their confidence."""

    name: str
    title: str
    edges: tuple[float, ...]
    """The edges of the bins from 0 to 1, one more than there are bins."""
    counts: tuple[int, ...]
    """The number of predictions in each bin."""
    confidence: tuple[float, ...]
    """The mean probability of the predicted class in each bin; NaN for an empty bin."""
    accuracy: tuple[float, ...]
    """The fraction of correct predictions in each bin; NaN for an empty bin."""
    ece: float
    """The expected calibration error."""

    @property
    def alt(self) -> str:
        """The figure in words."""
        bins = zip(self.counts, self.confidence, self.accuracy, strict=True)
        filled = [f"{n} at {c:.0%} confidence, {a:.0%} right" for n, c, a in bins if n]
        return f"{self.title}: {'; '.join(filled)}. Expected calibration error {self.ece:.1%}."


Figure = LineChart | Matrix | Reliability | Scatter | Histogram


def curve(
    name: str,
    title: str,
    data: pd.DataFrame,
    x: str,
    x_label: str,
    scores: Sequence[str] = ("accuracy", "weighted_f1"),
    mark: float | None = None,
    mark_label: str = "",
    percent: bool = True,
) -> LineChart:
    """Chart scores over one swept value, as in the paper's Figs. 5 and 6.

    Args:
        name: the name of the chart.
        title: the title of the chart.
        data: one row per point: the column named by `x`, and for each of `scores` the columns NAME and, for a band,
            NAME_low and NAME_high (the mean over seeds and the ends of its 95% interval).
        x: the column of the swept value.
        x_label: the label of the x axis.
        scores: the columns to plot.
        mark: the x to mark.
        mark_label: the label of the mark.
        percent: whether the scores are fractions, shown in per cent.
    """
    data = data.sort_values(x)
    drawn = [x, *(f"{one}{end}" for one in scores for end in ("", "_low", "_high"))]
    values = {column: tuple(map(float, data[column])) for column in drawn if column in data}
    lines = tuple(
        Line(SCORE_NAMES.get(one, one), values[x], values[one], values.get(f"{one}_low"), values.get(f"{one}_high"))
        for one in scores
    )
    validation = all(line.label.startswith("validation ") for line in lines)
    label = lines[0].label if len(lines) == 1 else "score on the validation part" if validation else "score"
    return LineChart(name, title, x_label, label[:1].upper() + label[1:], lines, mark, mark_label, percent)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers within a range that divide it into about `about` steps."""
    span = high - low
    if not np.isfinite(span) or span <= 0:
        return [low]
    raw = span / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def extent(chart: LineChart) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the range of x and of y that a chart shows: all points and bands, with a margin above and below."""
    xs = [x for line in chart.lines for x in line.x]
    ys = [
        y
        for line in chart.lines
        for values in (line.y, line.low or (), line.high or ())
        for y in values
        if np.isfinite(y)
    ]
    xs += [chart.mark] if chart.mark is not None else []
    x0, x1 = (min(xs), max(xs)) if xs else (0.0, 1.0)
    y0, y1 = (min(ys), max(ys)) if ys else (0.0, 1.0)
    if x0 == x1:
        x0, x1 = x0 - 0.5, x1 + 0.5
    margin = 0.06 * (y1 - y0) or 0.05 * (abs(y1) or 1)
    low, high = y0 - margin, y1 + margin
    if chart.percent:
        low, high = max(0.0, low), min(1.0, high)
    elif y0 >= 0:
        low = max(0.0, low)
    return (x0, x1), (low, high)
