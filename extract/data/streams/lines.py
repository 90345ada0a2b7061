"""The samples of a table on disk, read one by one: millions of them take little memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from ....errors import CacheError
from ..places.opening import open_file, read_at
from ..samples import Sample

_CHUNK = 2**22


class SampleLines(Sequence[Sample]):
    """The samples of a `samples.jsonl` as a sequence that holds 8 bytes of each; any number of threads may read it.

    It stays the table that was opened when another one takes its place; sent to another process, it is opened again.

    Args:
        path: the file.

    Raises:
        CacheError: a line is not a sample.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_file(path)
        self._size = os.fstat(self._file.fileno()).st_size
        ends = [np.zeros(1, np.int64)]
        for at in range(0, self._size, _CHUNK):
            chunk = read_at(self._file, at, min(_CHUNK, self._size - at))
            ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + at + 1)
        self._starts = np.concatenate(ends)

    def __reduce__(self) -> tuple[type[SampleLines], tuple[Path]]:
        return SampleLines, (self.path,)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, number: int) -> Sample: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Sample]: ...

    def __getitem__(self, number: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        return self._sample(os.pread(self._file.fileno(), self._length(number), int(self._starts[number])))

    def __iter__(self) -> Iterator[Sample]:
        number = 0
        while number < len(self):
            last = max(number + 1, int(np.searchsorted(self._starts, self._starts[number] + _CHUNK, "right")) - 1)
            at, end = int(self._starts[number]), int(self._starts[last])
            yield from map(self._sample, read_at(self._file, at, end - at).splitlines())
            number = last

    def find(self, id: str) -> Sample | None:
        """Return the sample of an id, None where there is none."""
        hashes, numbers = self._by_id
        place = int(np.searchsorted(hashes, hash(id)))
        while place < len(hashes) and hashes[place] == hash(id):
            sample = self[int(numbers[place])]
            if sample.id == id:
                return sample
            place += 1
        return None

    @cached_property
    def _by_id(self) -> tuple[np.ndarray, np.ndarray]:
        """The hashes of all ids in ascending order (N,) int64, and the number of the sample of each (N,) int32."""
        hashes = np.fromiter((hash(sample.id) for sample in self), np.int64, len(self))
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return hashes[order], order

    def _length(self, number: int) -> int:
        return int(self._starts[number + 1] - self._starts[number])

    def _sample(self, line: bytes) -> Sample:
        try:
            return Sample(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise CacheError(
                f"cannot read {self.path}: {error}", next_step="remove the file and run `itin extract` again"
            ) from error
