"""Many short strings in little memory, and an index of rows by id and digest, for plans of millions of rows.

A list of a million ids and digests takes 190 MB, and a dictionary of them 100 MB more.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

_DIGEST_BYTES = 32


class PackedStrings(Sequence[str]):
    """Strings in one buffer; a SHA-256 in hexadecimal digits takes half its length. It only grows.

    Args:
        strings: the first strings.
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._data = bytearray()
        self._ends = array("q", [0])
        self.extend(strings)

    def extend(self, strings: Iterable[str]) -> None:
        """Append strings."""
        for one in strings:
            self._data += _packed(one)
            self._ends.append(len(self._data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> list[str]: ...

    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        return _unpacked(bytes(self._data[self._ends[number] : self._ends[number + 1]]))

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def count(self, value: Any) -> int:
        """Return how many strings are equal to one."""
        if value == "":
            return int((np.diff(np.frombuffer(self._ends, np.int64)) == 0).sum())
        return sum(one == value for one in self)


def _packed(text: str) -> bytes:
    if len(text) == 2 * _DIGEST_BYTES:
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) == _DIGEST_BYTES and digest.hex() == text:
            return digest
    data = text.encode(errors="surrogatepass")
    return data + b"\0" if len(data) == _DIGEST_BYTES or data.endswith(b"\0") else data


def _unpacked(data: bytes) -> str:
    if len(data) == _DIGEST_BYTES:
        return data.hex()
    return data.removesuffix(b"\0").decode(errors="surrogatepass")


class PackedIndex:
    """An index of rows by id and digest, by hashes in sorted runs: 12 bytes a row.

    Args:
        ids: the ids of the rows, which may grow.
        digests: the digests of the rows.
    """

    def __init__(self, ids: Sequence[str], digests: Sequence[str]) -> None:
        self._ids, self._digests = ids, digests
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []
        """Hashes in ascending order (n,) int64 and their rows (n,) int32, longer runs first."""
        self._added = 0

    def find(self, ids: Sequence[str], digests: Sequence[str]) -> list[int]:
        """Return the rows of samples with the digests of their inputs, -1 where there is none."""
        self._grow()
        wanted = np.fromiter(map(hash, ids), np.int64, len(ids))
        found = [-1] * len(ids)
        for hashes, rows in self._runs:
            first = np.searchsorted(hashes, wanted)
            there = np.flatnonzero(hashes[np.minimum(first, len(hashes) - 1)] == wanted)
            for place in there.tolist():
                at = int(first[place])
                while at < len(hashes) and hashes[at] == wanted[place]:
                    row = int(rows[at])
                    if self._digests[row] == digests[place] and self._ids[row] == ids[place]:
                        found[place] = max(found[place], row)
                    at += 1
        return found

    def clear(self) -> None:
        """Give its memory back; it is made again when it is next asked."""
        self._runs, self._added = [], 0

    def _grow(self) -> None:
        """Add the rows that have been appended since; runs of like length become one."""
        count = len(self._ids)
        if count == self._added:
            return
        new = (hash(self._ids[row]) for row in range(self._added, count))
        run = _sorted(np.fromiter(new, np.int64, count - self._added), np.arange(self._added, count, dtype=np.int32))
        self._added = count
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            hashes, rows = self._runs.pop()
            run = _sorted(np.concatenate([hashes, run[0]]), np.concatenate([rows, run[1]]))
        self._runs.append(run)


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]
