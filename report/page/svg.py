"""Figures as SVG: where their marks stand; templates draw them. The page's style sheet sets the colours by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .figures import Figure, Line, LineChart, Matrix, Reliability, extent, ticks
from .number_figures import Histogram, Scatter, show
from .render import render

COLORS = 6
"""Number of line colours in the style sheet, `c0` to `c5`."""

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 58, 526, 12, 46
"""Height of a chart with one row of legend; from where to where its x axis goes; margins above and below."""

LETTER = 6.4
"""The approximate width of a letter, for placing the legend."""

SQUARE = (316, 284)
"""Where the x axis of a small figure ends, and how far down it is."""

DOTS = (1.6, 9.0)
"""The least and the greatest radius of a scatter's marks."""

Scale = Callable[[float], float]


def to_svg(figure: Figure) -> str:
    """Draw a figure.

    Returns:
        An `svg` element with title and description; every point has its own title.
    """
    if isinstance(figure, LineChart):
        name, places = "lines.svg", _lines(figure)
    elif isinstance(figure, Matrix):
        name, places = "matrix.svg", _matrix(figure)
    elif isinstance(figure, Reliability):
        name, places = "reliability.svg", _reliability(figure)
    elif isinstance(figure, Scatter):
        name, places = "scatter.svg", _scatter(figure)
    else:
        name, places = "histogram.svg", _histogram(figure)
    return render(name, n="{:.2f}".format, **{"figure": figure, "left": LEFT, **places})


def _lines(chart: LineChart) -> dict[str, Any]:
    legend = list(_legend([line.label for line in chart.lines]))
    top = max((y for _, y in legend), default=TOP) + 18 + (14 if chart.mark_label else 0)
    bottom = HEIGHT + top - TOP - BOTTOM
    (x0, x1), (y0, y1) = extent(chart)
    x, y = _scale(x0, x1, LEFT + 8, RIGHT - 8), _scale(y0, y1, bottom, top)
    swept = sorted({value for line in chart.lines for value in line.x})
    lines = [
        {
            "label": line.label,
            "color": f"c{(number if line.color is None else line.color) % COLORS}",
            "style": "line dashed" if line.dashed else "line",
            "legend": place,
            **_points(chart, line, x, y, (y0, y1)),
        }
        for number, (line, place) in enumerate(zip(chart.lines, legend, strict=True))
    ]
    return {
        "lines": lines,
        "x": x,
        "y": y,
        "x_ticks": swept if len(swept) <= 11 else ticks(x0, x1, 8),
        "y_ticks": ticks(y0, y1),
        "right": RIGHT,
        "top": top,
        "bottom": bottom,
        "height": bottom + BOTTOM,
    }


def _points(chart: LineChart, line: Line, x: Scale, y: Scale, within: tuple[float, float]) -> dict[str, Any]:
    """Return where a line's points, dots (with their words) and band stand; the band is cut at `within`."""
    there = [i for i, value in enumerate(line.y) if math.isfinite(value)]
    dots, band = [], None
    for i in there if chart.points else ():
        words = f"{line.label} at {line.x[i]:g}: {chart.show(line.y[i])}"
        if line.low is not None and line.high is not None and math.isfinite(line.low[i]):
            words += f" ({chart.show(line.low[i])} to {chart.show(line.high[i])})"
        dots.append((x(line.x[i]), y(line.y[i]), words))
    if line.low is not None and line.high is not None:
        low, high = line.low, line.high
        ends = [i for i in there if math.isfinite(low[i]) and math.isfinite(high[i])]
        around = [(x(line.x[i]), y(min(high[i], within[1]))) for i in ends]
        band = _path(around + [(x(line.x[i]), y(max(low[i], within[0]))) for i in reversed(ends)])
    return {"points": _path([(x(line.x[i]), y(line.y[i])) for i in there]), "dots": dots, "band": band}


