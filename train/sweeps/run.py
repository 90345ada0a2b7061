"""Running a sweep, all of it or a part: what is missing is trained, results are kept as they come.

A part knows nothing of the others: it writes run folders and records of failures, under names of their own, and no
table. Runs are whole or absent, so whichever part or repetition made one, it counts.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING

from ... import disk
from ...errors import RunError
from ...parts import Part
from ..runs.folder import load_run
from .axes import Trial
from .folder import WHOLE, Result, Sweep
from .prepare import SweepData
from .setup import Event, Setup, Source
from .workers import Pool

if TYPE_CHECKING:
    from .one_device import Stacks

RESULTS_SECONDS = 5.0
"""How often the table of results is written while runs finish."""


class Queue:
    """Trials that are known beforehand, in order.

    Args:
        trials: each key once.
    """

    def __init__(self, trials: Iterable[Trial]) -> None:
        self._left = deque(trials)
        self.total = len(self._left)

    def next(self) -> Trial | None:
        """Return the next one."""
        return self._left.popleft() if self._left else None

    def ended(self, result: Result) -> None:
        """Do nothing: no trial depends on it."""


def run(
    sweep: Sweep,
    data: SweepData,
    part: Part | None = None,
    *,
    source: Callable[[Sweep, SweepData, dict[str, Result]], Source] | None = None,
    stop: Flag | None = None,
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
    gru: str = "auto",
    retry: bool = False,
    stack: int | None = None,
    graphs: bool = False,
    precision: str = "float32",
    begin: Callable[[Source, dict[str, Result]], None] | None = None,
    listen: Callable[[Event], None] | None = None,
) -> dict[str, Result]:
    """Train what is missing, and return the results by key.

    What has finished is kept; what was under way when a sweep was ended starts over.

    Args:
        sweep: the sweep, which must be `locked`, for a part with others.
        data: its features.
        part: which part; None trains all of the sweep and writes its table.
        source: gives the trials, made from the sweep and the results that are there; by default all that are missing.
        stop: once set, runs under way are dropped.
        workers: processes.
        threads: of each.
        device: where to train.
        gru: how to compute the GRU.
        retry: also train what has failed before.
        stack: how many configurations to train side by side in this process instead of one a worker; by default what
            memory allows on a CUDA device, and none elsewhere.
        graphs: whether these take their steps as CUDA graphs.
        precision: of their matrix products, one of `config.PRECISIONS`.
        begin: told of the source and the results that are there.
        listen: told of every event.

    Raises:
        RunError: a part of a guided search is asked for.
    """
    whole = part is None
    if whole:
        for rubbish in (*sweep.path.glob(f"runs/{disk.TEMPORARY}*"), *sweep.path.glob(".features-*")):
            shutil.rmtree(rubbish, ignore_errors=True)
    else:
        check_parts(sweep)
    if retry:
        for file in sweep.path.glob("failed/*.json"):
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
    # Features of a part are on the node's own disk; of a whole sweep where the next call finds what this one left.
    with tempfile.TemporaryDirectory(
        prefix=".features-", dir=sweep.path if whole else None, ignore_cleanup_errors=True
    ) as folder:
        try:
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


def engine_of(setup: Setup, workers: int, stack: int | None) -> Pool | Stacks:
    """Return what trains: processes on a CPU, this process with runs side by side on a GPU or where `stack` says so."""
    if stack is None and not setup.device.startswith("cuda"):
        return Pool(setup, workers)
    from .one_device import Stacks

    return Stacks(setup, stack)


def record(sweep: Sweep, trial: Trial, result: Result) -> Result:
    """Keep what a run came to: its folder is there already, its error is written here."""
    if result.run is not None:
        return result
    there = sweep.path / "runs" / trial.name
    if (there / "config.json").exists():  # another submission was faster
        return Result.of(load_run(there))
    failure = {"key": trial.key, "config": trial.config.to_dict(), "error": result.error, "traceback": result.traceback}
    disk.replace(sweep.path / "failed" / f"{trial.key}.json", disk.to_json(failure))
    return result


def check_parts(sweep: Sweep) -> None:
    """Raise RunError for a guided search, whose next trial depends on the others."""
    if sweep.definition.mode == "optuna":
        raise RunError(
            f"{sweep.path} is a guided search: its trials depend on each other, so it has no parts",
            next_step="run it in one process, or sweep over a grid or so many drawn combinations (--random N) in parts",
        )
