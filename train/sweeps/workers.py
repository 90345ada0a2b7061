"""Worker processes on shared features; each trains one trial after another, or some together where that is quicker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ...errors import RunError
from ...parts import ended, threads_of_children
from .axes import Trial
from .result import Result
from .setup import Event, Setup, TrialSource

TOGETHER = 16
"""Trials that a worker trains side by side, at most."""


class Pool:
    """Train trials in worker processes, which are started on demand.

    Workers end with the process that started them, however it ends. If one dies, its trial counts as failed, and
    another worker takes its place; of several trials each is tried alone.

    Args:
        setup: sent to each worker once.
        workers: the number of processes.
    """

    def __init__(self, setup: Setup, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers: expected at least 1, got {workers}")
        self.setup = setup
        self._workers: list[_Worker | None] = [None] * workers
        self._waiting: list[Trial] = []
        self._alone: set[str] = set()
        """Keys of trials that are not to be trained beside others again."""

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.end()

    def run(self, trials: TrialSource) -> Iterator[Event]:
        """Yield events until no trial is left."""
        while True:
            for number, worker in enumerate(self._workers):
                if worker is None or not worker.trials:
                    together = self._together(trials)
                    if not together:
                        break
                    if worker is None:
                        worker = self._workers[number] = _Worker(self.setup)
                    worker.give(together)
            at_work = [(i, one) for i, one in enumerate(self._workers) if one is not None and one.trials]
            if not at_work:
                return
            ready = wait([worker.connection for _, worker in at_work])
            for number, worker in at_work:
                if worker.connection in ready:
                    yield from self._receive(number, worker)

    def _together(self, trials: TrialSource) -> list[Trial]:
        """Take the next trial, and others that are quicker beside it; each worker gets its share of those."""
        first = self._waiting.pop(0) if self._waiting else trials.next()
        if first is None:
            return []
        if first.key in self._alone or not _quicker_together(first):
            return [first]
        while (trial := trials.next(begin=False)) is not None:
            self._waiting.append(trial)
        same = [first, *(one for one in self._waiting if one.key not in self._alone and _alike(one, first))]
        idle = sum(worker is None or not worker.trials for worker in self._workers)
        together = same[: min(TOGETHER, -(-len(same) // idle))]
        self._waiting = [trial for trial in self._waiting if trial not in together]
        return together

    def _receive(self, number: int, worker: _Worker) -> list[Event]:
        """Return a message from a worker, or failures if it has died."""
        try:
            j, message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers[number] = None
            if worker.together:
                self._waiting += worker.trials.values()
                self._alone |= {trial.key for trial in worker.trials.values()}
                return []
            how = f"the worker process {ended(worker.process.exitcode)}"
            return [Event(number, trial, {}, Result(trial.key, error=how)) for trial in worker.trials.values()]
        if not isinstance(message, Result):
            return [Event(number, worker.trials[j], message)]
        return [Event(number, worker.trials.pop(j), {}, message)]


class _Worker:
    def __init__(self, setup: Setup) -> None:
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would copy the state of torch's threads, but not the threads
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, setup), daemon=True)
        with threads_of_children(setup.threads):
            self.process.start()
        theirs.close()
        self.trials: dict[int, Trial] = {}
        """Those that it trains, by number."""
        self.together = False
        """Whether they were given to it together."""

    def give(self, trials: Sequence[Trial]) -> None:
        self.trials, self.together = dict(enumerate(trials)), len(trials) > 1
        with suppress(OSError):  # if it has died, `_receive` notices
            self.connection.send(list(trials))

    def end(self) -> None:
        """Kill the process: a run folder is whole or absent at any time."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, setup: Setup) -> None:
    """Train the trials that arrive, until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from ..features.shared import open_features

    torch.set_num_threads(setup.threads)
    features = {view: open_features(folder) for view, folder in setup.features.items()}
    while True:
        try:
            trials: list[Trial] = connection.recv()
        except EOFError:
            return
        for message in _results(trials, setup, features[trials[0].config.view]):
            connection.send(message)


def _results(trials: Sequence[Trial], setup: Setup, features: Any) -> Iterator[tuple[int, dict[str, float] | Result]]:
    """Yield what `_train` does; each trial ends with a result, whatever happens to the others."""
    left = dict(enumerate(trials))
    try:
        for j, made in _train(trials, setup, features):
            if isinstance(made, Result):
                del left[j]
            yield j, made
    except Exception as error:  # the other configurations go on after any error
        if len(trials) == 1:
            yield 0, _failure(trials[0], error)
            return
        for j, trial in left.items():  # perhaps there was no memory for all at once
            yield from ((j, made) for _, made in _results([trial], setup, features))


def _train(trials: Sequence[Trial], setup: Setup, features: Any) -> Iterator[tuple[int, dict[str, float] | Result]]:
    """Yield the rows and the result of each trial by its number."""
    from ..loop import compute_for, train

    split, configs = setup.split_for(trials[0]), [trial.config for trial in trials]
    how = compute_for(configs, features, split, setup.device, setup.gru)
    # The test part is not evaluated: a sweep is for choosing, and a part that is used to choose is no longer a test.
    for j, made in train(configs, features, split, setup.device, ("val",), how):
        if isinstance(made, dict):
            yield j, made
            continue
        try:
            if isinstance(made, RunError):
                raise made
            result = setup.keep(trials[j], made, features)
        except RunError as error:  # the others go on
            result = _failure(trials[j], error)
        yield j, result


def _failure(trial: Trial, error: Exception) -> Result:
    text = str(error).strip() or type(error).__name__
    named = text if type(error).__module__.startswith("itin.") else f"{type(error).__name__}: {text}"
    return Result(trial.key, error=named, traceback="".join(traceback.format_exception(error)))


def _quicker_together(trial: Trial) -> bool:
    """Return whether a trial is quicker beside others on a CPU: a head of a few products that has one word a text."""
    from ..steps import stackable

    return stackable(trial.config) and trial.config.averages


def _alike(one: Trial, other: Trial) -> bool:
    """Return whether trials can be trained side by side: on the same parts, and with heads of one shape."""
    from ..steps import shape_of

    return one.inner == other.inner and shape_of(one.config, "") == shape_of(other.config, "")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
