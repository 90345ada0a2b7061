"""Figures for print, by matplotlib: PDF, PNG or SVG files with the same data as on the page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import disk
from .figures import Figure, LineChart, Matrix, Reliability, extent
from .number_figures import Histogram, Scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLORS = ("#0a5cbd", "#c2410c", "#0f7a45", "#7e22ce", "#a16207", "#be185d")
"""The colours of the page's light theme."""

FORMATS = ("pdf", "png", "svg")


def write_figure(figure: Figure, path: Path) -> None:
    """Draw a figure into a file; the ending of its name sets the format.

    Raises:
        RunError: the file cannot be written.
    """
    save(plot(figure), path)


def plot(figure: Figure) -> Canvas:
    """Draw a matplotlib figure, for notebooks and for papers that set their own style."""
    from matplotlib.figure import Figure as Canvas

    side = 3.6
    if isinstance(figure, Matrix) and len(figure.classes) > 6:
        side = 1.5 + len(figure.classes) * (0.14 if figure.large else 0.5)
    size = (5.6, 3.3) if isinstance(figure, LineChart) else (side, side)
    canvas = Canvas(figsize=size, layout="constrained")
    axes = canvas.add_subplot()
    if isinstance(figure, LineChart):
        _lines(figure, axes)
    elif isinstance(figure, Matrix):
        _matrix(figure, axes)
    elif isinstance(figure, Reliability):
        _reliability(figure, axes)
    elif isinstance(figure, Scatter):
        _scatter(figure, axes)
    else:
        _histogram(figure, axes)
    return canvas


def save(canvas: Canvas, path: Path, dpi: int = 200) -> None:
    """Write a matplotlib figure; equal figures give equal bytes.

    Raises:
        RunError: the file cannot be written.
    """
    import matplotlib

    kind = path.suffix.lstrip(".").lower()
    dated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    data = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "itin"}), missing_glyphs():
        canvas.savefig(data, format=kind, dpi=dpi, metadata=dated.get(kind))
    disk.replace(path, data.getvalue())


@contextmanager
def missing_glyphs() -> Iterator[None]:
    """Suppress the warnings about characters that the font lacks; they are drawn as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph .* missing.*")
        yield


def _lines(chart: LineChart, axes: Axes) -> None:
    for number, line in enumerate(chart.lines):
        color = COLORS[(number if line.color is None else line.color) % len(COLORS)]
        axes.plot(
            line.x,
            line.y,
            color=color,
            linestyle="--" if line.dashed else "-",
            marker="o" if chart.points else None,
            markersize=3.5,
            label=_plain(line.label),
        )
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.16, linewidth=0)
    if chart.mark is not None:
        axes.axvline(chart.mark, color="0.4", linestyle=":", label=_plain(chart.mark_label) or None)
    axes.set_xlabel(_plain(chart.x_label))
    axes.set_ylabel(_plain(chart.y_label))
    axes.set_ylim(*extent(chart)[1])
    if chart.percent:
        from matplotlib.ticker import PercentFormatter

        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color="0.88")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _matrix(matrix: Matrix, axes: Axes) -> None:
    counts = np.array(matrix.counts)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.6)
    if not matrix.large:
        for (i, j), count in np.ndenumerate(counts):
            axes.text(j, i, f"{count}\n{share[i, j]:.0%}", ha="center", va="center")
    names = [_plain(name) for name in matrix.names]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    if len(names) > 6 or max(map(len, names)) > 12:
        axes.tick_params(axis="x", rotation=90)
    if matrix.large:
        axes.tick_params(labelsize=6)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")


def _reliability(figure: Reliability, axes: Axes) -> None:
    edges = np.array(figure.edges)
    heights = np.nan_to_num(np.array(figure.accuracy))
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=COLORS[0], alpha=0.35, edgecolor="white")
    axes.plot(figure.confidence, figure.accuracy, "o", color=COLORS[0], markersize=4)
    axes.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
    axes.text(0.04, 0.93, f"ECE {figure.ece:.1%}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that was right")
    axes.spines[["top", "right"]].set_visible(False)


def _scatter(figure: Scatter, axes: Axes) -> None:
    true, predicted, counts = (np.array(one) for one in zip(*figure.marks, strict=True))
    x = np.array(figure.x)
    if figure.half_width is not None:
        axes.fill_between(x, x - figure.half_width, x + figure.half_width, color=COLORS[0], alpha=0.12, linewidth=0)
    axes.scatter(true, predicted, 60 * counts / counts.max() + 1, color=COLORS[0], alpha=0.6, linewidth=0)
    axes.plot(x, x, color="0.4", linestyle="--", linewidth=1)
    axes.plot(*zip(*figure.means, strict=True), color=COLORS[1], marker="o", markersize=4)
    margin = [0.03 * (high - low) for low, high in (figure.x, figure.y)]
    axes.set_xlim(figure.x[0] - margin[0], figure.x[1] + margin[0])
    axes.set_ylim(figure.y[0] - margin[1], figure.y[1] + margin[1])
    axes.set(xlabel="true", ylabel="predicted")
    axes.spines[["top", "right"]].set_visible(False)


def _histogram(figure: Histogram, axes: Axes) -> None:
    edges = np.array(figure.edges)
    axes.bar(edges[:-1], figure.counts, np.diff(edges), align="edge", color=COLORS[0], alpha=0.7, edgecolor="white")
    axes.axvline(0, color="0.4", linestyle="--", linewidth=1)
    axes.set(xlabel=_plain(figure.x_label), ylabel="pairs")
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """Escape dollar signs, which begin formulae, and a leading underscore, which hides a name from the legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
