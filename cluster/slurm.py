"""Slurm through its own commands; no accounting database is needed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache.format.ranges import to_ranges
from .environment import without_slurm
from .scripts import FORMER_ROLES
from .submission import ClusterError

TIMEOUT_SECONDS = 120
"""The time that a busy controller may take to answer."""

PAUSES = (2.0, 10.0, 30.0)
"""Seconds between attempts while the controller is busy or restarting. Every request may be repeated: if a reply was
lost, the duplicate jobs find their work done."""

_BUSY = re.compile(r"timed out|unable to contact|temporarily un|connection (refused|reset)|zero bytes|standby", re.I)

ENDED = frozenset({"COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"})
"""States of jobs that have ended but that squeue may still show."""


@dataclass(frozen=True)
class Task:
    """One job, or one task of an array, in the queue."""

    job: str
    """The id as squeue shows it: `17` or `17_3`."""
    role: str
    """The name of its script: `parts`, `resubmit` or `consolidate`."""
    state: str
    where: str
    """The nodes it runs on, or why it waits."""


class BusyError(ClusterError):
    """Slurm's controller does not answer at the moment."""


def run(command: Sequence[str], pauses: Sequence[float] = PAUSES) -> str:
    """Run one of Slurm's commands without the variables that would change it, and return its output.

    Args:
        command: the command with its arguments.
        pauses: seconds to wait before each further attempt while the controller does not answer.

    Raises:
        ClusterError: the command is not installed here, it failed, or the controller did not answer.
    """
    for pause in pauses:
        try:
            return _once(command)
        except BusyError:
            time.sleep(pause)
    return _once(command)


def _once(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, env=without_slurm(os.environ), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} is not here",
            next_step="run this where Slurm is installed, use --dry-run to write the scripts, or --engine dask",
            machine=True,
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BusyError(
            f"{command[0]} did not answer within {TIMEOUT_SECONDS} s", next_step="try again later", machine=True
        ) from error
    if done.returncode == 0:
        return done.stdout
    message = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
    if _BUSY.search(message):
        raise BusyError(f"{command[0]} failed: {message}", next_step="try again later", machine=True)
    raise ClusterError(f"{command[0]} refused: {message}", next_step="fix the options, or ask the administrators")


def sbatch(script: Path, *options: str, arguments: Iterable[object] = ()) -> str:
    """Submit a script and return the job's id."""
    printed = run(["sbatch", "--parsable", *options, str(script), *map(str, arguments)])
    return printed.strip().splitlines()[-1].partition(";")[0]


def update(job: str, **settings: str) -> None:
    """Change a waiting job."""
    run(["scontrol", "update", f"JobId={job}", *(f"{name}={value}" for name, value in settings.items())])


def queue(name: str, user: str | None = None, pauses: Sequence[float] = PAUSES) -> list[Task]:
    """Return the jobs of that name, tasks of arrays one by one, without those that have ended.

    Args:
        name: the jobs' name.
        user: the jobs' owner, by name or number; None: the current user.
        pauses: as in `run`.
    """
    whose = "--me" if user is None else f"--user={user}"
    printed = run(["squeue", "-h", "-r", whose, f"--name={name}", "-o", "%i|%T|%R|%o"], pauses)
    tasks = []
    for line in printed.split("\n"):
        found = re.fullmatch(r"([^|]*)\|([^|]*)\|(.*)\|.*?(\w+)\.sbatch\b.*", line)
        if found and found[2] not in ENDED:
            role = FORMER_ROLES.get(found[4], found[4])
            tasks.append(Task(job=found[1], role=role, state=found[2], where=found[3]))
    return tasks


def max_array_size() -> int:
    """Return the cluster's limit for an array: one more than the greatest task number."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", run(["scontrol", "show", "config"]), re.MULTILINE)
    return max(int(found.group(1)), 1) if found else 1001


def arrays(parts: Iterable[int], size: int) -> list[tuple[int, str]]:
    """Split part numbers into arrays whose task numbers stay below `size`.

    Returns:
        (offset, task numbers) for each array: a part is offset plus task number.
    """
    groups: dict[int, list[int]] = {}
    for part in sorted(parts):
        groups.setdefault(part // size * size, []).append(part % size)
    return [(offset, to_ranges(numbers)) for offset, numbers in groups.items()]
