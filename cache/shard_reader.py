"""Reading a shard: plain reads at the places that its header names; HDF5 is not needed for it.

Reads, not memory maps: they are as fast once a piece of the file is wanted as a whole, and a broken disk or a file cut
short is an error that can be caught, where a memory map ends the process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import FileIO
from pathlib import Path

import numpy as np

from ..errors import CacheError
from . import files, header
from .header import Header, Place
from .ranges import from_ranges

SCRATCH = 1 << 20
"""Bytes that are read at once where not everything is kept; small enough to stay in the processor's cache."""


class Shard:
    """A committed shard, opened for reading. The file is open only while something is read.

    Args:
        path: the file.
        fingerprint: that of the store it must belong to.
        checksum: of its header as the manifest lists it, if it does.

    Raises:
        CacheError: not a shard, cut short, of another format version or fingerprint, or not the listed one.
    """

    def __init__(self, path: Path, fingerprint: str, checksum: str | None = None) -> None:
        self.path = path
        with self.file() as file:
            self.header = _read_header(path, file)
            size = os.fstat(file.fileno()).st_size
        files.check_stamp(path, self.header.format, self.header.fingerprint, fingerprint)
        if size != self.header.bytes:
            raise files.DamagedError(path, f"it has {size} bytes instead of {self.header.bytes}")
        if checksum is not None and checksum != self.header.checksum:
            raise CacheError(
                f"{path} is not the shard that the manifest lists",
                next_step="run the same `itin extract` again: it lists what is there",
            )

    def __len__(self) -> int:
        return self.header.count

    @property
    def rows(self) -> np.ndarray:
        """Rows of the plan (N,) int64, ascending."""
        return from_ranges(self.header.rows)

    @contextmanager
    def file(self) -> Iterator[FileIO]:
        """The file, opened for reads; what goes wrong meanwhile is one clear error."""
        try:
            file = FileIO(self.path)
        except FileNotFoundError:
            raise CacheError(
                f"{self.path} is missing", next_step="run the same `itin extract` again: it makes just this shard"
            ) from None
        except OSError as error:
            raise files.read_error(self.path, error) from error
        try:
            yield file
        except OSError as error:
            raise files.read_error(self.path, error) from error
        finally:
            file.close()

    def array(self, name: str) -> np.ndarray:
        """A whole array."""
        place = self.header.arrays[name]
        data = np.empty(place.bytes, np.uint8)
        with self.file() as file:
            self.fill(file, data, place.offset)
        found: np.ndarray = np.ndarray(place.shape, place.dtype, data, 0, place.strides)
        return found

    def strings(self, name: str) -> list[str]:
        """One of the string arrays, `ids` or `sha256`."""
        return [value.decode() for value in self.array(name).tolist()]

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each sample's tokens begin, (N + 1,) int64."""
        return self.array("offsets")

    def damage(self, data: memoryview | None = None) -> list[str]:
        """What is damaged, by the header's checksums: names of arrays, or `HDF5 structure`.

        Args:
            data: the file's bytes, if they were read already.
        """
        if data is None:
            data = memoryview(files.read_bytes(self.path))
        found = [
            name
            for name, place in self.header.arrays.items()
            if hashlib.sha256(data[place.offset : place.offset + place.bytes]).hexdigest() != place.sha256
        ]
        rest = hashlib.sha256()
        for begin, end in self.header.gaps():
            rest.update(data[begin:end])
        return found if rest.hexdigest() == self.header.rest_sha256 else [*found, "HDF5 structure"]

    def read(
        self, file: FileIO, name: str, local: np.ndarray, out: np.ndarray, target: slice | np.ndarray, first: int | None
    ) -> None:
        """Copies samples of an array with one entry a sample.

        Args:
            file: this shard, opened by `file()`.
            name: the array.
            local: places of the samples in this shard (n,).
            out: (..., ...) where they go, along the first axis.
            target: places in `out` (n,).
            first: only the first so many entries of the second axis.
        """
        place = self.header.arrays[name]
        if len(place.shape) > 2 and place.strides[0] < place.strides[1]:  # by region: one piece of the file each
            for region in range(place.shape[1] if first is None else first):
                column = Place(
                    place.dtype,
                    (place.shape[0], *place.shape[2:]),
                    place.offset + region * place.strides[1],
                    (place.strides[0], *place.strides[2:]),
                    "",
                )
                self._rows(file, column, local, out[:, region], target, None)
        else:
            self._rows(file, place, local, out, target, first)

    def _rows(
        self,
        file: FileIO,
        place: Place,
        local: np.ndarray,
        out: np.ndarray,
        target: slice | np.ndarray,
        first: int | None,
    ) -> None:
        low, high = int(local.min()), int(local.max()) + 1
        size = place.strides[0]
        together = isinstance(target, slice) and high - low == len(local) and bool((np.diff(local) == 1).all())
        if together and first is None and (wanted := out[target]).flags.c_contiguous:
            self.fill(file, wanted.reshape(-1).view(np.uint8), place.offset + low * size)
            return
        cut = (slice(None),) if first is None else (slice(None), slice(first))
        step = max(1, SCRATCH // size)
        scratch = np.empty(min(step, high - low) * size, np.uint8)
        positions = np.arange(target.start, target.stop) if isinstance(target, slice) else target
        ascending = isinstance(target, slice) and bool((np.diff(local) > 0).all())
        for begin in range(low, high, step):
            end = min(begin + step, high)
            if ascending:
                lo, hi = np.searchsorted(local, [begin, end])
                here: np.ndarray = local[lo:hi]
                there: slice | np.ndarray = slice(int(positions[0] + lo), int(positions[0] + hi))
            else:
                chosen = (local >= begin) & (local < end)
                here, there = local[chosen], positions[chosen]
            if not len(here):
                continue
            begin, stop = int(here.min()), int(here.max()) + 1
            buffer = scratch[: (stop - begin) * size]
            if 4 * len(here) >= stop - begin:
                self.fill(file, buffer, place.offset + begin * size)
            else:  # few of many: only those
                for row in np.unique(here).tolist():
                    piece = buffer[(row - begin) * size : (row - begin + 1) * size]
                    self.fill(file, piece, place.offset + row * size)
            values = buffer.view(place.dtype).reshape(stop - begin, *place.shape[1:])[cut]
            out[there] = values if together else values[here - begin]

    def read_spans(self, file: FileIO, local: np.ndarray, out: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Copies the tokens of some samples.

        Args:
            file: this shard, opened by `file()`.
            local: places of the samples in this shard (n,).
            out: name of the array -> where it goes (T, ...), and where in that each sample begins (n,).
        """
        lengths = np.diff(self.offsets)[local]
        for name, (target, begins) in out.items():
            place = self.header.arrays[name]
            size = place.strides[0]
            flat = target.reshape(-1).view(np.uint8) if target.size else target.reshape(0).view(np.uint8)
            # samples that follow each other here and there are one read
            together = (np.diff(local) == 1) & (np.diff(begins) == lengths[:-1])
            heads = np.flatnonzero(np.concatenate([[True], ~together]))
            tails = [*(heads[1:] - 1).tolist(), len(local) - 1]
            for head, tail in zip(heads.tolist(), tails, strict=True):
                source = place.offset + int(self.offsets[local[head]]) * size
                begin, end = int(begins[head]) * size, int(begins[tail] + lengths[tail]) * size
                self.fill(file, flat[begin:end], source)

    def fill(self, file: FileIO, out: np.ndarray, offset: int) -> None:
        """Reads bytes (n,) uint8 from an offset on."""
        view = memoryview(out.data)
        file.seek(offset)
        while len(view):
            got = file.readinto(view)
            if not got:
                raise files.DamagedError(self.path, "it ends too early")
            view = view[got:]


def _read_header(path: Path, file: FileIO) -> Header:
    length = header.SMALLEST
    while True:
        file.seek(0)
        data = file.read(length)
        try:
            found = header.parse(path, data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise files.DamagedError(path, f"its header is not one ({error})") from error
        if found is not None:
            return found
        if len(data) < length:
            raise files.DamagedError(path, "it ends within its header")
        length *= 2
