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
from .places import remote

T = TypeVar("T")

WAITS = (0.1, 0.5)
"""Seconds to wait before the second and the third try."""

REMOTE_WAITS = (0.5, 2.0, 8.0)
"""The same for files behind a protocol, and before the fourth try."""

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
    """Call `read()` until it succeeds, at most three times, for remote files four; only what may pass is tried.

    Raises:
        OSError: the path is the cause (`GONE`), or the error carries no number and so came from no system call.
        TransientError: the last try failed too, or access was denied.
    """
    far = remote.is_remote(os.fspath(path))
    named = remote.scrub(remote.spelt(os.fspath(path))) if far else os.fspath(path)
    for wait in (*(REMOTE_WAITS if far else WAITS), None):
        try:
            return read()
        except OSError as error:
            if error.errno is None or error.errno in GONE:
                raise
            if wait is None or error.errno in DENIED:
                step = "check the disk, the network and the permissions, and run the command again"
                if far and error.errno in DENIED:
                    step = "give the credentials to the protocol's own settings, or those of fsspec, and run it again"
                raise TransientError(f"{named} could not be read: {error.strerror or error}", next_step=step) from (
                    None if far else error
                )  # a package's own error may hold a credential
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


def remote_state(path: Path, limit: int | None = None) -> tuple[int, int]:
    """Return size and state of a file behind a protocol, see `remote.state`; raise as `stat_file` does."""
    try:
        size, state = retrying(lambda: remote.state(path), path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
    if limit is not None and size > limit:
        raise BadFile(f"is too large: {size} bytes, at most {limit} are read")
    return size, state


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the contents of a regular file of at most `limit` bytes; raise as `stat_file` does."""
    if remote.is_remote(path):
        size, _ = remote_state(path, limit)
        return retrying(lambda: remote.fetch(path, 0, size, size) if size else b"", path)
    stat_file(path, limit)
    try:
        return retrying(path.read_bytes, path)
    except OSError as error:
        raise BadFile("is missing", missing=True) from error
