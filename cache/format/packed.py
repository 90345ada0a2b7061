"""Many short strings in little memory, and an index of rows by id and digest, for plans of millions of rows.

A list of a million ids and digests takes 190 MB, and a dictionary of them 100 MB more.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

_DIGEST_BYTES = 32

_AT_A_TIME = 2**14
"""The number of strings that are packed together."""


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
        left = iter(strings)
        while packed := [_packed(one) for one in itertools.islice(left, _AT_A_TIME)]:
            ends = itertools.accumulate(map(len, packed), initial=len(self._data))
            self._ends.extend(itertools.islice(ends, 1, None))  # the first end is that of the string before
            self._data += b"".join(packed)

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
        return self.pick(range(len(self)))

    def pick(self, numbers: Iterable[int]) -> Iterator[str]:
        """Yield the strings of some numbers, counted from 0, without the checks that an index takes each time."""
        data, ends = self._data, self._ends
        for number in numbers:
            one = data[ends[number] : ends[number + 1]]
            yield one.hex() if len(one) == _DIGEST_BYTES else _unpacked(bytes(one))

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

    def __init__(self, ids: PackedStrings, digests: PackedStrings) -> None:
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
            places, at = np.arange(len(ids)), np.searchsorted(hashes, wanted)
            while len(places):  # again where several rows share a hash
                same = hashes[np.minimum(at, len(hashes) - 1)] == wanted[places]
                same &= at < len(hashes)
                places, at = places[same], at[same]
                of = rows[at].tolist()
                for place, row, digest, id in zip(
                    places.tolist(), of, self._digests.pick(of), self._ids.pick(of), strict=True
                ):
                    if digest == digests[place] and id == ids[place]:
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
        new = map(hash, self._ids.pick(range(self._added, count)))
        run = _sorted(np.fromiter(new, np.int64, count - self._added), np.arange(self._added, count, dtype=np.int32))
        self._added = count
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            hashes, rows = self._runs.pop()
            run = _sorted(np.concatenate([hashes, run[0]]), np.concatenate([rows, run[1]]))
        self._runs.append(run)


def _sorted(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order]
