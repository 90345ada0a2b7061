"""The HTML of runs and sweeps in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd


def block(title: str, lines: Sequence[str], table: pd.DataFrame, note: str | None) -> str:
    """Return the HTML of a table with a title and lines above it; every text is escaped.

    Args:
        title: the title.
        lines: the lines below it.
        table: the figures, rounded here.
        note: the note on the figures, or None.
    """
    described = "".join(f"<div>{escape(line)}</div>" for line in lines)
    warned = f'<div role="note"><strong>{escape(note)}</strong></div>' if note else ""
    shown = table.to_html(escape=True, index=False, border=0, float_format=lambda value: f"{value:.4g}", na_rep="–")
    return f"<div><div><strong>{escape(title)}</strong></div>{described}{warned}{shown}</div>"
