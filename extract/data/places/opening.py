"""The one place where files that hold many images are opened."""

from __future__ import annotations

import os
import stat
import time
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from weakref import finalize

from ..reading import BadFile, remote_state, retrying
from .remote import fetch, is_remote
from .remote_file import RemoteFile

RECENT = 10.0
"""Seconds for which the state of a remote file is taken to be that of before."""

_recent: dict[Path, tuple[float, Status]] = {}


class Status(NamedTuple):
    """The state of a file, by which a change is noticed."""

    size: int
    """In bytes."""
    mtime_ns: int
    """Modification time in nanoseconds; of a remote file a number that changes with its tag or checksum."""


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; it can be read from any position, and one read may give fewer bytes than asked.

    It is closed once it is no longer used.

    Raises:
        BadFile: it is missing, or not a regular file.
        TransientError: see `reading.retrying`.
    """
    found = status(path)
    if is_remote(os.fspath(path)):
        return cast(BinaryIO, _open_remote(Path(path), found.size))
    try:
        number = retrying(lambda: os.open(path, os.O_RDONLY), path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
    file = FileIO(number, closefd=False)
    file.name = os.fspath(path)
    finalize(file, os.close, number)  # files are shared by threads: closed once nobody uses them
    return cast(BinaryIO, file)


def _open_remote(path: Path, size: int) -> RemoteFile:
    def read(start: int, end: int) -> bytes:
        try:
            return retrying(lambda: fetch(path, start, end, size), path)
        except OSError as error:
            raise BadFile("is missing", missing=True) from error

    return RemoteFile(path, size, read)


def recent_status(path: Path) -> Status:
    """Return the state of a file, of a remote one as it was at most `RECENT` seconds ago; raise as `open_file` does.

    Each image of a remote archive would cost a request otherwise.
    """
    if not is_remote(path):
        return status(path)
    known = _recent.get(path)
    if known is None or time.monotonic() - known[0] > RECENT:
        if len(_recent) > 1000:
            _recent.clear()
        _recent[path] = known = (time.monotonic(), status(path))
    return known[1]


def status(path: str | os.PathLike[str]) -> Status:
    """Return the state of a regular file; raise as `open_file` does."""
    if is_remote(os.fspath(path)):
        return Status(*remote_state(Path(path)))
    try:
        found = retrying(Path(path).stat, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
    if not stat.S_ISREG(found.st_mode):
        raise BadFile("is not a regular file")
    return Status(found.st_size, found.st_mtime_ns)


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return `size` bytes of an open file from `offset` on, or fewer where it ends before.

    Raises:
        TransientError: see `reading.retrying`.
    """

    def read() -> bytes:
        file.seek(offset)
        data = file.read(size)
        if len(data) == size or not data:
            return data
        pieces, left = [data], size - len(data)
        while left and (piece := file.read(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    return retrying(read, getattr(file, "name", "file"))
