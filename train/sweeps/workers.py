"""Worker processes, each of which trains one trial after another on shared features."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ...parts import ended, threads_of_children
from .axes import Trial
from .result import Result
from .setup import Event, Setup, TrialSource


class Pool:
    """Train trials in worker processes, which are started on demand.

    Workers end with the process that started them, however it ends. If one dies, its trial
    counts as failed, and another worker takes its place.

    Args:
        setup: sent to each worker once.
        workers: the number of processes.
    """

    def __init__(self, setup: Setup, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers: expected at least 1, got {workers}")
        self.setup = setup
        self._workers: list[_Worker | None] = [None] * workers

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
                if worker is None or worker.trial is None:
                    trial = trials.next()
                    if trial is None:
                        break
                    if worker is None:
                        worker = self._workers[number] = _Worker(self.setup)
                    worker.give(trial)
            at_work = [(i, one, one.trial) for i, one in enumerate(self._workers) if one is not None and one.trial]
            if not at_work:
                return
            ready = wait([worker.connection for _, worker, _ in at_work])
            yield from (self._receive(*busy) for busy in at_work if busy[1].connection in ready)

    def _receive(self, number: int, worker: _Worker, trial: Trial) -> Event:
        """Return a message from a worker, or a failure if it has died."""
        try:
            message: dict[str, float] | Result = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers[number] = None
            return Event(
                number, trial, {}, Result(trial.key, error=f"the worker process {ended(worker.process.exitcode)}")
            )
        if not isinstance(message, Result):
            return Event(number, trial, message)
        worker.trial = None
        return Event(number, trial, {}, message)


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
        self.trial: Trial | None = None

    def give(self, trial: Trial) -> None:
        self.trial = trial
        with suppress(OSError):  # if it has died, `_receive` notices
            self.connection.send(trial)

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
            trial: Trial = connection.recv()
        except EOFError:
            return
        try:
            result = _train(trial, setup, features[trial.config.view], connection)
        except Exception as error:  # the other configurations go on after any error
            text = str(error).strip() or type(error).__name__
            named = text if type(error).__module__.startswith("itin.") else f"{type(error).__name__}: {text}"
            result = Result(trial.key, error=named, traceback=traceback.format_exc())
        connection.send(result)


def _train(trial: Trial, setup: Setup, features: Any, connection: Connection) -> Result:
    from ..loop import fit

    split = setup.split_for(trial)
    # The test part is not evaluated: a sweep is for choosing, and a part that is used to choose is no longer a test.
    fitted = fit(trial.config, features, split, setup.device, connection.send, evaluate=("val",), gru=setup.gru)
    return setup.keep(trial, fitted, features)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
