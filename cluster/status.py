"""The progress of a submission: from committed shards, from its logs, and from squeue if available."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RUN_AGAIN
from . import slurm
from .scripts import CONSOLIDATE, FORMER_ROLES, PARTS, RESUBMIT
from .slurm import Task
from .submission import RECORD, ClusterError, Submission
from .work import Missing
from .works import work_of

WINDOW_SECONDS = 600
"""The period over which the rate is measured."""

_BEGIN = re.compile(r"^itin: (part \d+|the \w+)(?:/\d+)? begins on (\S+), job (\S+)$", re.MULTILINE)
_END = re.compile(r"^itin: (?:part \d+/\d+|the \w+) ended with exit code (\d+)$", re.MULTILINE)
_TROUBLE = re.compile(r"error|killed|cancelled|exception|no space|quota", re.IGNORECASE)
_BASH = re.compile(r": line \d+: +\d+ \w+")
"""Bash's message about a process that was ended by a signal, with its command line."""

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Failure:
    """A task, resubmission or consolidation that failed."""

    job: str
    what: str
    """The name in the log: `part 3`, `the resubmission` (formerly `the sweep`) or `the consolidation`."""
    node: str
    error: str
    log: Path


@dataclass(frozen=True)
class Status:
    """The present state of a submission."""

    submission: Submission
    missing: Missing
    pieces: str
    """The unit of work: features or runs."""
    consolidated: bool
    tasks: list[Task]
    """Jobs that run or wait; empty if squeue is not available."""
    reachable: bool
    """Whether squeue could be asked."""
    rate: float
    """Pieces per second over the last minutes."""
    failures: tuple[Failure, ...]
    """The latest failures of a part, of the resubmission and of the consolidation, if any."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the present rate; None while the rate is zero."""
        if not self.missing.pieces:
            return 0.0
        return self.missing.pieces / self.rate if self.rate else None

    @property
    def running(self) -> list[Task]:
        """Running tasks of parts."""
        return [task for task in self.tasks if task.role == PARTS and task.state == "RUNNING"]


def status_of(submission: Submission) -> Status:
    """Return the status from committed pieces, the logs and the queue."""
    work = work_of(submission.work)
    begin = max(submission.created, time.time() - WINDOW_SECONDS)
    tasks: list[Task] = []
    reachable = submission.engine == "slurm"
    if reachable:
        try:
            owner = (submission.folder / RECORD).stat().st_uid  # someone else in the lab may be asking
            tasks = slurm.queue(submission.name, str(owner), pauses=())
        except ClusterError:
            reachable = False
    running = {task.job for task in tasks if task.state == "RUNNING"}
    kinds = (("part",), (RESUBMIT, *FORMER_ROLES), (CONSOLIDATE,))
    failures = [_last_failure(submission.logs, names, running) for names in kinds]
    return Status(
        submission=submission,
        missing=work.missing(submission),
        pieces=work.pieces,
        consolidated=work.consolidated(submission),
        tasks=tasks,
        reachable=reachable,
        rate=work.made_since(submission, begin) / max(time.time() - begin, 1.0),
        failures=tuple(failure for failure in failures if failure is not None),
    )


def _last_failure(logs: Path, names: Sequence[str], running: set[str]) -> Failure | None:
    """Return the newest failure in the logs whose names begin with one of these."""
    paths = [path for name in names for path in logs.glob(f"{name}-*.log")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        failure = read_log(path, running)
        if failure is not None:
            return failure
    return None


def read_log(path: Path, running: set[str]) -> Failure | None:
    """Return the failure of the last attempt in a log; None if it succeeded or still runs.

    Args:
        path: the log of a task; it holds all attempts of a requeued task, one after the other.
        running: ids of running tasks.
    """
    text = _tail(path)
    begins = list(_BEGIN.finditer(text))
    if not begins:
        return None
    what, node, job = begins[-1].groups()
    output = text[begins[-1].end() :]
    end = _END.search(output)
    if end is None and job in running:
        return None
    code = int(end.group(1)) if end else None
    if code in (0, RUN_AGAIN):
        return None
    error = _error(output[: end.start()] if end else output)
    if code is None:
        error = error or "no exit code in the log: killed, or its node was lost"
    elif code > 128:
        error = f"killed by signal {code - 128}" + (f" ({error})" if error else "")
    return Failure(job, what, node, error or f"exit code {code}", path)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - TAIL_BYTES, 0))
        return file.read().decode(errors="replace")


def _error(text: str) -> str:
    """Return the last line that mentions an error."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _TROUBLE.search(line) and not _BASH.search(line)), "")
