"""The features of one sample on their way into a store: as the source has them, and as the store holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
"""Arrays of one sample by name."""

MAX_BYTES = 256 * 2**20
"""Size limit of one sample's unpacked features."""

UNPACKED = f"is too large: more than {MAX_BYTES} bytes unpacked"


@dataclass(frozen=True)
class Raw:
    """The arrays of one sample under the names of the source."""

    id: str
    """The sample's name in the source."""
    arrays: dict[str, Any]
    """Arrays and numbers by name; those that no store has are there too."""
    sha256: str = ""
    """SHA-256 of the file or the row; empty for that of the arrays that are used."""
    note: str | None = None
    """Note on what was left out, and why."""


class Item(NamedTuple):
    """One sample that a source lists; nothing of it is read before `read()` is called."""

    name: str
    """Its name in a message: its id, or its place."""
    read: Callable[[], Raw]
    """Read it; raises BadFile where it cannot be used."""
    file: str = ""
    """The name of its file where the file holds this sample alone; reasons begin with it."""


@dataclass(frozen=True)
class Asked:
    """What is wanted of a source."""

    kind: str
    """The kind of feature."""
    map: dict[str, str]
    """Our names of arrays -> those of the source, where they were given."""
    ids: Path | None = None
    """A file with the ids of packed arrays, where the source has none itself."""


@dataclass(frozen=True)
class Record:
    """The features of one sample as a store of their kind takes them."""

    id: str
    """The sample's name in the source."""
    arrays: Arrays
    """Arrays as an encoder of the kind returns them; regions by descending score, without scores in the source's order
    with scores of 0."""
    sha256: str
    """SHA-256 of what was read."""
    width: int = 0
    """Width in pixels of the image that regions were made from; 0 where the source does not tell."""
    height: int = 0
    """Height of that image."""
    scored: bool = True
    """Whether regions had scores."""
    note: str | None = None
    """Note on what was left out, and why."""
    lacks: tuple[str, ...] = ()
    """The arrays that the source does not have and that were filled in: boxes, token ids, the map to words."""
    input: str = ""
    """SHA-256 of the image or text that the features were made from, where the source names it."""
    half: bool = False
    """Whether the features are float16 in the source."""


def digest_of(id: str, arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of a sample's arrays with their names, dtypes and shapes."""
    digest = hashlib.sha256(f"{id}\n".encode(errors="surrogateescape"))
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
