"""Reading a shard: plain reads at the places that its header names; HDF5 is not needed for it.

Reads, not memory maps: they are as fast once a piece of the file is wanted as a whole, and a broken disk or a file cut
short is an error that can be caught, where a memory map ends the process.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from io import FileIO
from pathlib import Path

import numpy as np

from ...errors import CacheError
from . import shard_header as header
from .ranges import from_ranges
from .schema import KINDS
from .sealed_json import DamagedError, check_stamp, read_bytes, read_error
from .shard_header import Header, Place

RUN = 1 << 15
"""Bytes from which on it pays to read a piece right to where it goes."""

SCRATCH = 1 << 20
"""Bytes that are read at once where not everything is kept; small enough to stay in the processor's cache."""


@contextmanager
def open_shard(path: Path) -> Iterator[FileIO]:
    """A shard's file, opened for reads; what goes wrong meanwhile is one clear error."""
    try:
        file = FileIO(path)
    except FileNotFoundError:
        raise CacheError(
            f"{path} is missing", next_step="run the same `itin extract` again: it makes just this shard"
        ) from None
    except OSError as error:
        raise read_error(path, error) from error
    try:
        yield file
    except OSError as error:
        raise read_error(path, error) from error
    finally:
        file.close()


def unpack(kind: str, arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield each sample's arrays as the encoder returned them: the inverse of `shard.pack`, without copies.

    Args:
        kind: `regions`, `tokens` or `context`.
        arrays: those of the kind, with `counts` for regions and `offsets` for tokens.
    """
    names = [schema.name for schema in KINDS[kind]]
    if kind == "tokens":
        for begin, end in itertools.pairwise(arrays["offsets"].tolist()):
            yield {name: arrays[name][begin:end] for name in names}
    else:
        for place in range(len(arrays[kind])):
            end = int(arrays["counts"][place]) if kind == "regions" else None
            yield {name: arrays[name][place][:end] for name in names}


class Wanted:
    """Which samples of a shard are wanted, and where they go.

    Args:
        local: places of the samples in the shard (n,), at least one.
        target: their positions in the result (n,).
    """

    def __init__(self, local: np.ndarray, target: slice | np.ndarray) -> None:
        self.local = local
        self.target = target
        steps = np.diff(local)
        breaks = np.flatnonzero(steps != 1)
        self.ascending = isinstance(target, slice) and (not len(breaks) or bool((steps > 0).all()))
        """Whether the samples stand in the result in the order of the file, without gaps."""
        bounds = [0, *(breaks + 1).tolist(), len(local)]
        self.runs = [(begin, end, int(local[begin])) for begin, end in itertools.pairwise(bounds)]
        """Samples that follow each other: first and last among the wanted, and the place of the first in the shard."""

    @cached_property
    def positions(self) -> np.ndarray:
        """The positions in the result as numbers (n,)."""
        return np.arange(self.target.start, self.target.stop) if isinstance(self.target, slice) else self.target


class Shard:
    """A committed shard, opened for reading. The file is open only while something is read.

    Args:
        path: the file.
        fingerprint: that of the store it must belong to.
        checksum: of its header as the manifest lists it, if it does.
        file: the file, where it was opened already.

    Raises:
        CacheError: not a shard, cut short, of another format version or fingerprint, or not the listed one.
    """

    def __init__(self, path: Path, fingerprint: str, checksum: str | None = None, file: FileIO | None = None) -> None:
        self.path = path
        with open_shard(path) if file is None else nullcontext(file) as opened:
            self.header = _read_header(path, opened)
            size = os.fstat(opened.fileno()).st_size
        check_stamp(path, self.header.format, self.header.fingerprint, fingerprint)
        if size != self.header.bytes:
            raise DamagedError(path, f"it has {size} bytes instead of {self.header.bytes}")
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

    def array(self, name: str) -> np.ndarray:
        """A whole array."""
        place = self.header.arrays[name]
        data = np.empty(place.bytes, np.uint8)
        with open_shard(self.path) as file:
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
            data = memoryview(read_bytes(self.path))
        found = [
            name
            for name, place in self.header.arrays.items()
            if hashlib.sha256(data[place.offset : place.offset + place.bytes]).hexdigest() != place.sha256
        ]
        rest = hashlib.sha256()
        for begin, end in self.header.gaps():
            rest.update(data[begin:end])
        return found if rest.hexdigest() == self.header.rest_sha256 else [*found, "HDF5 structure"]

    def read(self, file: FileIO, name: str, wanted: Wanted, out: np.ndarray, first: int | None) -> None:
        """Copies samples of an array with one entry a sample.

        Args:
            file: this shard, opened by `open_shard`.
            name: the array.
            wanted: which samples, and where they go in `out`.
            out: (..., ...) samples along the first axis.
            first: only the first so many entries of the second axis.
        """
        place = self.header.arrays[name]
        if len(place.shape) > 2 and place.strides[0] <= place.strides[1]:  # by region (or of one sample or region)
            for region in range(place.shape[1] if first is None else first):
                column = Place(
                    place.dtype,
                    (place.shape[0], *place.shape[2:]),
                    place.offset + region * place.strides[1],
                    (place.strides[0], *place.strides[2:]),
                    "",
                )
                self._rows(file, column, wanted, out[:, region], None)
        else:
            self._rows(file, place, wanted, out, first)

    def _rows(self, file: FileIO, place: Place, wanted: Wanted, out: np.ndarray, first: int | None) -> None:
        size = place.strides[0]
        together = first is None and wanted.ascending
        direct = out[wanted.target] if together else out[:0]  # where the samples go, if they can be read right there
        together = together and direct.flags.c_contiguous
        if together and (len(wanted.runs) == 1 or len(wanted.runs) * RUN <= direct.nbytes):
            flat = direct.reshape(-1).view(np.uint8)
            for begin, end, start in wanted.runs:
                self.fill(file, flat[begin * size : end * size], place.offset + start * size)
            return
        cut = (slice(None),) if first is None else (slice(None), slice(first))
        local = wanted.local
        low, high = int(local.min()), int(local.max()) + 1
        step = max(1, SCRATCH // size)
        scratch = _scratch(min(step, high - low) * size)
        for start in range(low, high, step):
            stop = min(start + step, high)
            chosen = slice(None) if stop - start == high - low else (local >= start) & (local < stop)
            here = local[chosen]
            if not len(here):
                continue
            buffer = scratch[: (stop - start) * size]
            if 4 * len(here) >= stop - start:
                self.fill(file, buffer, place.offset + start * size)
            else:  # few of many: only those
                for row in np.unique(here).tolist():
                    self.fill(file, buffer[(row - start) * size :][:size], place.offset + row * size)
            values = buffer.view(place.dtype).reshape(stop - start, *place.shape[1:])[cut]
            if together and len(here) == len(local):
                np.take(values, here - start, axis=0, out=direct, mode="clip")
            else:
                out[wanted.positions[chosen]] = values[here - start]

    def read_spans(self, file: FileIO, wanted: Wanted, out: dict[str, np.ndarray], offsets: np.ndarray) -> None:
        """Copies the tokens of some samples.

        Args:
            file: this shard, opened by `open_shard`.
            wanted: which samples, and their positions.
            out: name of the array -> where it goes (T, ...).
            offsets: where the sample of each position begins in that (N + 1,).
        """
        local, begins = wanted.local, offsets[:-1][wanted.target]
        lengths = np.diff(self.offsets)[local]
        together = (np.diff(local) == 1) & (np.diff(begins) == lengths[:-1])  # samples that follow each other: one read
        heads = np.flatnonzero(np.concatenate([[True], ~together]))
        tails = np.append(heads[1:] - 1, len(local) - 1)
        sources, ends = self.offsets[local[heads]], begins[tails] + lengths[tails]
        spans = list(zip(sources.tolist(), begins[heads].tolist(), ends.tolist(), strict=True))
        for name, target in out.items():
            place = self.header.arrays[name]
            size = place.strides[0]
            flat = target.reshape(-1).view(np.uint8)
            small = np.empty(place.bytes, np.uint8) if place.bytes <= RUN * len(heads) else None
            if small is not None:
                self.fill(file, small, place.offset)
            for source, begin, end in spans:
                piece = flat[begin * size : end * size]
                if small is None:
                    self.fill(file, piece, place.offset + source * size)
                else:
                    piece[:] = small[source * size : source * size + len(piece)]

    def fill(self, file: FileIO, out: np.ndarray, offset: int) -> None:
        """Reads bytes (n,) uint8 from an offset on."""
        view = memoryview(out.data)
        file.seek(offset)
        while len(view):
            got = file.readinto(view)
            if not got:
                raise DamagedError(self.path, "it ends too early")
            view = view[got:]


_THREAD = threading.local()


def _scratch(size: int) -> np.ndarray:
    """Memory to read into, the same each time: fresh memory would cost more than the read."""
    found: np.ndarray | None = getattr(_THREAD, "scratch", None)
    if found is None or len(found) < size:
        found = _THREAD.scratch = np.empty(max(size, SCRATCH), np.uint8)
    return found[:size]


def _read_header(path: Path, file: FileIO) -> Header:
    length = header.SMALLEST
    while True:
        file.seek(0)
        data = file.read(length)
        try:
            found = header.parse(path, data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(path, f"its header is not one ({error})") from error
        if found is not None:
            return found
        if len(data) < length:
            raise DamagedError(path, "it ends within its header")
        length *= 2
