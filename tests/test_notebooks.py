"""The notebooks, run on the demo's data, give what they show.

`ITIN_UPDATE_DOCS=1 pytest -n 0 -m slow tests/test_notebooks.py` runs them and keeps their output.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from . import doc_pages
from .test_guides import demo  # noqa: F401

NOTEBOOKS = sorted((doc_pages.DOCS / "notebooks").glob("*.ipynb"))


def printed(cell: Any) -> str:
    """What a cell gave as text, but for figures."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    texts = [text for output, text in zip(cell.outputs, texts, strict=True) if output.get("name") != "stderr"]
    return "\n".join(text for text in texts if not text.startswith("<Figure"))


def test_each_is_shown_with_its_output() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert any(cell.outputs for cell in notebook.cells if cell.cell_type == "code"), path.name


@pytest.mark.slow
@pytest.mark.small
@pytest.mark.filterwarnings("ignore")  # those of Jupyter's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_it_shows(path: Path, demo: Path) -> None:  # noqa: F811
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
    client = pytest.importorskip("nbclient", reason="needs the extra docs")
    pytest.importorskip("ipykernel", reason="needs the extra docs")
    before = nbformat.read(path, as_version=4)
    after = nbformat.read(path, as_version=4)
    client.NotebookClient(after, timeout=600, resources={"metadata": {"path": str(demo.parent)}}).execute()
    if "ITIN_UPDATE_DOCS" in os.environ:
        for cell in after.cells:
            cell.metadata.clear()
            if cell.cell_type == "code":  # warnings are those of packages that are here
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        nbformat.write(after, path)
        return
    for old, new in zip(before.cells, after.cells, strict=True):
        if old.cell_type == "code":
            assert doc_pages.same(printed(old)) == doc_pages.same(printed(new)), old.source
