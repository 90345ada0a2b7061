"""Arrays that memory cannot hold: written block by block to a file without a name, and mapped.

Without a name nothing is left behind, however the process ends: the system frees the file with its last mapping.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...errors import CacheError

TEMPORARY_FILES = Path("/var/tmp")
"""The last choice for large temporary files; unlike /tmp it is hardly ever in memory."""


def folder_with_room(size: int, beside: Path) -> Path:
    """Return a folder whose disk has room: `$TMPDIR` where it is set, else that of the data, else `/var/tmp`.

    Args:
        size: bytes needed.
        beside: the folder of the data.

    Raises:
        CacheError: no folder has room.
    """
    named = os.environ.get("TMPDIR")
    places = dict.fromkeys([*([Path(named)] if named else []), beside, TEMPORARY_FILES])
    free = {place: shutil.disk_usage(place).free for place in places if os.access(place, os.W_OK)}
    for place, room in free.items():
        if room >= size:
            return place
    raise _no_room(
        f"nor {' or '.join(map(str, places))} a temporary file of them",
        size,
        ", ".join(f"{room / 1e9:.1f} GB in {place}" for place, room in free.items()) or "no folder to write to",
    )


def to_disk(blocks: Iterable[np.ndarray], size: int, place: Path) -> np.ndarray:
    """Write blocks, joined along their first axis, and return them as one array in memory order.

    Args:
        blocks: at least one.
        size: bytes that all temporary files are expected to take, for the message.
        place: a folder on a disk with room.

    Raises:
        CacheError: they cannot be written, or the limit on address space (`ulimit -v`) is too low to map them.
    """
    length = 0
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            for block in blocks:
                file.write(np.ascontiguousarray(block).data)
                length += len(block)
            file.flush()
            shape = (length, *block.shape[1:])
            if not file.tell():  # an empty file cannot be mapped
                return np.zeros(shape, block.dtype)
            return np.asarray(np.memmap(file, block.dtype, "r+", shape=shape))  # shared: counts as cache, not as data
    except OSError as error:
        raise _no_room(f"nor could a temporary file in {place} be used", size, error.strerror or str(error)) from error


def _no_room(what: str, size: int, found: str) -> CacheError:
    return CacheError(
        f"memory cannot hold the features, {what}",
        expected=f"room for {size / 1e9:.1f} GB",
        found=found,
        next_step="free some space, set TMPDIR to a folder on a disk with room, or train on fewer regions (--m)",
        machine=True,
    )
