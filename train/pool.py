"""Worker processes that train one configuration after another on shared features."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .config import TrainConfig, View
from .protocols import Splitter
from .splits import Split

EPOCH, DONE, FAILED = "epoch", "done", "failed"


class Job(NamedTuple):
    """One configuration to train."""

    key: str
    """`identity.Identity.of`."""
    name: str
    """The run folder's name."""
    config: TrainConfig


class Event(NamedTuple):
    """What a worker tells."""

    kind: str
    """`EPOCH`, with the history's newest row; `DONE`, with the seconds; `FAILED`, with `error` and `traceback`."""
    worker: int
    job: Job
    values: dict[str, Any]


class Jobs(Protocol):
    """Where a pool takes its jobs from."""

    def next(self) -> Job | None:
        """The next job, or None if there is none, or none until one that is under way has ended."""
        ...


@dataclass(frozen=True)
class StoreFacts:
    """What a run folder records of a store; unlike the store itself it can be sent to another process."""

    path: Path
    fingerprint: str
    identity: dict[str, Any]
    untrained: bool
    options: dict[str, Any] | None
    tokenizer_file: Path | None

    @classmethod
    def of(cls, store: Any) -> StoreFacts:
        """The facts of an `itin.cache.Store`."""
        return cls(store.path, store.fingerprint, store.identity, store.untrained, store.options, store.tokenizer_file)


@dataclass(frozen=True)
class TableFacts:
    """What a run folder records of a data set's table."""

    dataset: dict[str, Any]
    samples: Any
    """A data frame with the columns `id`, `image_sha256` and `text_sha256`."""


@dataclass(frozen=True)
class Setup:
    """All that a worker needs beside its jobs."""

    features: dict[View, Path]
    """Folders of `shared.save_features`."""
    table: TableFacts
    stores: dict[View, dict[str, StoreFacts]]
    """Where they come from, by kind."""
    runs: Path
    """The folder that run folders are written to."""
    splitter: Splitter
    """The protocol, applied to the samples."""
    device: str = "cpu"
    threads: int = 1
    gru: str = "auto"
    graphs: bool = False
    """Whether configurations side by side take their steps as CUDA graphs."""
    precision: str = "float32"
    """Of matrix products of configurations side by side."""

    def stores_for(self, config: TrainConfig) -> dict[str, StoreFacts]:
        """The stores that a configuration's features come from, by kind."""
        return self.stores[config.view]

    def split_for(self, config: TrainConfig) -> Split:
        """The parts that a configuration is trained on."""
        return self.splitter.split(config.split_seed, config.fold)


class Pool:
    """Runs jobs in worker processes, each of its own, started when there is something to do.

    Workers end with the process that started them, however it ends. One that dies over a job takes none with it: the
    job counts as failed, another worker takes its place.

    Args:
        setup: sent to each worker once.
        workers: how many processes.
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

    def run(self, jobs: Jobs) -> Iterator[Event]:
        """Yield what happens, until there is no job left."""
        while True:
            for number, worker in enumerate(self._workers):
                if worker is None or worker.job is None:
                    job = jobs.next()
                    if job is None:
                        break
                    if worker is None:
                        worker = self._workers[number] = _Worker(self.setup)
                    worker.give(job)
            busy = {worker.connection: number for number, worker in enumerate(self._workers) if worker and worker.job}
            if not busy:
                return
            for connection in wait(list(busy)):
                number = busy[connection]  # type: ignore[index]
                yield self._hear(number, self._workers[number])

    def _hear(self, number: int, worker: _Worker | None) -> Event:
        """What a worker has to say, or that it has died."""
        if worker is None or worker.job is None:
            raise RuntimeError("a worker without a job was listened to")
        job = worker.job
        try:
            kind, values = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers[number] = None
            return Event(FAILED, number, job, {"error": _ended(worker.process.exitcode), "traceback": ""})
        if kind != EPOCH:
            worker.job = None
        return Event(kind, number, job, values)


class _Worker:
    def __init__(self, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy threads of torch that do not run any more
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, setup), daemon=True)
        with _environment(_threads(setup.threads)):
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # if it has died, that is noticed where it is listened to
            self.connection.send(job)

    def end(self) -> None:
        """Kill it: a run folder is whole or absent, whatever the instant."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, setup: Setup) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from .shared import open_features

    torch.set_num_threads(setup.threads)
    features = {view: open_features(folder) for view, folder in setup.features.items()}
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        try:
            values = _train(job, setup, features[job.config.view], connection)
        except Exception as error:  # whatever it is, the other configurations go on
            text = str(error).strip() or type(error).__name__
            named = text if type(error).__module__.startswith("itin.") else f"{type(error).__name__}: {text}"
            connection.send((FAILED, {"error": named, "traceback": traceback.format_exc()}))
        else:
            connection.send((DONE, values))


def _train(job: Job, setup: Setup, features: Any, connection: Connection) -> dict[str, Any]:
    from .loop import fit
    from .write_run import write_run

    split = setup.split_for(job.config)

    def tell(row: Mapping[str, float]) -> None:
        connection.send((EPOCH, dict(row)))

    # The test part stays closed: a sweep is for choosing, and choosing on the test part is no test any more.
    result = fit(job.config, features, split, setup.device, tell, evaluate=("val",), gru=setup.gru)
    out = setup.runs / job.name
    write_run(result, features, split, setup.table, setup.stores_for(job.config), device=setup.device, out=out)
    return {"seconds": result.seconds, "best_epoch": result.best_epoch, **result.metrics["val"]}


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        more = ": perhaps the machine ran out of memory" if -code == signal.SIGKILL else ""
        return f"the worker process was ended by {name}{more}"
    return f"the worker process ended with exit code {code}"


def _threads(number: int) -> dict[str, str]:
    return {name: str(number) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a process that is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
