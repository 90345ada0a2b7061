"""Single rows of a store, read with one system call an array: for access in any order, sample by sample."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from functools import partial
from typing import Any
from weakref import finalize

import numpy as np

from .format.schema import KINDS
from .format.sealed_json import DamagedError, read_error
from .format.shard_header import ArrayLocation
from .format.shard_read import Shard
from .store import Arrays, Store

MAX_OPEN_FILES = 128
"""The number of shards that are kept open."""


class RowReader:
    """A reader of single rows, which keeps the files of the shards that it used last open.

    Args:
        store: the store.
        first: the number of regions to keep of each row; all by default.
    """

    def __init__(self, store: Store, first: int | None = None) -> None:
        self._store, self._first = store, first
        self._starts = store.starts.tolist()
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return RowReader, (self._store, self._first)  # another process opens the files again

    def __call__(self, row: int) -> Arrays:
        """Return the arrays of a row as the encoder returned them, without padding.

        Raises:
            IndexError: there is no such row.
            CacheError: a shard that is missing or damaged.
        """
        if not 0 <= row < len(self._store):
            raise IndexError(f"row numbers must lie in 0..{len(self._store) - 1}, got {row}")
        number = bisect_right(self._starts, row) - 1
        shard = self._open.get(number)
        if shard is None:
            if len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)
            shard = self._open[number] = _OpenShard(self._store.shard(number), self._store.kind, self._first)
        return shard.read(row - self._starts[number])


class _OpenShard:
    def __init__(self, shard: Shard, kind: str, first: int | None) -> None:
        self._path = shard.path
        try:
            self._file = os.open(shard.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise read_error(shard.path, error) from error
        finalize(self, os.close, self._file)
        axis = KINDS[kind][0].axis
        counts = shard.array("counts") if axis == "region" else None
        self._offsets = shard.offsets.tolist() if axis == "token" else None
        if counts is not None and first is not None:
            counts = np.minimum(counts, first)
        self._counts = None if counts is None else counts.tolist()
        places = shard.header.arrays
        self._reads = [
            (schema.name, partial(_region if schema.axis == "region" else _rows, self._file, places[schema.name]))
            for schema in KINDS[kind]
        ]

    def read(self, local: int) -> Arrays:
        try:
            if self._counts is not None:
                return {name: read(local, self._counts[local]) for name, read in self._reads}
            if self._offsets is not None:
                begin, end = self._offsets[local : local + 2]
                return {name: read(begin, end - begin) for name, read in self._reads}
            return {name: read(local, 1)[0] for name, read in self._reads}
        except EOFError as error:
            raise DamagedError(self._path, "it ends too early") from error
        except OSError as error:
            raise read_error(self._path, error) from error


def _rows(file: int, place: ArrayLocation, begin: int, count: int) -> np.ndarray:
    """Read entries of an array in its order."""
    out = np.empty((count, *place.shape[1:]), place.dtype)
    _fill(file, out, place.offset + begin * place.strides[0])
    return out


def _region(file: int, place: ArrayLocation, row: int, count: int) -> np.ndarray:
    """Read the first regions of a row, which lie together or, each with those of other rows, apart."""
    out = np.empty((count, *place.shape[2:]), place.dtype)
    offset, step = place.offset + row * place.strides[0], place.strides[1]
    if count < 2 or step * count == out.nbytes:
        _fill(file, out, offset)
    else:
        for region in range(count):
            _fill(file, out[region], offset + region * step)
    return out


def _fill(file: int, out: np.ndarray, offset: int) -> None:
    if not out.nbytes:
        return
    if os.preadv(file, [out.data], offset) != out.nbytes:
        raise EOFError
