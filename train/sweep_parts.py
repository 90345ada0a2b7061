"""A sweep in parts: each trains its own runs into folders of their own, and only the last step writes a table.

A part knows nothing of the others. Runs are whole or absent, so whichever part or repetition made one, it counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from typing import Any

from ..errors import RunError
from ..parts import Part
from .axes import Place
from .pool import DONE, EPOCH, Event, Pool
from .sweep import Definition, Result, Sweep, missing, write_results
from .sweep_run import Listed, Source, Workplace, record


def places_of(definition: Definition, part: Part) -> list[tuple[Place, str]]:
    """The runs of a part, each key once: those whose number in the sweep leaves i modulo N."""
    return [one for number, one in enumerate(missing(definition, ())) if part.has(number)]


def check_parts(sweep: Sweep) -> None:
    """Raises RunError for a guided search, whose next trial depends on the others."""
    if sweep.definition.mode == "optuna":
        raise RunError(
            f"{sweep.path} is a guided search: its trials depend on each other, so it has no parts",
            next_step="run it in one process, or sweep over a grid or so many drawn combinations (--random N) in parts",
        )


def run_part(
    sweep: Sweep,
    place: Workplace,
    part: Part,
    stop: Flag,
    *,
    workers: int,
    stack: int | None = None,
    begin: Callable[[Source, dict[str, Result]], None] | None = None,
    listen: Callable[[Event], None] | None = None,
    **options: Any,
) -> int:
    """Trains the missing runs of a part; returns how many are left because `stop` was set.

    The sweep need not be locked: parts write nothing but run folders and records of failures, under names of their own.

    Args:
        sweep: the sweep.
        place: its features.
        part: which part.
        stop: once set, runs under way are dropped.
        workers: processes.
        stack: as in `sweep_run.run`.
        begin: told of the source and the results that are there.
        listen: told of every event.
        options: `threads`, `device`, `gru`, `graphs` and `precision`, as in `sweep_run.run`.
    """
    check_parts(sweep)
    own = dict.fromkeys(key for _, key in places_of(sweep.definition, part))
    results = {key: result for key, result in {**sweep.failed(), **sweep.finished()}.items() if key in own}
    left = [one for one in missing(sweep.definition, results) if one[1] in own]
    jobs = Listed(left)
    if begin is not None:
        begin(jobs, results)
    open_runs = len(left)
    with tempfile.TemporaryDirectory(prefix="itin-sweep-") as folder:  # on the node's own disk
        setup = place.setup(Path(folder) / "features", sweep.path / "runs", **options)
        with engine_of(setup, workers, stack) as engine:
            for event in engine.run(jobs):
                if event.kind != EPOCH:
                    open_runs -= 1
                    if event.kind == DONE or not (sweep.path / "runs" / event.job.name).exists():
                        record(sweep, event)  # else another submission was faster
                if listen is not None:
                    listen(event)
                if stop.is_set():
                    break
    return open_runs


def engine_of(setup: Any, workers: int, stack: int | None) -> Any:
    """Processes on a CPU, runs side by side on a GPU, as `sweep_run.run` chooses."""
    if stack is None and not setup.device.startswith("cuda"):
        return Pool(setup, workers)
    from .stacks import Stacks

    return Stacks(setup, stack)


def consolidate(sweep: Sweep) -> int:
    """Writes the table of results once every run has one; returns how many have failed.

    Raises:
        RunError: runs are missing.
    """
    failed, finished = sweep.failed(), sweep.finished()
    results = {**failed, **finished}
    left = missing(sweep.definition, results)
    if left:
        keys = ", ".join(key for _, key in left[:5])
        raise RunError(
            f"{len(left)} runs of {sweep.path} have not ended yet, and no table was written",
            found=f"missing: {keys}" + (f" and {len(left) - 5} more" if len(left) > 5 else ""),
            next_step=f"run the parts that have not ended with exit code 0 again: itin sweep --resume {sweep.path} "
            "--part i/N",
        )
    write_results(sweep.path, sweep.frame(results))
    return len(set(failed) - set(finished))
