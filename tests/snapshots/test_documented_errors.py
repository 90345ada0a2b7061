"""Errors that README.md and the pages quote: each is one that a test provokes, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..keeper import replaced
from ..test_guides import PAGES as RUN
from .world import EXPECTED, PLAIN

ROOT = Path(__file__).resolve().parents[2]
HELD = [*EXPECTED.glob("*.txt"), *(ROOT / "tests" / "zoo" / "expected").glob("*.txt")]
REASON = r"JPEG image cannot be decoded: [^)\n]*\)|text is empty"
LABELS = ("expected:", "found:", "next:")


def errors_of(text: str) -> set[tuple[str, ...]]:
    """The errors in a text: of each its first line without the folders of paths, and what it goes on to name.

    Names of stores and of commands further down are those of one machine, and may differ.
    """
    found = set()
    lines = [*replaced(text, PLAIN).splitlines(), ""]
    for number, line in enumerate(lines):
        if line.startswith("Error: "):
            below = (one.split()[0] if one.startswith("  ") and one.strip() else "" for one in lines[number + 1 :])
            labels = []
            for word in below:
                if word not in LABELS:
                    break
                labels.append(word)
            found.add((re.sub(r"[^\s']*/(?!/)", "", line), *labels))
    return found


PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if page not in RUN and errors_of(page.read_text(encoding="utf-8"))
]
"""Those whose errors are quoted; what the pages in `RUN` quote is printed when they are run."""


def test_pages_quote_errors() -> None:
    assert ROOT / "docs" / "protocols.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_quoted_errors_are_held(page: Path) -> None:
    held = set().union(*(errors_of(path.read_text(encoding="utf-8")) for path in HELD))
    missing = errors_of(page.read_text(encoding="utf-8")) - held
    assert not missing, "provoke it in tests/snapshots, or correct the page"


def test_the_error_of_a_split_is_that_of_the_page() -> None:
    """The one example with a data set of its own: every line."""
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    quoted = re.search(r"^```\w*\n(Error: split\.csv .*?)^```", page, re.M | re.S)
    assert quoted is not None
    assert quoted[1] in (EXPECTED / "data.txt").read_text(encoding="utf-8")


def test_reasons_of_quarantine_are_held() -> None:
    held = "\n".join(path.read_text(encoding="utf-8") for path in HELD)
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for reason in re.findall(REASON, page.read_text(encoding="utf-8")):
            assert replaced(reason, PLAIN) in held, f"{page.name}: {reason}"
