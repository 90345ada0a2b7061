"""Sections of a report, with text, a table and figures, independent of the output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from .figures import Figure


@dataclass(frozen=True)
class Section:
    """A heading of a report and the content under it."""

    name: str
    """A short unique name, [a-z0-9-]: the anchor on the page and the name of the table's files."""
    title: str
    """The heading."""
    text: list[str] = field(default_factory=list)
    """Paragraphs before the table, plain text."""
    table: pd.DataFrame | None = None
    """The table with its texts already formatted; the index is not shown."""
    caption: str = ""
    """One sentence on what the table or figure shows."""
    figures: Sequence[Figure] = ()
    """The figures; their names are unique in the report."""
    notes: list[str] = field(default_factory=list)
    """Paragraphs after the table, plain text."""
    widget: str = ""
    """The interactive part of the page, `compare` or `pairs`; shown only if the page has its data."""
