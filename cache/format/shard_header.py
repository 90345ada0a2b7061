"""The header of a shard: which arrays are in the file and where, as JSON in front of the HDF5 data.

HDF5 calls the first 4096 (or 8192, ...) bytes of a file its user block and ignores them. Ours give the location of each
array, so that a reader needs one small read instead of a walk through HDF5's own structures, and checksums that cover
every byte that follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .ranges import check_count
from .sealed_json import DamagedError, described, from_json, seal_of, to_json

MIN_HEADER_BYTES = 4096
END = b"\n}\n"


class ArrayLocation(NamedTuple):
    """The location of one array in a shard: one contiguous piece of the file."""

    dtype: str
    """The dtype as NumPy writes it, for example `<f2`."""
    shape: tuple[int, ...]
    offset: int
    """The number of bytes from the beginning of the file."""
    strides: tuple[int, ...]
    """The number of bytes from one entry to the next along each axis, as in NumPy."""
    sha256: str
    """The digest of the array's bytes in the file."""

    @property
    def bytes(self) -> int:
        """The size of the array in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Header:
    """A shard's description of itself."""

    format: int
    kind: str
    fingerprint: str
    count: int
    """The number of samples in the shard."""
    rows: str
    """Their rows in the store's plan, as ranges: `0-127`."""
    header: int
    """The number of bytes before the HDF5 data: 4096, 8192, and so on."""
    bytes: int
    """The number of bytes of the whole file."""
    arrays: dict[str, ArrayLocation]
    rest_sha256: str
    """The digest of all bytes after the header that belong to no array (HDF5's own), in order."""
    checksum: str = ""
    """The checksum of the header, and so of the whole shard, since the header holds the digests of the rest."""

    def gaps(self) -> list[tuple[int, int]]:
        """Return the pieces of the file after the header that belong to no array, each as (begin, end)."""
        pieces = sorted((place.offset, place.offset + place.bytes) for place in self.arrays.values() if place.bytes)
        begins = [self.header, *(end for _, end in pieces)]
        ends = [*(begin for begin, _ in pieces), self.bytes]
        return [(begin, end) for begin, end in zip(begins, ends, strict=True) if end > begin]


def to_bytes(header: Header) -> bytes:
    """Return the header with its checksum, padded to its size; longer than its size if it does not fit."""
    value = {name: item for name, item in vars(header).items() if name != "checksum"}
    value["arrays"] = {name: place._asdict() for name, place in header.arrays.items()}
    text = to_json(value)
    return text + b" " * (header.header - len(text) - 1) + b"\n"


def header_of(path: Path, data: bytes | bytearray) -> Header:
    """Return the header of a whole shard."""
    found = parse(path, data)
    if found is None:
        raise DamagedError(path, "it ends within its header")
    return found


def parse(path: Path, data: bytes | bytearray) -> Header | None:
    """Read a header from the beginning of a shard; return None if `data` ends before it does.

    Raises:
        CacheError: not a header, a damaged one, or one of another format version.
    """
    if not data.startswith(b"{\n"):
        raise DamagedError(path, "it does not begin with a header")
    end = data.find(END) + len(END)
    if end < len(END):
        return None
    text = bytes(data[:end])
    value: dict[str, Any] = from_json(path, text)
    with described(path):
        for name, kind in FIELDS.items():
            if not isinstance(value[name], kind):
                raise TypeError(f"{name} is {value[name]!r}")
        check_count(value["rows"], value["count"])
        if len(data) < value["header"]:
            return None
        if data[end : value["header"]] != b" " * (value["header"] - end - 1) + b"\n":
            raise DamagedError(path, "its header is not padded with spaces")
        arrays = {name: _location(place, value["header"], value["bytes"]) for name, place in value["arrays"].items()}
        return Header(**{**value, "arrays": arrays, "checksum": seal_of(text)})


FIELDS = {
    **{"kind": str, "fingerprint": str, "count": int, "rows": str},
    **{"header": int, "bytes": int, "arrays": dict, "rest_sha256": str},
}
"""The fields of a header."""


def _location(place: dict[str, Any], begin: int, end: int) -> ArrayLocation:
    """Return the location of an array; raise ValueError or TypeError where it is not within the file."""
    shape, strides = tuple(place["shape"]), tuple(place["strides"])
    found = ArrayLocation(place["dtype"], shape, place["offset"], strides, place["sha256"])
    if not all(isinstance(one, int) and one >= 0 for one in (found.offset, *shape, *strides)) or len(shape) != len(
        strides
    ):
        raise ValueError(f"an array of shape {shape} and strides {strides} at {found.offset!r}")
    if found.bytes and not begin <= found.offset <= end - found.bytes:
        raise ValueError(f"an array of {found.bytes} bytes at {found.offset} in a file of {end}")
    return found
