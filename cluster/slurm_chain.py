"""The chain of jobs: the array, a resubmission after it however it ends, and the consolidation once nothing is missing.

Whatever dies, a job in the queue continues. The resubmission is submitted first, to begin in ten minutes, and only then
the rest; once the array is in the queue, the resubmission is made to depend on it. So the submitting process may be
killed between any two of these steps: the resubmission sees what is queued and missing, and completes the chain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..cache.format.ranges import to_ranges
from . import slurm
from .scripts import CONSOLIDATE, FORMER_ROLES, PARTS, RESUBMIT
from .submission import ClusterError, Submission
from .work import Missing
from .works import work_of

UNTIED_SECONDS = 600
"""The delay after which a resubmission begins that does not depend on an array yet."""


@dataclass
class Chain:
    """The jobs of one round."""

    resubmission: str | None = None
    consolidation: str | None = None
    arrays: list[str] = field(default_factory=list)


def scripts_of(submission: Submission) -> dict[str, Path]:
    """Return the scripts of a submission, under their former names if it was written before."""
    scripts = {role: submission.folder / f"{role}.sbatch" for role in (PARTS, RESUBMIT, CONSOLIDATE)}
    for former, role in FORMER_ROLES.items():
        path = submission.folder / f"{former}.sbatch"
        if path.exists() and not scripts[role].exists():
            scripts[role] = path
    return scripts


def launch(submission: Submission, parts: Collection[int], left: int, missing: int) -> Chain:
    """Submit one round: the incomplete parts, a resubmission and the consolidation.

    Args:
        submission: the submission whose scripts are submitted.
        parts: numbers of the incomplete parts; if there are none, only the consolidation is submitted.
        left: further rounds in a row that may bring nothing new.
        missing: number of pieces missing now.
    """
    scripts = scripts_of(submission)
    chain = Chain()
    if not parts:
        chain.consolidation = _consolidation(submission, None)
        return chain
    chain.resubmission = slurm.sbatch(scripts[RESUBMIT], f"--begin=now+{UNTIED_SECONDS}", arguments=(left, missing))
    chain.consolidation = _consolidation(submission, chain.resubmission)
    for offset, tasks in slurm.arrays(parts, slurm.max_array_size()):
        limit = f"%{submission.at_once}" if submission.at_once else ""
        chain.arrays.append(slurm.sbatch(scripts[PARTS], f"--array={tasks}{limit}", arguments=(offset,)))
    slurm.update(chain.resubmission, Dependency=f"afterany:{':'.join(chain.arrays)}", StartTime="now")
    return chain


def resubmit(submission: Submission, left: int, before: int) -> str:
    """Submit again what is missing, or start the consolidation; return one line that says what was done.

    Args:
        submission: the submission to continue.
        left: further rounds in a row that may bring nothing new.
        before: number of pieces missing in the last round.

    Raises:
        ClusterError: pieces are still missing and no retry is left.
    """
    missing = work_of(submission.work).missing(submission)
    if not missing.parts:
        job = _consolidation(submission, None, only_if_absent=True)
        return "nothing is missing" + (f"; the consolidation is job {job}" if job else "")
    tasks = [task for task in slurm.queue(submission.name) if task.role == PARTS]
    running = sorted({task.job.partition("_")[0] for task in tasks})
    if running:  # the submitting process was killed, or a task was requeued
        again = slurm.sbatch(
            scripts_of(submission)[RESUBMIT], f"--dependency=afterany:{':'.join(running)}", arguments=(left, before)
        )
        _consolidation(submission, again)
        return f"array {', '.join(running)} has not ended: job {again} resubmits after it"
    left = left - 1 if missing.pieces == before else submission.retries
    if left < 0 or submission.retries == 0:
        given_up = (
            f"{submission.retries} retries in a row brought nothing new" if submission.retries else "--retries is 0"
        )
        raise ClusterError(
            f"{describe(missing)}, and {given_up}",
            next_step=f"see why with `itin cluster status {submission.folder}`, then run the same submit command again",
        )
    chain = launch(submission, missing.parts, left, missing.pieces)
    return f"{describe(missing)}: submitted again as {', '.join(chain.arrays)}, resubmission {chain.resubmission}"


def describe(missing: Missing) -> str:
    """Return what is missing as one line of text."""
    return f"{missing.pieces} of {missing.wanted} are missing, in parts {to_ranges(missing.parts)}"


def _consolidation(submission: Submission, after: str | None, *, only_if_absent: bool = False) -> str | None:
    """Make the consolidation wait, for the resubmission `after` if given; return its job."""
    waiting = [task.job for task in slurm.queue(submission.name) if task.role == CONSOLIDATE]
    if waiting and only_if_absent:
        return None
    if waiting and after is not None:
        slurm.update(waiting[0], Dependency=f"afterok:{after}")
        return waiting[0]
    options = ["--kill-on-invalid-dep=yes", f"--dependency=afterok:{after}"] if after is not None else []
    return slurm.sbatch(scripts_of(submission)[CONSOLIDATE], *options)
