"""The guides, run: every command and program of a page, on the demo's data, prints what the page shows.

`ITIN_UPDATE_DOCS=1 pytest -n 0 -m slow tests/test_guides.py` writes what is printed into the pages. ITIN_DEMO names the
folder of a demo that has run, to save the two minutes that it takes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import doc_pages

PAGES = [
    *sorted((doc_pages.DOCS / "start").glob("*.md")),
    *sorted((doc_pages.DOCS / "guides").glob("*.md")),
    doc_pages.DOCS / "reference" / "library.md",
    doc_pages.DOCS / "troubleshooting.md",
]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `itin demo` leaves."""
    if "ITIN_DEMO" in os.environ:
        return Path(os.environ["ITIN_DEMO"])
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, "-m", "itin", "demo"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "itin-demo"


@pytest.mark.slow
@pytest.mark.small
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_a_page_prints_what_it_shows(page: Path, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "itin-demo")
    run = doc_pages.run_page(page, tmp_path)
    if "ITIN_UPDATE_DOCS" in os.environ:
        doc_pages.fill(page, run)
    for block, printed in doc_pages.outputs_of(page, run):
        assert doc_pages.agrees(block.text, printed), (
            f"{page.name} shows\n{block.text}\nbut this is printed:\n{printed}"
        )


def test_a_page_is_run_and_compared(tmp_path: Path) -> None:
    """What the runner itself promises, on a page of its own."""
    page = tmp_path / "page.md"
    page.write_text(
        '```sh\nx=3\necho "1 of $x"\n```\n\n```text\n7 of 8\n```\n\n```sh title="needs the hub"\nfalse\n```\n\n'
        '```python title="mine.py"\nx = 5\n```\n\n```python\nimport mine\nprint("a", mine.x)\nprint("end")\n```\n\n'
        "```text\na 5\n...\n```\n",
        encoding="utf-8",
    )
    (tmp_path / "run").mkdir()
    run = doc_pages.run_page(page, tmp_path / "run")
    assert [text for _, text in run] == ["1 of 3", "a 5\nend"]
    shown = doc_pages.outputs_of(page, run)
    assert [doc_pages.agrees(block.text, text) for block, text in shown] == [True, True]
    assert doc_pages.agrees("in c/20261126-143350-ab31/p\n", "in c/20261127-183226-221f/p")
    assert doc_pages.shown("1/2 runs in 0:30, 2 a minute, 0:30 left\n2/2 runs in 1:00, 2 a minute\n", tmp_path) == (
        "2/2 runs in 1:00, 2 a minute"
    )
    assert not doc_pages.agrees("7 of 8\n", "7 from 8")
    assert not doc_pages.agrees("a 5\n", "a 5\nend")
    assert not doc_pages.agrees("b 5\n...\n", "a 5\nend")
    doc_pages.fill(page, run)
    assert "```text\n1 of 3\n```" in page.read_text(encoding="utf-8")
    assert "```text\na 5\n...\n```" in page.read_text(encoding="utf-8")
    page.write_text("```sh\nexit 3\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md"):
        doc_pages.run_page(page, tmp_path / "run")
