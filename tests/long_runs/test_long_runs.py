"""An extraction and a sweep that are killed by chance, small by default and at size with `-m slow`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def lives(*words: object, seconds: float) -> dict[str, Any]:
    """What `python -m tests.long_runs` prints."""
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root), *(path or str(Path.cwd()) for path in sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.long_runs", *map(str, words)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: dict[str, Any], kills: int) -> None:
    """The results are those of the undisturbed one; no life holds more than it, and later ones no more than earlier."""
    assert found["same"]
    assert found["kills"] >= kills
    quiet = found["undisturbed"]
    for one in (found["first"], found["second"]):
        assert 0 < one["bytes"] <= 1.1 * quiet["bytes"] + 2**25
        assert 0 < one["files"] <= quiet["files"] + 4
        assert 0 < one["threads"] <= quiet["threads"] + 2


@pytest.mark.long
def test_a_short_extraction() -> None:
    found = lives("extract", "--pairs", 1500, "--kills", 6, "--minutes", 1, seconds=600)
    check(found, 2)
    assert found["temporary_files"] <= found["kills"]


@pytest.mark.long
def test_a_short_sweep() -> None:
    check(lives("sweep", "--runs", 12, "--kills", 4, "--minutes", 1, seconds=600), 2)


@pytest.mark.slow
def test_twenty_thousand_pairs() -> None:
    check(lives("extract", "--pairs", 20_000, "--kills", 300, "--minutes", 60, seconds=7200), 100)


@pytest.mark.slow
def test_two_hundred_runs() -> None:
    check(lives("sweep", "--runs", 200, "--kills", 200, "--most", 1, "--stack", 1, "--minutes", 60, seconds=7200), 100)
