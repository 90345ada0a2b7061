"""Files that are read many times stay open: a few, each used by one thread at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from .opening import Status, recent_status

T = TypeVar("T")


class Shared(Generic[T]):
    """What is kept open of the files used last.

    Args:
        make: opens a file.
        most: the number of files kept open.
    """

    def __init__(self, make: Callable[[Path], T], most: int = 8) -> None:
        self._make, self._most = make, most
        self._lock = Lock()
        self._open: OrderedDict[Path, tuple[Status, Lock, list[T]]] = OrderedDict()

    @contextmanager
    def __call__(self, path: Path) -> Iterator[T]:
        """Give what is open of a file, opened again where the file has changed, to this thread alone."""
        state = recent_status(path)
        with self._lock:
            entry = self._open.get(path)
            if entry is None or entry[0] != state:
                entry = self._open[path] = (state, Lock(), [])
            self._open.move_to_end(path)
            while len(self._open) > self._most:
                self._open.popitem(last=False)  # closed once no thread uses it
        _, lock, opened = entry
        with lock:
            if not opened:
                opened.append(self._make(path))
            yield opened[0]
