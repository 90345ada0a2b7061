"""The files of the checkout, copied without what git ignores, as a release is built from them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[str]:
    """The files that git lists, new ones included; the test is skipped where there is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("needs a git checkout to tell sources from leftovers")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def copy_of_source(folder: Path) -> Path:
    """A copy of the checkout, in which no stale build folder can bring deleted modules back."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder
