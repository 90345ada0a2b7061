"""Talking to Slurm through its own commands; no accounting database is asked for anything."""

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
from .submission import ClusterError

SECONDS = 120
"""How long a busy controller may take to answer."""

PAUSES = (2.0, 10.0, 30.0)
"""Seconds between attempts while the controller is too busy or restarts. Whatever is asked of it may be asked twice: a
reply that was lost means jobs that do the same again, and find it done."""

_BUSY = re.compile(r"timed out|unable to contact|temporarily un|connection (refused|reset)|zero bytes|standby", re.I)

ENDED = frozenset({"COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"})
"""States of jobs that squeue may still show though they do nothing any more."""


@dataclass(frozen=True)
class Task:
    """One job, or one task of an array, that Slurm has not forgotten."""

    job: str
    """As squeue has it: `17` or `17_3`."""
    role: str
    """The name of its script: `parts`, `sweep` or `consolidate`."""
    state: str
    where: str
    """Its nodes, or why it waits."""


class BusyError(ClusterError):
    """Slurm's controller does not answer now."""


def run(command: Sequence[str], pauses: Sequence[float] = PAUSES) -> str:
    """Runs one of Slurm's commands, without the variables that would change it, and returns what it printed.

    Args:
        command: the command with its arguments.
        pauses: seconds to wait before each further attempt while the controller does not answer.

    Raises:
        ClusterError: there is no such command here, it failed, or the controller did not answer.
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
            command, env=without_slurm(os.environ), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} is not here",
            next_step="run this where Slurm's commands are, use --dry-run to write the scripts, or --engine dask",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BusyError(f"{command[0]} did not answer within {SECONDS} s", next_step="try again later") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
    if _BUSY.search(said):
        raise BusyError(f"{command[0]} failed: {said}", next_step="try again later")
    raise ClusterError(f"{command[0]} refused: {said}", next_step="mend the options, or ask the cluster's people")


def sbatch(script: Path, *options: str, arguments: Iterable[object] = ()) -> str:
    """Submits a script and returns the job's id."""
    printed = run(["sbatch", "--parsable", *options, str(script), *map(str, arguments)])
    return printed.strip().splitlines()[-1].partition(";")[0]


def update(job: str, **settings: str) -> None:
    """Changes a job that waits."""
    run(["scontrol", "update", f"JobId={job}", *(f"{name}={value}" for name, value in settings.items())])


def queue(name: str, user: str | None = None, pauses: Sequence[float] = PAUSES) -> list[Task]:
    """The jobs of that name, tasks of arrays one by one, without those that have ended.

    Args:
        name: of the jobs.
        user: whose, by name or number; None: one's own.
        pauses: as in `run`.
    """
    whose = "--me" if user is None else f"--user={user}"
    printed = run(["squeue", "-h", "-r", whose, f"--name={name}", "-o", "%i|%T|%R|%o"], pauses)
    tasks = []
    for line in printed.split("\n"):
        found = re.fullmatch(r"([^|]*)\|([^|]*)\|(.*)\|.*?(\w+)\.sbatch\b.*", line)
        if found and found[2] not in ENDED:
            tasks.append(Task(job=found[1], role=found[4], state=found[2], where=found[3]))
    return tasks


def max_array_size() -> int:
    """One more than the greatest task number of an array that the cluster takes."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", run(["scontrol", "show", "config"]), re.MULTILINE)
    return max(int(found.group(1)), 1) if found else 1001


def arrays(parts: Iterable[int], size: int) -> list[tuple[int, str]]:
    """Splits part numbers into arrays whose task numbers stay below `size`.

    Returns:
        (offset, task numbers) each: the part is offset plus task number.
    """
    groups: dict[int, list[int]] = {}
    for part in sorted(parts):
        groups.setdefault(part // size * size, []).append(part % size)
    return [(offset, to_ranges(numbers)) for offset, numbers in groups.items()]
