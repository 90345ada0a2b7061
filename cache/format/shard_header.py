"""The header of a shard: what stands in the file and where, as JSON in front of the HDF5 data.

HDF5 calls the first 4096 (or 8192, ...) bytes of a file its user block and leaves them alone. Ours say where each array
lies, so that a reader needs one small read instead of a walk through HDF5's own structures, and carry a checksum of
every byte that follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .sealed_json import DamagedError, from_json, seal_of, to_json

SMALLEST = 4096
END = b"\n}\n"


class Place(NamedTuple):
    """Where one array lies in a shard; it takes up one piece of the file without gaps."""

    dtype: str
    """As NumPy writes it, for example `<f2`."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the beginning of the file."""
    strides: tuple[int, ...]
    """Bytes from one entry to the next along each axis, as in NumPy."""
    sha256: str
    """Of the array's bytes, as they stand in the file."""

    @property
    def bytes(self) -> int:
        """How many bytes the array takes up."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Header:
    """What a shard says about itself."""

    format: int
    kind: str
    fingerprint: str
    count: int
    """Samples in the shard."""
    rows: str
    """Their rows in the store's plan, as ranges: `0-127`."""
    header: int
    """Bytes before the HDF5 data: 4096, or twice that, and so on."""
    bytes: int
    """Bytes of the whole file."""
    arrays: dict[str, Place]
    rest_sha256: str
    """Of all bytes behind the header that belong to no array, HDF5's own, in their order."""
    checksum: str = ""
    """The seal of the header; since it covers those of the arrays, it stands for the whole shard."""

    def gaps(self) -> list[tuple[int, int]]:
        """The pieces of the file behind the header that belong to no array, each as (begin, end)."""
        pieces = sorted((place.offset, place.offset + place.bytes) for place in self.arrays.values() if place.bytes)
        begins = [self.header, *(end for _, end in pieces)]
        ends = [*(begin for begin, _ in pieces), self.bytes]
        return [(begin, end) for begin, end in zip(begins, ends, strict=True) if end > begin]


def to_bytes(header: Header) -> bytes:
    """The header with its seal, filled up to its size; longer than its size when it does not fit."""
    value = {name: item for name, item in vars(header).items() if name != "checksum"}
    value["arrays"] = {name: place._asdict() for name, place in header.arrays.items()}
    text = to_json(value)
    return text + b" " * (header.header - len(text) - 1) + b"\n"


def header_of(path: Path, data: bytes | bytearray) -> Header:
    """The header of a whole shard."""
    found = parse(path, data)
    if found is None:
        raise DamagedError(path, "it ends within its header")
    return found


def parse(path: Path, data: bytes | bytearray) -> Header | None:
    """Reads a header from the beginning of a shard; None when `data` ends before it does.

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
    if len(data) < value["header"]:
        return None
    if data[end : value["header"]] != b" " * (value["header"] - end - 1) + b"\n":
        raise DamagedError(path, "its header is not filled up with spaces")
    arrays = {
        name: Place(place["dtype"], tuple(place["shape"]), place["offset"], tuple(place["strides"]), place["sha256"])
        for name, place in value["arrays"].items()
    }
    return Header(**{**value, "arrays": arrays, "checksum": seal_of(text)})
