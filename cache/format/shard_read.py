"""Reading a shard: plain reads at the locations in its header, without HDF5.

Reads, not memory maps: they are as fast for whole pieces of a file, and a broken disk or a truncated file is an error
that can be caught, where a memory map ends the process.
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
from .shard_header import ArrayLocation, Header

MIN_DIRECT_BYTES = 1 << 15
"""The size of a piece from which reading it directly into the result is faster."""

SCRATCH_BYTES = 1 << 20
"""The number of bytes read at once where not all are kept; small enough for the processor's cache."""


@contextmanager
def open_shard(path: Path) -> Iterator[FileIO]:
    """Open a shard's file for reading; an I/O error in the block becomes a CacheError."""
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
    """Yield each sample's arrays as the encoder returned them: the inverse of `shard_write.pack`, without copies.

    Args:
        kind: `regions`, `tokens`, `context` or `scene`.
        arrays: the arrays of the kind, with `counts` for regions and `offsets` for tokens.
    """
    names = [schema.name for schema in KINDS[kind]]
    if kind == "tokens":
        for begin, end in itertools.pairwise(arrays["offsets"].tolist()):
            yield {name: arrays[name][begin:end] for name in names}
    else:
        for place in range(len(arrays[kind])):
            end = int(arrays["counts"][place]) if kind == "regions" else None
            yield {name: arrays[name][place][:end] for name in names}


class ReadRequest:
    """The samples to read from a shard, and their positions in the result.

    Args:
        local: positions of the samples in the shard (n,), at least one.
        target: their positions in the result (n,).
    """

    def __init__(self, local: np.ndarray, target: slice | np.ndarray) -> None:
        self.local = local
        self.target = target
        steps = np.diff(local)
        breaks = np.flatnonzero(steps != 1)
        self.ascending = isinstance(target, slice) and (not len(breaks) or bool((steps > 0).all()))
        """Whether the samples are in the result in the order of the file, without gaps."""
        bounds = [0, *(breaks + 1).tolist(), len(local)]
        self.runs = [(begin, end, int(local[begin])) for begin, end in itertools.pairwise(bounds)]
        """Runs of consecutive samples: begin and end in the request, and the position of the first in the shard."""

    @cached_property
    def positions(self) -> np.ndarray:
        """The positions in the result as numbers (n,)."""
        return np.arange(self.target.start, self.target.stop) if isinstance(self.target, slice) else self.target


