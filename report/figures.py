"""Figures as data: what `svg` draws for the page and `plot` for print, and what tests compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .section import Curve, Section

SCORE_NAMES = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "val_accuracy": "validation accuracy",
    "val_weighted_f1": "validation weighted F1",
    "val_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "train_loss": "training loss",
}
"""How columns of scores are called where people read."""


@dataclass(frozen=True)
class Line:
    """One line of a chart; points whose y is not finite are left out."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    """The lower end of the band at each x, or None for no band."""
    high: tuple[float, ...] | None = None
    dashed: bool = False
    color: int | None = None
    """The place of its colour among the figure colours; None for that of its place in the chart."""


@dataclass(frozen=True)
class LineChart:
    """Lines over one axis."""

    name: str
    """Unique, [a-z0-9-]: the anchor and the name of the file."""
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    mark: float | None = None
    """An x to be marked."""
    mark_label: str = ""
    percent: bool = False
    """Whether y is a share, shown in per cent."""
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
        """A value as the figure writes it."""
        return f"{100 * y:.1f}%" if self.percent else f"{y:.3g}"


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix."""

    name: str
    title: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """(classes, classes); the row is the true class, the column the predicted one."""

    @property
    def alt(self) -> str:
        """The figure in words."""
        rows = zip(self.classes, self.counts, strict=True)
        each = (
            f"of {sum(row)} {label}, " + ", ".join(f"{n} as {to}" for n, to in zip(row, self.classes, strict=True))
            for label, row in rows
        )
        return f"{self.title}: {'; '.join(each)}."


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: of the predictions made with so much confidence, how many were right."""

    name: str
    title: str
    edges: tuple[float, ...]
    """The ends of the bins, one more than there are bins, from 0 to 1."""
    counts: tuple[int, ...]
    """Predictions in each bin."""
    confidence: tuple[float, ...]
    """Mean probability of the predicted class in each bin; NaN where it is empty."""
    accuracy: tuple[float, ...]
    """Share of right predictions in each bin; NaN where it is empty."""
    ece: float
    """Expected calibration error."""

    @property
    def alt(self) -> str:
        """The figure in words."""
        bins = zip(self.counts, self.confidence, self.accuracy, strict=True)
        filled = [f"{n} at {100 * c:.0f}% confidence, {100 * a:.0f}% right" for n, c, a in bins if n]
        return f"{self.title}: {'; '.join(filled)}. Expected calibration error {100 * self.ece:.1f}%."


Figure = LineChart | Matrix | Reliability


def chart_of(section: Section, curve: Curve) -> LineChart:
    """The chart of a section's curve."""
    data = curve.data.sort_values(curve.x)
    x = tuple(map(float, data[curve.x]))
    lines = []
    for name in curve.scores:
        banded = {f"{name}_low", f"{name}_high"} <= set(data)
        lines.append(
            Line(
                SCORE_NAMES.get(name, name),
                x,
                _floats(data[name]),
                _floats(data[f"{name}_low"]) if banded else None,
                _floats(data[f"{name}_high"]) if banded else None,
            )
        )
    names = [SCORE_NAMES.get(name, name) for name in curve.scores]
    validation = all(name.startswith("validation ") for name in names)
    label = names[0] if len(names) == 1 else "score on the validation part" if validation else "score"
    return LineChart(
        section.name,
        section.title,
        curve.x_label,
        label[:1].upper() + label[1:],
        tuple(lines),
        curve.mark,
        curve.mark_label,
        percent=True,
    )


def figures_of(section: Section) -> list[Figure]:
    """All figures of a section: its curve, and what else it has."""
    return [*([chart_of(section, section.curve)] if section.curve is not None else []), *section.figures]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that divide a range into about so many steps; all lie within it."""
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
    """The range of x and of y that a chart shows: all points and bands, with a margin above and below."""
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


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
