"""Reading files that may be missing, odd or on a shaky network file system."""

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
"""What a path itself is to blame for: no retry will help."""

DENIED = frozenset({errno.EACCES, errno.EPERM})
"""What a person has to mend: says nothing about the file's contents, so it is no reason to give the file up."""


class BadFile(ValueError):  # noqa: N818  (a finding about a file, which callers turn into a rejected sample)
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
    """Call `read()` until it answers, three times at most; only I/O errors that may pass are tried again.

    Raises:
        OSError: the path is to blame (`GONE`), or the error carries no number and so came from no system call.
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
                    next_step="see to the disk, the network or the permissions, and run the command again",
                ) from error
            time.sleep(wait)
    raise AssertionError("unreachable")


def stat_file(path: Path, limit: int) -> os.stat_result:
    """The status of a regular file of at most `limit` bytes.

    Raises:
        BadFile: missing, not a regular file (a pipe would wait for ever), or larger.
        TransientError: see `retrying`.
    """
    try:
        status = retrying(path.stat, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
    if not stat.S_ISREG(status.st_mode):
        raise BadFile("is not a regular file")
    if status.st_size > limit:
        raise BadFile(f"is absurdly large: {status.st_size} bytes, at most {limit} are read")
    return status


def read_bytes(path: Path, limit: int) -> bytes:
    """The contents of a regular file of at most `limit` bytes; raises as `stat_file` does."""
    stat_file(path, limit)
    try:
        return retrying(path.read_bytes, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
