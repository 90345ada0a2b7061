"""Sections -> one self-contained HTML file: style, script, figures and pictures. It makes no network request."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from ... import disk
from ...train.runs.write import version_of
from .render import TEMPLATES, render
from .section import Section
from .svg import to_svg

_NUMBER = re.compile(r"[-+−±<≤]?\s*[\d.,]+\s*%?([\s±(–,\[;−+-]*[\d.,]+\s*%?[\])]?)*|[-–—]?|n/?a", re.I)
"""The pattern of a cell that counts as a number: also 0.75 ± 0.01, 75.2% (73.0% – 77.4%), and a dash for none."""


@dataclass(frozen=True)
class Page:
    """A page: its sections, and what stands around them. Texts are plain and are escaped."""

    title: str
    sections: Sequence[Section]
    """Each becomes a heading with its paragraphs, its figures, its table and its notes; their names are unique."""
    intro: Sequence[str] = ()
    """Paragraphs below the title."""
    banner: str | None = None
    """A note that stays visible while the page is scrolled, such as `UNTRAINED_NOTE`, or None."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The data of the widgets by their names, as `browser.py` and `comparison.py` make it."""


def write_page(page: Page, path: Path) -> Path:
    """Write a page into an HTML file, whose folder is created if missing; return the file.

    Any report can be written this way:

        write_page(Page("MVSA-Single", sections, banner=run.note), Path("itin-report/report.html"))

    Raises:
        ValueError: as `page_html`.
        RunError: the file cannot be written.
    """
    html = page_html(page)
    make_folder(path.parent)
    # File names may hold bytes that are not valid text; they show as a replacement character.
    disk.replace(path, html.encode("utf-8", "xmlcharrefreplace"))
    return path


def page_html(page: Page, now: datetime | None = None) -> str:
    """Return a page as HTML.

    Args:
        page: the page.
        now: the time of writing that it shows; the current time by default.

    Raises:
        ValueError: two sections or figures share a name, or a name is not a valid anchor.
    """
    check_names(page.sections)
    style, script = _file("page.css"), "\n".join(_file(f"{name}.js") for name in ("page", "pairs", "compare"))
    return render(
        "page.html",
        title=page.title,
        intro=page.intro,
        banner=page.banner,
        sections=[section for section in page.sections if not section.widget or section.widget in page.data],
        data={name: Markup(to_script(value)) for name, value in page.data.items()},
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        when=(now or datetime.now(timezone.utc).astimezone()).strftime("%Y-%m-%d %H:%M"),
        version=version_of("itin"),
        cell_text=cell_text,
        numeric=numeric,
        svg=lambda figure: Markup(to_svg(figure)),
    )


def iframe(html: str) -> str:
    """Return a page as an element that a notebook can show, isolated from the notebook's own page."""
    return f'<iframe srcdoc="{escape(html)}" style="width: 100%; height: 34rem; border: 0"></iframe>'


def check_names(sections: Sequence[Section]) -> None:
    """Check that the names of sections and of figures are unique and valid anchors; raise ValueError otherwise."""
    for names in (
        [section.name for section in sections],
        [figure.name for section in sections for figure in section.figures],
    ):
        for name in names:
            if not re.fullmatch(r"[a-z0-9-]+", name):
                raise ValueError(f"section or figure {name!r}: expected a name of a-z, 0-9 and -")
            if names.count(name) > 1:
                raise ValueError(f"section or figure {name!r}: expected names that are unique, found it twice")


def to_script(value: Any) -> str:
    """Return a value as JSON that is safe inside a `script` element: ASCII, without <, > and &."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def numeric(table: pd.DataFrame) -> list[bool]:
    """Tell for each column whether all its cells are numbers, so that it is right-aligned."""
    columns = [[cell_text(cell).strip() for cell in table.iloc[:, place]] for place in range(table.shape[1])]
    return [any(texts) and all(_NUMBER.fullmatch(text) for text in texts) for texts in columns]


def cell_text(cell: object) -> str:
    """Format a cell; a missing value is empty."""
    if cell is None or (isinstance(cell, float) and cell != cell) or cell is pd.NA:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def make_folder(path: Path) -> None:
    """Create a folder for a report's files.

    Raises:
        RunError: it cannot be created.
    """
    from ...errors import RunError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder {path}: {error.strerror or error}", next_step="choose another place with --out"
        ) from error


def _policy(style: str, script: str) -> str:
    """Return the page's security policy: this script, this style and embedded pictures only, no network."""
    return (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
