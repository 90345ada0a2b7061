"""The chain of jobs: array, sweep after it however it ends, consolidation once a sweep finds nothing missing.

Whatever dies, something in the queue goes on. The sweep is submitted first, to begin in ten minutes, and only then the
rest; once the array is there the sweep is tied to it. So a submitting process may be killed between any two of these
steps: the sweep finds what is in the queue and what is missing, and completes the chain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..cache.format.ranges import to_ranges
from . import slurm
from .scripts import CONSOLIDATE, PARTS, SWEEP
from .submission import ClusterError, Submission
from .work import Missing
from .works import work_of

UNTIED_SECONDS = 600
"""After how long a sweep begins that nobody came to tie to its array."""


@dataclass
class Chain:
    """The jobs of one round."""

    sweep: str | None = None
    consolidation: str | None = None
    arrays: list[str] = field(default_factory=list)


def scripts_of(submission: Submission) -> dict[str, Path]:
    """The scripts that were written for a submission."""
    return {role: submission.folder / f"{role}.sbatch" for role in (PARTS, SWEEP, CONSOLIDATE)}


def launch(submission: Submission, parts: Collection[int], left: int, missing: int) -> Chain:
    """Submits one round: the parts that lack something, a sweep and the consolidation.

    Args:
        submission: whose scripts are submitted.
        parts: their numbers; without any only the consolidation is submitted.
        left: sweeps in a row that may still bring nothing new.
        missing: pieces that are lacking now.
    """
    scripts = scripts_of(submission)
    chain = Chain()
    if not parts:
        chain.consolidation = _consolidation(submission, None)
        return chain
    chain.sweep = slurm.sbatch(scripts[SWEEP], f"--begin=now+{UNTIED_SECONDS}", arguments=(left, missing))
    chain.consolidation = _consolidation(submission, chain.sweep)
    for offset, tasks in slurm.arrays(parts, slurm.max_array_size()):
        limit = f"%{submission.at_once}" if submission.at_once else ""
        chain.arrays.append(slurm.sbatch(scripts[PARTS], f"--array={tasks}{limit}", arguments=(offset,)))
    _tie(chain.sweep, chain.arrays)
    return chain


def sweep(submission: Submission, left: int, before: int) -> str:
    """What a sweep job does; returns a sentence that says what that was.

    Args:
        submission: what is swept up.
        left: sweeps in a row that may still bring nothing new.
        before: pieces that were lacking at the last sweep.

    Raises:
        ClusterError: there is something missing still and no sweep is left.
    """
    missing = work_of(submission.work).missing(submission)
    if not missing.parts:
        job = _consolidation(submission, None, only_if_absent=True)
        return "nothing is missing" + (f"; the consolidation is job {job}" if job else "")
    tasks = [task for task in slurm.queue(submission.name) if task.role == PARTS]
    running = sorted({task.job.partition("_")[0] for task in tasks})
    if running:  # the submitting process did not come to the end, or a task was put back into the queue
        again = slurm.sbatch(
            scripts_of(submission)[SWEEP], f"--dependency=afterany:{':'.join(running)}", arguments=(left, before)
        )
        _consolidation(submission, again)
        return f"array {', '.join(running)} is not through: job {again} sweeps after it"
    left = left - 1 if missing.pieces == before else submission.retries
    if left < 0 or submission.retries == 0:
        given_up = (
            f"{submission.retries} retries in a row brought nothing new" if submission.retries else "--retries is 0"
        )
        raise ClusterError(
            f"{describe(missing)}, and {given_up}",
            next_step=f"see why with `itin cluster status {submission.folder}`, then submit the same again",
        )
    chain = launch(submission, missing.parts, left, missing.pieces)
    return f"{describe(missing)}: submitted again as {', '.join(chain.arrays)}, swept by {chain.sweep}"


def describe(missing: Missing) -> str:
    """One line for people."""
    return f"{missing.pieces} of {missing.wanted} are missing, in parts {to_ranges(missing.parts)}"


def _consolidation(submission: Submission, after: str | None, *, only_if_absent: bool = False) -> str | None:
    """Makes sure that the consolidation waits, for the sweep `after` if there is one; returns the job if it is new."""
    waiting = [task.job for task in slurm.queue(submission.name) if task.role == CONSOLIDATE]
    if waiting and only_if_absent:
        return None
    if waiting and after is not None:
        slurm.update(waiting[0], Dependency=f"afterok:{after}")
        return waiting[0]
    options = ["--kill-on-invalid-dep=yes", f"--dependency=afterok:{after}"] if after is not None else []
    return slurm.sbatch(scripts_of(submission)[CONSOLIDATE], *options)


def _tie(sweep: str, arrays: list[str]) -> None:
    slurm.update(sweep, Dependency=f"afterany:{':'.join(arrays)}", StartTime="now")
