"""The checks in their order, run one after the other within a bound: none of them can hang or end the command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import first_line
from ..extract.weights.waiting import within
from . import cluster, data_folders, devices, extras, folders, hub, versions, weights
from .finding import STATES, Asked, Finding, State, bad, doubtful

LIMIT = 120.0
"""Seconds for all checks together, whatever does not answer."""


class Check(NamedTuple):
    """One subject."""

    name: str
    run: Callable[[Asked], Iterable[Finding]]
    seconds: float = 10.0
    """The time that it may take; imports of large libraries from a slow disk are the longest."""


CHECKS = (
    Check("python", versions.python),
    Check("packages", versions.packages),
    Check("versions", versions.misbehaving),
    Check("torch", devices.torch_here, 40),
    Check("devices", devices.devices, 20),
    Check("precision", devices.precision, 20),
    Check("memory", devices.memory),
    Check("compiler", devices.compiler),
    Check("extras", extras.extras),
    Check("detectron2", extras.detectron2, 20),
    Check("cache", folders.cache_folder, 15),
    Check("data", data_folders.data_folders, 30),
    Check("hub", hub.hub, 20),
    Check("weights", weights.weights, 60),
    Check("slurm", cluster.slurm, 15),
    Check("dask", cluster.dask, 20),
)
"""A new check is a function in the file of its subject and a line here."""


@dataclass(frozen=True)
class Line:
    """A finding under the name of its check."""

    check: str
    state: State
    found: str
    next_step: str | None


@dataclass(frozen=True)
class Report:
    """All that was found."""

    lines: list[Line]
    left_behind: bool
    """Whether a check is still waiting for something, in a thread of this process."""

    @property
    def worst(self) -> State:
        """The worst state of any line."""
        return max((line.state for line in self.lines), key=STATES.index, default="good")


def examine(
    asked: Asked,
    tell: Callable[[Line], None] = lambda _: None,
    checks: Sequence[Check] = CHECKS,
    limit: float = LIMIT,
) -> Report:
    """Run the checks in their order.

    A check that raises is a bad line, one that does not end in its time a doubtful one; the others run all the same.

    Args:
        asked: what the user wants to use.
        tell: receives each line at once.
        checks: what to check.
        limit: seconds for all of them; checks that no time is left for are named, not run.
    """
    lines: list[Line] = []
    left_behind, end = False, time.monotonic() + limit
    for check in checks:
        left = end - time.monotonic()
        if left <= 0:
            found = [doubtful(f"not checked: the checks before took {limit:.0f} s", "see what did not answer above")]
        else:
            found, ended = _run(check, asked, min(check.seconds, left))
            left_behind |= not ended
        for one in found:
            lines.append(Line(check.name, one.state, one.found, one.next_step))
            tell(lines[-1])
    return Report(lines, left_behind)


def _run(check: Check, asked: Asked, seconds: float) -> tuple[list[Finding], bool]:
    """Return what a check finds, and whether it ended."""
    ended: list[bool] = []

    def run() -> list[Finding]:
        try:
            return list(check.run(asked))
        finally:
            ended.append(True)

    try:
        return within(seconds, run), True
    except Exception as error:  # a broken library may raise anything, when it is imported or asked
        if not ended:
            again = "a device, disk or server does not answer, or this machine is very busy: run `itin doctor` again"
            return [doubtful(f"no answer within {seconds:.0f} s", again)], False
        why = f"{type(error).__name__}: {first_line(error)}"
        return [bad(f"the check failed: {why}", "install what it names again, or repair it")], True
