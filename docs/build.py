"""Build the documentation's site, with warnings as errors: `python docs/build.py`, then open build/site/index.html.

Pages that are made from the code and from notebooks are written beside copies of the others (build/docs), and Zensical
makes the site of both. It needs `pip install 'itin[docs]'`, and no network.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from made_commands import command_pages
from made_errors import error_pages
from made_notebooks import notebook_pages
from made_python import python_pages

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MADE = {
    "reference/commands/": command_pages,
    "reference/python/": python_pages,
    "reference/errors.md": error_pages,
    "notebooks/": notebook_pages,
}
"""Entries of the navigation that stand for pages made from the code -> what makes them, as path -> text."""


def build(work: Path) -> int:
    """Write the sources into a folder, and the site into its folder `site`.

    Args:
        work: the folder; what an earlier build left there is replaced.

    Returns:
        The exit code: 0 if there was no warning.
    """
    for name in ("docs", "site"):
        shutil.rmtree(work / name, ignore_errors=True)
    source = work / "docs"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    config["nav"] = filled(config["nav"], source)
    config |= {"docs_dir": "docs", "site_dir": "site"}
    written = work / "mkdocs.yml"
    written.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(written)]
    return subprocess.run(command, cwd=work, check=False).returncode


def filled(entries: list[Any], source: Path) -> list[Any]:
    """Return the navigation with the pages that are made from the code, and write them."""
    found: list[Any] = []
    for entry in entries:
        (title, below), *_ = entry.items() if isinstance(entry, dict) else [(None, entry)]
        if isinstance(below, list):
            found.append({title: filled(below, source)})
        elif below in MADE:
            pages = MADE[below]()
            for path, text in pages.items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_text(text, encoding="utf-8")
            found.append({title: list(pages) if below.endswith("/") else below})
        else:
            found.append(entry)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build", help="where to build")
    sys.exit(build(parser.parse_args().folder.resolve()))
