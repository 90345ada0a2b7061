"""How far a submission is: from committed shards, from its logs, and from squeue where there is one."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RUN_AGAIN
from . import slurm
from .scripts import CONSOLIDATE, PARTS, SWEEP
from .slurm import Task
from .submission import RECORD, ClusterError, Submission
from .work import Missing
from .works import work_of

WINDOW_SECONDS = 600
"""The rate is that of the last so many seconds."""

_BEGIN = re.compile(r"^itin: (part \d+|the \w+)(?:/\d+)? begins on (\S+), job (\S+)$", re.MULTILINE)
_END = re.compile(r"^itin: (?:part \d+/\d+|the \w+) ended with exit code (\d+)$", re.MULTILINE)
_TROUBLE = re.compile(r"error|killed|cancelled|exception|no space|quota", re.IGNORECASE)
_BASH = re.compile(r": line \d+: +\d+ \w+")
"""What bash says of a process that a signal ended, with all of its command line."""

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Failure:
    """A task, sweep or consolidation that ended otherwise than well."""

    job: str
    what: str
    """`part 3`, `the sweep` or `the consolidation`."""
    node: str
    error: str
    log: Path


@dataclass(frozen=True)
class Status:
    """What can be said of a submission now."""

    submission: Submission
    missing: Missing
    pieces: str
    """What is counted: features, runs."""
    consolidated: bool
    tasks: list[Task]
    """Jobs that run or wait; empty where there is no squeue."""
    reachable: bool
    """Whether squeue could be asked."""
    rate: float
    """Pieces a second, over the last minutes."""
    failures: tuple[Failure, ...]
    """The latest of a part, of the sweep and of the consolidation, as far as there are any."""

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None while there is none."""
        if not self.missing.pieces:
            return 0.0
        return self.missing.pieces / self.rate if self.rate else None

    @property
    def running(self) -> list[Task]:
        """Tasks of parts that run."""
        return [task for task in self.tasks if task.role == PARTS and task.state == "RUNNING"]


def status_of(submission: Submission) -> Status:
    """Looks at what is committed, the logs and the queue."""
    work = work_of(submission.work)
    begin = max(submission.created, time.time() - WINDOW_SECONDS)
    tasks: list[Task] = []
    reachable = submission.engine == "slurm"
    if reachable:
        try:
            owner = (submission.folder / RECORD).stat().st_uid  # another one of the lab may be asking
            tasks = slurm.queue(submission.name, str(owner), pauses=())
        except ClusterError:
            reachable = False
    running = {task.job for task in tasks if task.state == "RUNNING"}
    failures = [_last_failure(submission.logs, f"{kind}-*.log", running) for kind in ("part", SWEEP, CONSOLIDATE)]
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


def _last_failure(logs: Path, names: str, running: set[str]) -> Failure | None:
    """The newest of these logs whose job is through and did not end well."""
    for path in sorted(logs.glob(names), key=lambda path: path.stat().st_mtime, reverse=True):
        failure = read_log(path, running)
        if failure is not None:
            return failure
    return None


def read_log(path: Path, running: set[str]) -> Failure | None:
    """What went wrong in the last attempt that a log tells of, if it is over and something did.

    Args:
        path: the log of a task; the attempts of a requeued one follow each other in it.
        running: ids of the tasks that run now.
    """
    text = _tail(path)
    begins = list(_BEGIN.finditer(text))
    if not begins:
        return None
    what, node, job = begins[-1].groups()
    said = text[begins[-1].end() :]
    end = _END.search(said)
    if end is None and job in running:
        return None
    code = int(end.group(1)) if end else None
    if code in (0, RUN_AGAIN):
        return None
    error = _error(said[: end.start()] if end else said)
    if code is None:
        error = error or "it ended without a word: killed, or its node was lost"
    elif code > 128:
        error = f"killed by signal {code - 128}" + (f" ({error})" if error else "")
    return Failure(job, what, node, error or f"exit code {code}", path)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - TAIL_BYTES, 0))
        return file.read().decode(errors="replace")


def _error(text: str) -> str:
    """The last line that speaks of trouble."""
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _TROUBLE.search(line) and not _BASH.search(line)), "")
