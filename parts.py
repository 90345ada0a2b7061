"""Splitting work: over the cores of this machine, and over N processes, of which each does part i."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy as np

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return how many threads decode images: one per core, at most 16."""
    return min(cores(), 16)


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, counted from 0: every N-th piece of work, as the two numbers alone decide."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"part: expected i/N with 0 <= i < N, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part that a text such as `3/16` names."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise ValueError(f"part: expected i/N, such as 0/16, got {text!r}")
        return cls(int(index), int(count))

    def has(self, piece: int) -> bool:
        """Return whether a piece of work, by its number, belongs to this part."""
        return piece % self.count == self.index

    def of(self, pieces: np.ndarray) -> np.ndarray:
        """Return which pieces of work (N,), by their numbers, belong to this part, (N,) bool."""
        mine: np.ndarray = pieces % self.count == self.index
        return mine

    def split(self, count: int) -> list[Part]:
        """Return the parts of this part: `count` that exclude one another and leave nothing out."""
        return [Part(self.index + self.count * number, self.count * count) for number in range(count)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def run_ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, Future[R]]]:
    """Run `work` on the items, at most `ahead` of them running or waiting, and yield them in order."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()


@contextmanager
def threads_of_children(number: int) -> Iterator[None]:
    """Let the libraries of processes that are started in this context use that many threads each."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(number)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def ended(code: int | None) -> str:
    """Return how a process ended, in words that follow its name.

    Args:
        code: the exit code, negative for the number of a signal.
    """
    if code is not None and code < 0:
        import signal

        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        more = ": perhaps the machine ran out of memory" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{more}"
    return f"ended with exit code {code}"
