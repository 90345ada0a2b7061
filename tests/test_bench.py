"""The bench of the head on a tiny case: it runs, holds its versions equal and prints its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench" / "head.py"


@pytest.mark.long
def test_head_bench_runs() -> None:
    sizes = "--samples 64 --words 4 --d 8 --k 4 --rounds 1 --threads 1 --stacks 1,2 --paper 40 --epochs 1 --seeds 1"
    done = subprocess.run(
        [sys.executable, str(BENCH), *sizes.split(), "--no-growth", "--no-sweep"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"| A |", "| torch |", "| packed |"} <= {line[: line.find("|", 2) + 1] for line in lines}
    assert any(line.startswith("| static shapes | 2 |") for line in lines)  # J = 2 side by side
    assert any(line.startswith("| ragged | 20 |") for line in lines)  # the paper's grid has 20 configurations
