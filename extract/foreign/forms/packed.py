"""Packed arrays, one entry a sample along the first axis, cut into the arrays of each sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from ....cache.format.schema import KINDS
from ...data.reading import BadFile
from ..naming import candidates, found_names
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import ids_from, texts_of

BLOCK_BYTES = 16 << 20
"""Bytes of an array that are read at a time."""


class Rows(Protocol):
    """An array whose rows are read in order: an array in memory, or one in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> Any:
        """Its dtype."""

    def __getitem__(self, rows: slice) -> Any:
        """Read some rows."""


def has_ids(names: Sequence[str], asked: Asked) -> bool:
    """Return whether arrays of these names are packed: ids are among them, or in a file of their own."""
    return asked.ids is not None or bool(set(candidates("ids", asked)).intersection(names))


def list_packed(arrays: Mapping[str, Rows], asked: Asked, ids: Sequence[str] | None = None) -> Iterator[Item]:
    """List the samples of packed arrays.

    Arrays of N rows have one a sample. Where there are offsets, or lengths whose sum it is, an array of so many rows
    has those of all samples one after the other. Arrays of one row, or of none, are not read.

    Args:
        arrays: arrays by name; only those that are asked for are read.
        asked: what is wanted of them.
        ids: the ids, where they are not among the arrays.

    Raises:
        BadFile: there are not as many ids as rows, or the offsets are none.
    """
    names = found_names(arrays, asked)
    if asked.ids is not None:
        ids = ids_from(asked.ids)
    if ids is None:
        ids = texts_of(names["ids"], arrays[names["ids"]][:])
    offsets = _offsets(arrays, names, len(ids))
    used = {name: arrays[name] for ours, name in names.items() if ours not in ("ids", "offsets")}
    inner = {schema.name for schema in KINDS[asked.kind] if schema.axis != "sample"}
    packed = {theirs for ours, theirs in names.items() if ours in inner} if offsets is not None else set()
    for name, rows in used.items():
        length = int(offsets[-1]) if offsets is not None and name in packed else len(ids)
        if not rows.shape or rows.shape[0] != length:
            told = f"{len(ids)} ids" + f" and {length} vectors" * (name in packed)
            raise BadFile(f"holds {name} {tuple(rows.shape)} for {told}")
    readers = {name: _Reader(rows) for name, rows in used.items()}

    def read(row: int, id: str) -> Raw:
        ranges = dict.fromkeys(readers, (row, row + 1))
        if offsets is not None:
            ranges |= dict.fromkeys(packed, (int(offsets[row]), int(offsets[row + 1])))
        found = {name: one(*ranges[name]) for name, one in readers.items()}
        if sum(array.nbytes for array in found.values()) > MAX_BYTES:
            raise BadFile(UNPACKED)
        return Raw(id, {name: array if name in packed else array[0] for name, array in found.items()})

    for row, id in enumerate(ids):
        yield Item(id, partial(read, row, id))


def _offsets(arrays: Mapping[str, Rows], names: Mapping[str, str], count: int) -> np.ndarray | None:
    """Return where each sample's vectors begin and the last one's end (N + 1,); None where arrays are not packed so."""
    if "offsets" in names:
        offsets = np.asarray(arrays[names["offsets"]][:])
    elif "lengths" in names and arrays[names["lengths"]].shape == (count,):
        offsets = np.concatenate([[0], np.cumsum(np.asarray(arrays[names["lengths"]][:], np.int64))])
        rows = [arrays[theirs].shape[0] for ours, theirs in names.items() if ours == "tokens"]
        if rows != [int(offsets[-1])] or rows == [count]:  # padded: cut by length later
            return None
    else:
        return None
    if offsets.shape != (count + 1,) or offsets.dtype.kind not in "iu" or offsets[0] or (np.diff(offsets) < 0).any():
        raise BadFile(f"holds offsets {offsets.shape} for {count} ids: expected {count + 1}, from 0 on and ascending")
    return offsets


class _Reader:
    """The rows of an array, read block by block."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._size = int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.dtype.itemsize
        self._step = max(1, BLOCK_BYTES // max(self._size, 1))
        self._begin, self._block = 0, np.empty(0)

    def __call__(self, begin: int, end: int) -> np.ndarray:
        held = self._begin <= begin and end <= self._begin + len(self._block)
        if not held:
            if (end - begin) * self._size > MAX_BYTES:
                raise BadFile(UNPACKED)
            self._begin = begin
            self._block = np.asarray(self._rows[begin : max(end, min(begin + self._step, self._rows.shape[0]))])
        return self._block[begin - self._begin : end - self._begin]
