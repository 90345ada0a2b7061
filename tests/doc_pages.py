"""Pages of the documentation as programs: their blocks of code, run in turn, and the output beside them.

A page is run in a folder of its own that holds the demo's folder `itin-demo`. Blocks of `sh` run in one shell, blocks
of `python` as programs between them; a block of `text` below one of them holds what it prints. A block with a title
that begins with "needs" is not run (`sh title="needs MVSA"`), and one titled with a file's name is that file.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MARK = "=== block"
BLOCK = re.compile(r'^```(?P<language>[a-z]+)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$', re.M | re.S)
PROGRESS = re.compile(r"^(?:[\w -]+ )?\d+/\d+(, [\w ]+ \d+/\d+)*$|^epoch \d+|^\d+/\d+ runs in .* left$")
"""Lines that say how far a command is; pages leave them out."""


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    language: str
    title: str
    text: str
    span: tuple[int, int]
    """Where its text stands in the page."""

    @property
    def needs(self) -> bool:
        """Whether it is not run, because of what it needs."""
        return self.title.startswith("needs ")


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], one["title"] or "", one["text"], one.span("text")) for one in found]


def run_page(page: Path, folder: Path) -> list[tuple[Block, str]]:
    """Run a page's blocks in a folder.

    Returns:
        Each block that has run, with what it printed; but for lines of progress.

    Raises:
        AssertionError: a block ended with another exit code than 0.
    """
    program, run = [], []
    for block in blocks_of(page):
        if block.needs or block.language not in ("sh", "python"):
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
            continue
        name = f".block-{len(run)}.py"
        if block.language == "python":
            (folder / name).write_text(block.text, encoding="utf-8")
        code = block.text if block.language == "sh" else f"{shlex.quote(sys.executable)} {name}\n"
        program += [f"echo '{MARK} {len(run)}'", code]
        run.append(block)
    (folder / ".page.sh").write_text("set -euo pipefail\n" + "\n".join(program), encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ITIN_", "SLURM", "COV_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "PYTHONPATH": str(folder),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
    }
    for name in ("MPLCONFIGDIR", "TMPDIR"):
        environment.pop(name, None)
    done = subprocess.run(
        ["bash", ".page.sh"], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}"
    printed = re.split(rf"^{MARK} \d+\n", done.stdout, flags=re.M)[1:]
    assert len(printed) == len(run), f"{page.name}: {len(printed)} of {len(run)} blocks have run\n{done.stdout}"
    return [(block, shown(text, folder)) for block, text in zip(run, printed, strict=True)]


def shown(text: str, folder: Path) -> str:
    """Return what a page shows of an output: no lines of progress, and no path of this machine."""
    lines = [line.rstrip() for line in text.replace(f"{folder}/", "").replace(str(folder), ".").splitlines()]
    return "".join(f"{line}\n" for line in lines if not PROGRESS.match(line)).strip("\n")


def outputs_of(page: Path, run: list[tuple[Block, str]]) -> list[tuple[Block, str]]:
    """Return the blocks of output of a page, each with what was printed above it."""
    printed = {block.span: text for block, text in run}
    found, last = [], None
    for block in blocks_of(page):
        if block.language == "text" and last in printed:
            found.append((block, printed[last]))
        last = block.span
    return found


def same(text: str) -> str:
    """Return a text without what differs from one machine, or one run, to the next: numbers, digests, space, and the
    order of the words in a line, which is often that of numbers."""
    text = re.sub(r"\b\d{8}-\d{6}(?:-[0-9a-f]{4})?\b|\b[0-9a-f]{8,}\b", "#", text)
    text = re.sub(r"[-+−]?\d+(?:[.,:]\d+)*(?:e-?\d+)?", "#", text)
    return "\n".join(" ".join(sorted(line.split())) for line in text.splitlines())


def fill(page: Path, run: list[tuple[Block, str]]) -> None:
    """Write what was printed into a page's blocks of output; a line `...` there keeps what was cut."""
    text = page.read_text(encoding="utf-8")
    for block, printed in reversed(outputs_of(page, run)):
        if "..." not in block.text.splitlines():
            text = text[: block.span[0]] + printed + "\n" + text[block.span[1] :]
    page.write_text(text, encoding="utf-8")


def agrees(expected: str, printed: str) -> bool:
    """Return whether an output is what a page shows, but for numbers; a line `...` stands for any lines."""
    parts = [same(part).strip() for part in re.split(r"^\.\.\.\n", expected, flags=re.M)]
    pattern = r"(?:.*\n)?".join(re.escape(part) + (r"\n?" if part else "") for part in parts)
    return re.fullmatch(pattern, same(printed).strip() + "\n", re.S) is not None
