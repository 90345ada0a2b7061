"""The machine of states, run: hundreds of steps by default, ten thousand in the slow suite."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from .injection import Nursery
from .machine import States

SEED = int(os.environ.get("ITIN_STATES_SEED", "0"))
"""The first of the seeds; the steps are the same every time."""


def drive(nursery: Nursery, place: Path, seed: int, worlds: int, steps: int) -> Counter[str]:
    """Run so many worlds of so many steps; return how many steps there were."""
    counted: Counter[str] = Counter()

    def count(what: str) -> None:
        counted["steps"] += 1

    class Machine(States):
        def __init__(self) -> None:
            super().__init__(nursery, place, count)

    # Without chance Hypothesis derives all choices from the class, and so from its name.
    Machine.__name__ = Machine.__qualname__ = f"States{seed}"
    chosen = settings(
        max_examples=worlds,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        phases=[Phase.generate] + [Phase.shrink] * bool(os.environ.get("ITIN_STATES_SHRINK")),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=chosen)
    print(f"seed {seed}: {counted['steps']} steps")
    return counted


def test_hundreds_of_steps(nursery: Nursery, place: Path) -> None:
    assert drive(nursery, place, SEED, 12, 40)["steps"] >= 300


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 11))
def test_ten_thousand_steps(nursery: Nursery, place: Path, seed: int) -> None:
    assert drive(nursery, place, seed, 32, 50)["steps"] >= 1000
