"""Files that are either whole or absent: temporary name in the same folder, fsync, link or rename, fsync the folder.

`os.link` fails when the name is taken, so of several writers exactly one wins. The protocol was chosen by killing real
writers at random instants; HDF5 files under way are unreadable after a kill, so nothing is ever appended to.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import CacheError
from .schema import FORMAT

TEMPORARY = ".tmp-"
STALE_SECONDS = 24 * 3600

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_REMEDY = {
    errno.ENOSPC: "free some space (or choose another place with --cache DIR) and run the same command again",
    errno.EDQUOT: "free some of your quota (or choose another place with --cache DIR) and run the same command again",
    errno.EFBIG: "raise the file size limit (ulimit -f) or use a smaller --shard-size for a new store",
    errno.EACCES: "make the folder writable for you, or choose another place with --cache DIR",
    errno.EPERM: "make the folder writable for you, or choose another place with --cache DIR",
    errno.EROFS: "the file system is read-only: choose another place with --cache DIR",
    errno.ENOENT: "the folder vanished while it was written to: run the same command again",
}


def write_error(path: Path, error: OSError) -> CacheError:
    """The one clear error for a write that failed; what was committed before stays good."""
    remedy = _REMEDY.get(error.errno or 0, "mend the cause and run the same command again: nothing committed is lost")
    return CacheError(f"cannot write {path}: {error.strerror or error}", next_step=remedy)


def create(path: Path, data: bytes) -> bool:
    """Commits a new file. Returns False, and changes nothing, when the name is taken already.

    Raises:
        CacheError: the file could not be written (disk full, permission denied, read-only, folder gone).
    """
    return _commit(path, data, replace=False)


def replace(path: Path, data: bytes) -> None:
    """Commits a file in the place of what may stand there: readers see the old one or the new one, nothing between.

    A file that holds these bytes already is left alone, so that a cache that lacks nothing may be read-only.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    _commit(path, data, replace=True)


def _commit(path: Path, data: bytes, *, replace: bool) -> bool:
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    put = _rename if replace else _link
    try:
        try:
            _write(temporary, data)
            won = put(temporary, path)
        except FileNotFoundError:  # somebody took the temporary file away: write it again, once
            _write(temporary, data)
            won = put(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return won


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:  # plain open: the permissions follow the umask, so that a group can share a cache
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(temporary: Path, path: Path) -> bool:
    temporary.replace(path)
    return True


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return temporary.stat().st_nlink == 2  # on NFS: our link was made and only the reply was lost
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        return _rename(temporary, path)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems refuse to sync a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Makes a folder with its parents; a failure is one clear error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove_stale(folder: Path) -> None:
    """Removes temporary files that no living writer can own: those older than a day."""
    limit = time.time() - STALE_SECONDS
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < limit:
                path.unlink()


def to_json(value: dict[str, Any]) -> bytes:
    """Readable JSON, ending in a newline."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """Reads one of the cache's JSON files and checks its format version and fingerprint.

    Raises:
        CacheError: missing, not JSON, of another format version, or of another fingerprint.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CacheError(f"{path} is missing", next_step="run `itin extract` again: it makes what is missing") from None
    except (ValueError, OSError) as error:
        raise CacheError(f"cannot read {path}: {error}", next_step="remove the file and run `itin extract`") from error
    if not isinstance(value, dict):
        raise CacheError(f"{path} is not a cache file", expected="a JSON object", found=type(value).__name__)
    check_stamp(path, value.get("format"), value.get("fingerprint"), fingerprint)
    return value


def check_stamp(path: Path, version: object, found: object, expected: str | None) -> None:
    """Refuses a file of another format version or another fingerprint, and says which side differs."""
    if version != FORMAT:
        newer = isinstance(version, int) and version > FORMAT
        raise CacheError(
            f"{path} has another format version" + (", newer than this itin" if newer else ""),
            expected=f"format {FORMAT}",
            found=f"format {version}",
            next_step="update itin" if newer else "extract again with this itin, or read it with the one that wrote it",
        )
    if expected is not None and found != expected:
        raise CacheError(
            f"{path} belongs to other features than its folder",
            expected=f"fingerprint {expected[:12]}",
            found=f"fingerprint {str(found)[:12]}",
            next_step="this file was put here by hand or by mistake: move it away and run `itin extract` again",
        )
