"""What a report is made of: sections with text, a table and a figure, independent of the form they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from .figures import Figure


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
    figures: Sequence[Figure] = ()
    """Their names are unique in the report."""
    notes: list[str] = field(default_factory=list)
    """Paragraphs after it, plain text."""
    widget: str = ""
    """A part of the page that answers to the reader: `compare` or `pairs`, where the page is given its data."""
