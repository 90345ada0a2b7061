"""Figures as SVG. The page's style sheet sets the colours by class, so one drawing serves light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.etree import ElementTree as ET

from .figures import Figure, Line, LineChart, Matrix, Reliability, extent, ticks

COLORS = 6
"""Number of line colours in the style sheet, `c0` to `c5`."""

WIDTH, HEIGHT = 540, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 46
LETTER = 6.4
"""The approximate width of a letter, for placing the legend."""

Scale = Callable[[float], float]


def to_svg(figure: Figure) -> str:
    """Draw a figure.

    Returns:
        An `svg` element with title and description; every point has its own title.
    """
    if isinstance(figure, LineChart):
        root = _lines(figure)
    elif isinstance(figure, Matrix):
        root = _matrix(figure)
    else:
        root = _reliability(figure)
    return ET.tostring(root, encoding="unicode")


def _root(figure: Figure, width: float, height: float) -> ET.Element:
    root = ET.Element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "aria-labelledby": f"{figure.name}-title {figure.name}-desc",
            "class": "figure",
        },
    )
    ET.SubElement(root, "title", {"id": f"{figure.name}-title"}).text = figure.title
    ET.SubElement(root, "desc", {"id": f"{figure.name}-desc"}).text = figure.alt
    return root


def _lines(chart: LineChart) -> ET.Element:
    rows = _legend_rows([line.label for line in chart.lines])
    top = TOP + 18 * len(rows) + (14 if chart.mark_label else 0)
    height = HEIGHT + top - TOP
    root = _root(chart, WIDTH, height)
    root.set("class", "figure wide")
    (x0, x1), (y0, y1) = extent(chart)
    x = _scale(x0, x1, LEFT + 8, WIDTH - RIGHT - 8)
    y = _scale(y0, y1, height - BOTTOM, top)
    swept = sorted({value for line in chart.lines for value in line.x})
    _axes(root, chart, x, y, swept if len(swept) <= 11 else ticks(x0, x1, 8), ticks(y0, y1), top, height)
    _legend(root, chart, rows)
    if chart.mark is not None:
        at = x(chart.mark)
        _add(root, "line", "mark", x1=at, x2=at, y1=top - 4, y2=height - BOTTOM)
        anchor = "end" if at > WIDTH * 0.7 else "start" if at < WIDTH * 0.3 else "middle"
        _text(root, at, top - 8, chart.mark_label, "small", anchor)
    for number, line in enumerate(chart.lines):
        _line(root, chart, line, number if line.color is None else line.color, x, y)
    return root


def _line(root: ET.Element, chart: LineChart, line: Line, color: int, x: Scale, y: Scale) -> None:
    group = ET.SubElement(root, "g", {"class": f"c{color % COLORS}"})
    there = [i for i, value in enumerate(line.y) if math.isfinite(value)]
    if line.low is not None and line.high is not None:
        low, high = line.low, line.high
        band = [i for i in there if math.isfinite(low[i]) and math.isfinite(high[i])]
        least, most = extent(chart)[1]
        around = [(x(line.x[i]), y(min(high[i], most))) for i in band]
        around += [(x(line.x[i]), y(max(low[i], least))) for i in reversed(band)]
        _add(group, "polygon", "band", points=_points(around))
    path = _add(group, "polyline", "line dashed" if line.dashed else "line")
    path.set("points", _points([(x(line.x[i]), y(line.y[i])) for i in there]))
    if chart.points:
        for i in there:
            dot = _add(group, "circle", "dot", cx=x(line.x[i]), cy=y(line.y[i]), r=3)
            between = ""
            if line.low is not None and line.high is not None and math.isfinite(line.low[i]):
                between = f" ({chart.show(line.low[i])} to {chart.show(line.high[i])})"
            ET.SubElement(dot, "title").text = f"{line.label} at {line.x[i]:g}: {chart.show(line.y[i])}{between}"


def _axes(
    root: ET.Element,
    chart: LineChart,
    x: Scale,
    y: Scale,
    x_ticks: list[float],
    y_ticks: list[float],
    top: float,
    height: float,
) -> None:
    for value in y_ticks:
        _add(root, "line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value))
        shown = f"{100 * value:.4g}%" if chart.percent else f"{value:.4g}"
        _text(root, LEFT - 7, y(value) + 4, shown, "tick", "end")
    for value in x_ticks:
        _text(root, x(value), height - BOTTOM + 17, f"{value:g}", "tick", "middle")
    _add(root, "line", "axis", x1=LEFT, x2=WIDTH - RIGHT, y1=height - BOTTOM, y2=height - BOTTOM)
    _text(root, (LEFT + WIDTH - RIGHT) / 2, height - 8, chart.x_label, "label", "middle")
    middle = (top + height - BOTTOM) / 2
    label = _text(root, 14, middle, chart.y_label, "label", "middle")
    label.set("transform", f"rotate(-90 14 {middle:g})")


def _legend_rows(labels: list[str]) -> list[list[tuple[int, float]]]:
    """Return rows of (number of the label, x where it begins)."""
    rows: list[list[tuple[int, float]]] = [[]]
    at = float(LEFT)
    for number, label in enumerate(labels):
        width = 34 + LETTER * len(label)
        if rows[-1] and at + width > WIDTH:
            rows.append([])
            at = float(LEFT)
        rows[-1].append((number, at))
        at += width
    return rows


def _legend(root: ET.Element, chart: LineChart, rows: list[list[tuple[int, float]]]) -> None:
    for row, entries in enumerate(rows):
        for number, at in entries:
            line = chart.lines[number]
            color = number if line.color is None else line.color
            group = ET.SubElement(root, "g", {"class": f"c{color % COLORS}"})
            height = TOP + 18 * row
            _add(group, "line", "line dashed" if line.dashed else "line", x1=at, x2=at + 18, y1=height, y2=height)
            _text(root, at + 23, height + 4, line.label, "small", "start")


def _matrix(matrix: Matrix) -> ET.Element:
    size, width = len(matrix.classes), LETTER * max(map(len, matrix.names))
    cell = 16 if matrix.large else 74 if size <= 6 else 46
    turned = width > cell - 6  # the names above the columns
    left, top = max(92.0, width + 30), width + 30 if turned else 42
    root = _root(matrix, left + cell * size + 6, top + cell * size + 6)
    if matrix.large:
        root.set("class", "figure large")
        frame = _add(root, "rect", "frame", x=left, y=top, width=cell * size - 1, height=cell * size - 1)
        frame.set("rx", "2")
    middle = cell * (8 if matrix.large else size) / 2  # of what is seen at first
    _text(root, left + middle, 14, "predicted", "label", "middle")
    label = _text(root, 12, top + middle, "label", "label", "middle")
    label.set("transform", f"rotate(-90 12 {top + middle:g})")
    for i, row in enumerate(matrix.counts):
        middle = cell * (i + 0.5)
        above = _text(root, left + middle, 34, matrix.names[i], "tick", "middle")
        if turned:
            x, y = left + middle + 4, top - 6
            above.attrib |= {"x": f"{x:.2f}", "y": f"{y:.2f}", "text-anchor": "start"}
            above.set("transform", f"rotate(-90 {x:g} {y:g})")
        beside = _text(root, left - 8, top + middle + 4, matrix.names[i], "tick", "end")
        if matrix.names[i] != matrix.classes[i]:
            for text in (above, beside):
                ET.SubElement(text, "title").text = matrix.classes[i]
        for j, count in enumerate(row):
            if matrix.large and not count:
                continue
            share = count / sum(row) if sum(row) else 0.0
            x, y = left + cell * j, top + cell * i
            gap = 1 if matrix.large else 3
            square = _add(root, "rect", "cell right" if i == j else "cell wrong", x=x, y=y, width=cell - gap)
            square.set("height", f"{cell - gap:g}")
            square.set("rx", "2" if matrix.large else "4")
            least, most = (0.15, 0.85) if matrix.large else (0.05, 0.5)
            square.set("fill-opacity", f"{least + most * share:.3f}")
            name = f"{count} of {sum(row)} {matrix.classes[i]} predicted as {matrix.classes[j]}"
            ET.SubElement(square, "title").text = name
            if matrix.large:
                continue
            low = 1 if size <= 6 else 4
            _text(root, x + cell / 2 - 1.5, y + cell / 2 + low, str(count), "count", "middle")
            if size <= 6:
                _text(root, x + cell / 2 - 1.5, y + cell / 2 + 18, f"{share:.0%}", "share", "middle")
    return root


def _reliability(figure: Reliability) -> ET.Element:
    width, height, top = 330, 330, 12
    root = _root(figure, width, height)
    x, y = _scale(0, 1, LEFT, width - RIGHT), _scale(0, 1, height - BOTTOM, top)
    for value in ticks(0, 1):
        _add(root, "line", "grid", x1=LEFT, x2=width - RIGHT, y1=y(value), y2=y(value))
        _text(root, LEFT - 7, y(value) + 4, f"{value:.0%}", "tick", "end")
        _text(root, x(value), height - BOTTOM + 17, f"{value:.0%}", "tick", "middle")
    most = max(figure.counts, default=0) or 1
    group = ET.SubElement(root, "g", {"class": "c0"})
    for i, count in enumerate(figure.counts):
        if not count:
            continue
        left, right = x(figure.edges[i]), x(figure.edges[i + 1])
        accuracy, confidence = figure.accuracy[i], figure.confidence[i]
        bar = _add(group, "rect", "bar", x=left + 1, width=right - left - 2, y=y(accuracy))
        bar.set("height", f"{y(0) - y(accuracy):.2f}")
        bar.set("fill-opacity", f"{0.15 + 0.5 * count / most:.3f}")
        dot = _add(group, "circle", "dot", cx=x(confidence), cy=y(accuracy), r=3.5)
        title = f"{count} predictions at {confidence:.1%} confidence: {accuracy:.1%} right"
        ET.SubElement(dot, "title").text = title
        ET.SubElement(bar, "title").text = title
    _add(root, "line", "mark", x1=x(0), x2=x(1), y1=y(0), y2=y(1))
    _add(root, "line", "axis", x1=LEFT, x2=width - RIGHT, y1=y(0), y2=y(0))
    _text(root, x(0.04), y(0.93), f"ECE {figure.ece:.1%}", "strong", "start")
    _text(root, (x(0) + x(1)) / 2, height - 8, "confidence", "label", "middle")
    label = _text(root, 14, (y(0) + y(1)) / 2, "share that was right", "label", "middle")
    label.set("transform", f"rotate(-90 14 {(y(0) + y(1)) / 2:g})")
    return root


def _scale(a: float, b: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - a) / (b - a) * (end - start)


def _points(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _add(parent: ET.Element, tag: str, name: str, points: str | None = None, **numbers: float) -> ET.Element:
    element = ET.SubElement(parent, tag, {"class": name, **{key: f"{value:.2f}" for key, value in numbers.items()}})
    if points is not None:
        element.set("points", points)
    return element


def _text(parent: ET.Element, x: float, y: float, text: str, name: str, anchor: str) -> ET.Element:
    element = ET.SubElement(parent, "text", {"x": f"{x:.2f}", "y": f"{y:.2f}", "class": name, "text-anchor": anchor})
    element.text = text
    return element