def _legend(labels: Sequence[str]) -> Iterator[tuple[float, float]]:
    """Yield the place (x, y) of each label, in as many rows as they need."""
    x, y = float(LEFT), TOP
    for label in labels:
        width = 34 + LETTER * len(label)
        if x > LEFT and x + width > RIGHT + 14:
            x, y = float(LEFT), y + 18
        yield x, y
        x += width


def _matrix(matrix: Matrix) -> dict[str, Any]:
    """Return the side of a cell, and the room for the names, which are turned above narrow columns."""
    width = LETTER * max(map(len, matrix.names), default=0)
    cell = 16 if matrix.large else 74 if len(matrix.classes) <= 6 else 46
    turned = width > cell - 6
    return {"cell": cell, "left": max(92, width + 30), "top": width + 30 if turned else 42, "turned": turned}


def _reliability(figure: Reliability) -> dict[str, Any]:
    right, bottom = SQUARE
    bins = zip(figure.edges, figure.edges[1:], figure.counts, figure.confidence, figure.accuracy, strict=False)
    return {
        "bins": list(bins),
        "most": max(figure.counts, default=0),
        "ticks": ticks(0, 1),
        "x": _scale(0, 1, LEFT, right),
        "y": _scale(0, 1, bottom, TOP),
        "right": right,
        "bottom": bottom,
    }


def _scatter(figure: Scatter) -> dict[str, Any]:
    right, bottom = SQUARE
    (x0, x1), (y0, y1) = figure.x, figure.y
    x, y = _scale(x0, x1, LEFT + 10, right - 10), _scale(y0, y1, bottom - 10, TOP + 10)
    most = max((count for _, _, count in figure.marks), default=1)
    marks = [
        (
            x(true),
            y(predicted),
            max(DOTS[0], DOTS[1] * math.sqrt(count / most)),
            f"{count} pair{'s' * (count != 1)}: {show(true)}, predicted {show(predicted)}",
        )
        for true, predicted, count in figure.marks
    ]
    low, high = max(x0, y0), min(x1, y1)  # the diagonal lies inside both ranges
    h = figure.half_width
    around = [] if h is None else _around(figure, h)
    return {
        "marks": marks,
        "dots": [(x(a), y(b), f"mean prediction {show(b)} where {show(a)} is true") for a, b in figure.means],
        "means": _path([(x(a), y(b)) for a, b in figure.means]),
        "diagonal": (x(low), x(high), y(low), y(high)),
        "band": _path([(x(a), y(b)) for a, b in around]),
        "x": x,
        "y": y,
        "x_ticks": ticks(x0, x1),
        "y_ticks": ticks(y0, y1),
        "show": show,
        "right": right,
        "top": TOP,
        "bottom": bottom,
    }


def _around(figure: Scatter, half: float) -> list[tuple[float, float]]:
    """Return the corners of the band of this half width around the diagonal, within the ranges of x and y."""
    (x0, x1), (y0, y1) = figure.x, figure.y
    corners = {x0, x1, *(end + way * half for end in (y0, y1) for way in (-1, 1))}
    inside = sorted(corner for corner in corners if x0 <= corner <= x1)
    upper = [(corner, min(max(corner + half, y0), y1)) for corner in inside]
    return upper + [(corner, min(max(corner - half, y0), y1)) for corner in reversed(inside)]


def _histogram(figure: Histogram) -> dict[str, Any]:
    right, bottom = SQUARE
    low, high, most = figure.edges[0], figure.edges[-1], max(figure.counts, default=1)
    low, high = min(low, 0.0), max(high, 0.0)
    return {
        "bins": list(zip(figure.edges, figure.edges[1:], figure.counts, strict=False)),
        "x": _scale(low, high, LEFT + 4, right - 4),
        "y": _scale(0, most, bottom, TOP + 8),
        "x_ticks": ticks(low, high),
        "y_ticks": [value for value in ticks(0, most) if value == int(value)],
        "show": show,
        "right": right,
        "top": TOP,
        "bottom": bottom,
    }


def _scale(a: float, b: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - a) / (b - a) * (end - start)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
