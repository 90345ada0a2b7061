"""Reading files that may be missing, irregular or on an unreliable network file system."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ...errors import TransientError

T = TypeVar("T")

WAITS = (0.1, 0.5)
"""Seconds to wait before the second and the third try."""

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that the path itself causes: no retry helps."""

DENIED = frozenset({errno.EACCES, errno.EPERM})
"""Errors that a person has to fix; they say nothing about the file's contents, so the file is not given up."""


class BadFile(ValueError):  # noqa: N818  (a fact about a file, which callers turn into a rejected sample)
    """A file that can never be used as it is.

    Args:
        reason: predicate about the file, such as "is missing".
        missing: whether nothing was found at the path.
    """

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.missing = missing


def retrying(read: Callable[[], T], path: str | os.PathLike[str]) -> T:
    """Call `read()` until it succeeds, at most three times; only transient I/O errors are tried again.

    Raises:
        OSError: the path is the cause (`GONE`), or the error carries no number and so came from no system call.
        TransientError: the last try failed too, or access was denied.
    """
    for wait in (*WAITS, None):
        try:
            return read()
        except OSError as error:
            if error.errno is None or error.errno in GONE:
                raise
            if wait is None or error.errno in DENIED:
                raise TransientError(
                    f"{os.fspath(path)} could not be read: {error.strerror or error}",
                    next_step="check the disk, the network and the permissions, and run the command again",
                ) from error
            time.sleep(wait)
    raise AssertionError("unreachable")


def stat_file(path: Path, limit: int) -> os.stat_result:
    """Return the status of a regular file of at most `limit` bytes.

    Raises:
        BadFile: the file is missing, not a regular file (a pipe would block), or larger.
        TransientError: see `retrying`.
    """
    try:
        status = retrying(path.stat, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
    if not stat.S_ISREG(status.st_mode):
        raise BadFile("is not a regular file")
    if status.st_size > limit:
        raise BadFile(f"is too large: {status.st_size} bytes, at most {limit} are read")
    return status


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the contents of a regular file of at most `limit` bytes; raise as `stat_file` does."""
    stat_file(path, limit)
    try:
        return retrying(path.read_bytes, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
