"""The run of a sweep or a part of it: missing runs are trained, results are kept as they come.

A part does not depend on the others: it writes run folders and records of failures, under unique names, and no table.
Runs are whole or absent, so each counts, whichever part or repetition made it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING

from ... import disk
from ...errors import RunError
from ...parts import Part
from ..runs.folder import load_run
from .axes import Trial
from .folder import WHOLE, Sweep
from .prepare import SweepData
from .result import Result
from .setup import Event, Setup, TrialSource
from .workers import Pool

if TYPE_CHECKING:
    from .one_device import Stacks

RESULTS_SECONDS = 5.0
"""The least time between two writes of the table of results while runs finish."""


class Queue:
    """Trials that are known in advance, in order.

    Args:
        trials: each key once.
    """

    def __init__(self, trials: Iterable[Trial]) -> None:
        self._left = deque(trials)
        self.total = len(self._left)

    def next(self, begin: bool = True) -> Trial | None:
        """Return the next trial, or None."""
        return self._left.popleft() if self._left else None

    def ended(self, result: Result) -> None:
        """Do nothing: no trial depends on it."""


def run(
    sweep: Sweep,
    data: SweepData,
    part: Part | None = None,
    *,
    source: Callable[[Sweep, SweepData, dict[str, Result]], TrialSource] | None = None,
    stop: Flag | None = None,
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
    gru: str = "auto",
    retry: bool = False,
    stack: int | None = None,
    graphs: bool | None = None,
    precision: str = "float32",
    begin: Callable[[TrialSource, dict[str, Result]], None] | None = None,
    listen: Callable[[Event], None] | None = None,
) -> dict[str, Result]:
    """Train the missing runs, and return the results by key.

    Finished runs are kept; those that were under way when a sweep was ended start over.

    Args:
        sweep: the sweep, which must be `locked`, for a part with others.
        data: its features.
        part: the part; None trains all of the sweep and writes its table.
        source: makes the source of trials from the sweep and its results; by default, all missing trials.
        stop: once set, runs under way are dropped.
        workers: the number of processes.
        threads: the threads of each process.
        device: where to train.
        gru: how to compute the GRU.
        retry: whether to train failed runs again.
        stack: how many configurations to train side by side in this process instead of one a worker; by default what
            memory allows on a CUDA device, and none elsewhere.
        graphs: whether these take their steps as CUDA graphs; by default where they can.
        precision: the precision of their matrix products, one of `config.PRECISIONS`.
        begin: called with the source and the results that are there.
        listen: called with every event.

    Raises:
        RunError: a part of a guided search is asked for.
    """
    whole = part is None
    if whole:
        for leftover in (*sweep.path.glob(f"runs/{disk.TEMPORARY}*"), *sweep.path.glob(".features-*")):
            shutil.rmtree(leftover, ignore_errors=True)
    else:
        check_parts(sweep)
    if retry:
        for file in sweep.path.glob("failed/*.json"):
            with disk.writing(file):
                file.unlink()
    own = {trial.key for trial in sweep.definition.runs(part or WHOLE)}
    results = {key: result for key, result in sweep.ended().items() if key in own}
    if source is not None:
        trials = source(sweep, data, results)
    else:
        trials = Queue(sweep.definition.missing(results, part or WHOLE))
    if begin is not None:
        begin(trials, results)
    written = time.monotonic()
    # A part puts its features on the node's own disk; a whole sweep where the next call removes leftovers.
    with ExitStack() as temporary:
        with disk.writing(sweep.path):
            place = tempfile.TemporaryDirectory(
                prefix=".features-", dir=sweep.path if whole else None, ignore_cleanup_errors=True
            )
            folder = temporary.enter_context(place)
        try:
            with disk.writing(Path(folder)):
                setup = data.setup(
                    Path(folder),
                    sweep.path / "runs",
                    device=device,
                    threads=threads,
                    gru=gru,
                    graphs=graphs,
                    precision=precision,
                )
            with engine_of(setup, workers, stack) as engine:
                for event in engine.run(trials):
                    if event.result is not None:
                        result = results[event.trial.key] = record(sweep, event.trial, event.result)
                        trials.ended(result)
                        if whole and time.monotonic() - written > RESULTS_SECONDS:
                            written = time.monotonic()
                            sweep.write(results)
                    if listen is not None:
                        listen(event)
                    if stop is not None and stop.is_set():
                        break
        finally:
            if whole:
                sweep.write(results)
    return results


def engine_of(setup: Setup, workers: int, stack: int | None) -> AbstractContextManager[Pool | Stacks]:
    """Return worker processes for a CPU, or runs side by side in this process for a GPU or where `stack` is set."""
    if stack is None and not setup.device.startswith("cuda"):
        return Pool(setup, workers)
    from .one_device import Stacks

    return nullcontext(Stacks(setup, stack))


def record(sweep: Sweep, trial: Trial, result: Result) -> Result:
    """Keep the result of a run: its folder is there already, its error is written here."""
    if result.run is not None:
        return result
    there = sweep.path / "runs" / trial.name
    if (there / "config.json").exists():  # another submission was faster
        return Result.of(load_run(there))
    failure = {"key": trial.key, "config": trial.config.to_dict(), "error": result.error, "traceback": result.traceback}
    disk.replace(sweep.path / "failed" / f"{trial.key}.json", disk.to_json(failure))
    return result


def check_parts(sweep: Sweep) -> None:
    """Raise RunError for a sweep whose next trial depends on the others: a guided search, or one with inner folds."""
    if sweep.definition.inner_folds:
        raise RunError(
            f"{sweep.path} chooses on inner folds what to train in the end, so it has no parts",
            next_step=f"run it in one process: itin sweep --resume {sweep.path}",
        )
    if sweep.definition.mode == "optuna":
        raise RunError(
            f"{sweep.path} is a guided search: its trials depend on each other, so it has no parts",
            next_step=f"run it in one process (itin sweep --resume {sweep.path}), or sweep over a grid or N drawn "
            "combinations (--random N) in parts",
        )
