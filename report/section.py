"""What a report is made of: sections with text, a table and a figure, independent of the form they are written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from .figures import Figure


@dataclass(frozen=True)
class Curve:
    """Figures over one swept value, as in the paper's Figs. 5 and 6."""

    data: pd.DataFrame
    """One row a point: the column named by `x`, and for each name in `scores` the columns NAME, NAME_low, NAME_high
    (the mean over seeds and the ends of its 95% interval), as fractions of 1."""
    x: str
    """The column of the swept value."""
    x_label: str
    """What stands under the axis."""
    scores: tuple[str, ...] = ("accuracy", "weighted_f1")
    """The columns that are drawn, each as a line with its band."""
    mark: float | None = None
    """The x to be marked, the paper's optimum."""
    mark_label: str = ""
    """What the mark says."""


@dataclass(frozen=True)
class Section:
    """One heading of a report and what stands under it."""

    name: str
    """Short and unique, [a-z0-9-]: the anchor on the page and the names of the files of this table and figure."""
    title: str
    """The heading."""
    text: list[str] = field(default_factory=list)
    """Paragraphs before the table, plain text."""
    table: pd.DataFrame | None = None
    """Rows and columns as they are to be read, texts formatted already; the index is not shown."""
    caption: str = ""
    """What the table or figure shows, one sentence."""
    curve: Curve | None = None
    """A figure over a swept value."""
    figures: list[Figure] = field(default_factory=list)
    """Other figures; their names are unique in the report."""
    notes: list[str] = field(default_factory=list)
    """Paragraphs after it, plain text."""
    widget: str = ""
    """A part of the page that answers to the reader: `compare` or `pairs`, where the page is given its data."""
