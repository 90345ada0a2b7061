"""Pages of the notebooks, with the output that they hold: run and kept by tests/test_notebooks.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
FOLDER = "notebooks"
ORDER = ("first-steps", "comparing-heads", "alignments")


def notebook_pages() -> dict[str, str]:
    """Return a page for each notebook, by path."""
    return {f"{FOLDER}/{name}.md": page_of(DOCS / FOLDER / f"{name}.ipynb") for name in ORDER}


def page_of(path: Path) -> str:
    """Return a notebook as Markdown: its texts, its code, and what each cell gave."""
    lines = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [source, ""]
            continue
        lines += ["```python", source, "```", ""]
        for output in cell["outputs"]:
            lines += [*shown(output), ""]
    lines += [f"[This page as a notebook]({path.name}): run it in a folder in which `itin demo` has been run.", ""]
    return "\n".join(lines)


def shown(output: dict[str, Any]) -> list[str]:
    """Return one output: a picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join("".join(data["image/png"]).split())
        return [f'<img alt="The figure that the cell above draws" src="data:image/png;base64,{picture}">']
    if "text/html" in data:
        table = re.search(r"<table.*</table>", "".join(data["text/html"]), re.S)
        if table is not None:
            plain = re.sub(r"<table[^>]*>", "<table>", table[0])
            return [re.sub(r"<th></th>", "<td></td>", re.sub(r"<tr[^>]*>", "<tr>", plain)).replace("\n", "")]
    return ["```text", "".join(output.get("text", data.get("text/plain", ""))).rstrip("\n"), "```"]