class Shard:
    """A committed shard, for reading. The file is open only during a read.

    Args:
        path: the file.
        fingerprint: the fingerprint of the store that it must belong to.
        checksum: the checksum of its header in the manifest, if listed there.
        file: the open file, if it is open already.

    Raises:
        CacheError: not a shard, truncated, of another format version or fingerprint, or not the listed one.
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
                next_step="run the same `itin extract` again: it lists the existing shards",
            )

    def __len__(self) -> int:
        return self.header.count

    @property
    def rows(self) -> np.ndarray:
        """Its rows in the plan (N,) int64, ascending."""
        return from_ranges(self.header.rows)

    def array(self, name: str) -> np.ndarray:
        """Return a whole array."""
        place = self.header.arrays[name]
        data = np.empty(place.bytes, np.uint8)
        with open_shard(self.path) as file:
            self.fill(file, data, place.offset)
        found: np.ndarray = np.ndarray(place.shape, place.dtype, data, 0, place.strides)
        return found

    def strings(self, name: str) -> list[str]:
        """Return one of the string arrays, `ids` or `sha256`."""
        return [value.decode() for value in self.array(name).tolist()]

    @cached_property
    def offsets(self) -> np.ndarray:
        """The offset at which each sample's tokens begin, (N + 1,) int64.

        Raises:
            CacheError: they are damaged; damaged vectors are wrong, damaged offsets would be those of other samples.
        """
        offsets = self.array("offsets")
        if hashlib.sha256(offsets.tobytes()).hexdigest() != self.header.arrays["offsets"].sha256:
            raise DamagedError(self.path, "offsets do not match their checksum")
        return offsets

    def damage(self, data: memoryview | None = None) -> list[str]:
        """Return what is damaged, by the header's checksums: names of arrays, or `HDF5 structure`.

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

    def read(self, file: FileIO, name: str, request: ReadRequest, out: np.ndarray, first: int | None) -> None:
        """Copy samples of an array with one entry per sample.

        Args:
            file: this shard, opened by `open_shard`.
            name: the array.
            request: the samples, and their positions in `out`.
            out: the result, with samples along the first axis.
            first: the number of entries to keep of the second axis; all by default.
        """
        place = self.header.arrays[name]
        if (
            len(place.shape) > 2 and place.strides[0] <= place.strides[1]
        ):  # stored by region (or just one sample or region)
            for region in range(place.shape[1] if first is None else first):
                column = ArrayLocation(
                    place.dtype,
                    (place.shape[0], *place.shape[2:]),
                    place.offset + region * place.strides[1],
                    (place.strides[0], *place.strides[2:]),
                    "",
                )
                self._rows(file, column, request, out[:, region], None)
        else:
            self._rows(file, place, request, out, first)

    def _rows(
        self, file: FileIO, place: ArrayLocation, request: ReadRequest, out: np.ndarray, first: int | None
    ) -> None:
        size = place.strides[0]
        together = first is None and request.ascending
        direct = out[request.target] if together else out[:0]  # the target, if it can be read into directly
        together = together and direct.flags.c_contiguous
        if together and (len(request.runs) == 1 or len(request.runs) * MIN_DIRECT_BYTES <= direct.nbytes):
            flat = direct.reshape(-1).view(np.uint8)
            for begin, end, start in request.runs:
                self.fill(file, flat[begin * size : end * size], place.offset + start * size)
            return
        cut = (slice(None),) if first is None else (slice(None), slice(first))
        local = request.local
        low, high = int(local.min()), int(local.max()) + 1
        step = max(1, SCRATCH_BYTES // size)
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
            else:  # few of many: read only those
                for row in np.unique(here).tolist():
                    self.fill(file, buffer[(row - start) * size :][:size], place.offset + row * size)
            values = buffer.view(place.dtype).reshape(stop - start, *place.shape[1:])[cut]
            if together and len(here) == len(local):
                np.take(values, here - start, axis=0, out=direct, mode="clip")
            else:
                out[request.positions[chosen]] = values[here - start]

    def read_spans(self, file: FileIO, request: ReadRequest, out: dict[str, np.ndarray], offsets: np.ndarray) -> None:
        """Copy the tokens of some samples.

        Args:
            file: this shard, opened by `open_shard`.
            request: the samples, and their positions.
            out: the result (T, ...) by name of the array.
            offsets: where the sample of each position begins in `out` (N + 1,).
        """
        local, begins = request.local, offsets[:-1][request.target]
        lengths = np.diff(self.offsets)[local]
        together = (np.diff(local) == 1) & (np.diff(begins) == lengths[:-1])  # consecutive samples: one read
        heads = np.flatnonzero(np.concatenate([[True], ~together]))
        tails = np.append(heads[1:] - 1, len(local) - 1)
        sources, ends = self.offsets[local[heads]], begins[tails] + lengths[tails]
        spans = list(zip(sources.tolist(), begins[heads].tolist(), ends.tolist(), strict=True))
        for name, target in out.items():
            place = self.header.arrays[name]
            size = place.strides[0]
            flat = target.reshape(-1).view(np.uint8)
            small = np.empty(place.bytes, np.uint8) if place.bytes <= MIN_DIRECT_BYTES * len(heads) else None
            if small is not None:
                self.fill(file, small, place.offset)
            for source, begin, end in spans:
                piece = flat[begin * size : end * size]
                if small is None:
                    self.fill(file, piece, place.offset + source * size)
                else:
                    piece[:] = small[source * size : source * size + len(piece)]

    def fill(self, file: FileIO, out: np.ndarray, offset: int) -> None:
        """Read bytes (n,) uint8 from an offset on."""
        view = memoryview(out.data)
        file.seek(offset)
        while len(view):
            got = file.readinto(view)
            if not got:
                raise DamagedError(self.path, "it ends too early")
            view = view[got:]


_THREAD = threading.local()


def _scratch(size: int) -> np.ndarray:
    """Return a buffer that is reused by each call: fresh memory would cost more than the read."""
    found: np.ndarray | None = getattr(_THREAD, "scratch", None)
    if found is None or len(found) < size:
        found = _THREAD.scratch = np.empty(max(size, SCRATCH_BYTES), np.uint8)
    return found[:size]


def _read_header(path: Path, file: FileIO) -> Header:
    length = header.MIN_HEADER_BYTES
    while True:
        file.seek(0)
        data = file.read(length)
        try:
            found = header.parse(path, data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(path, f"its header is malformed ({error})") from error
        if found is not None:
            return found
        if len(data) < length:
            raise DamagedError(path, "it ends within its header")
        length *= 2
