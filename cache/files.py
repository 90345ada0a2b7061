"""Files that are either whole or absent: temporary name in the same folder, fsync, link or rename, fsync the folder.

`os.link` fails when the name is taken, so of several writers exactly one wins. The protocol was chosen by killing real
writers at random instants; HDF5 files under way are unreadable after a kill, so nothing is ever appended to.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
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


def create(path: Path, data: bytes | bytearray) -> bool:
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


def _commit(path: Path, data: bytes | bytearray, *, replace: bool) -> bool:
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


def _write(path: Path, data: bytes | bytearray) -> None:
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
    """One JSON object, an entry of its first two levels a line, that ends with the checksum of the bytes before it."""
    body = ("{\n" + "".join(f" {_line(key)}: {_two_levels(item)},\n" for key, item in value.items())).encode()
    return body + _seal(body)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _two_levels(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "{\n  " + ",\n  ".join(f"{_line(key)}: {_line(item)}" for key, item in value.items()) + "\n }"
    if isinstance(value, list) and value:
        if set(map(type, value)) == {str}:  # a million ids: one call into C
            lines = json.dumps(value, ensure_ascii=False, separators=(",\n  ", ": "))[1:-1]
        else:
            lines = ",\n  ".join(map(_line, value))
        return "[\n  " + lines + "\n ]"
    return _line(value)


def _seal(body: bytes) -> bytes:
    return f' "checksum": "sha256:{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def seal_of(data: bytes) -> str:
    """The checksum at the end of what `to_json` made: `sha256:` and 64 digits."""
    return data[-len(_seal(b"")) :].split(b'"')[3].decode()


def from_json(path: Path, data: bytes) -> dict[str, Any]:
    """The inverse of `to_json`, without the checksum.

    Args:
        path: the file, for the messages.
        data: what stands in it.

    Raises:
        CacheError: damaged, or of another format version.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise DamagedError(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedError(path, "it is not a JSON object")
    check_stamp(path, value.get("format"), None, None)
    body = data[: -len(_seal(b""))]
    if data[len(body) :] != _seal(body):
        raise DamagedError(path, "its checksum does not fit")
    value.pop("checksum")
    return value


class DamagedError(CacheError):
    """A file of the cache that is not what its writer wrote."""

    def __init__(self, path: Path, why: str) -> None:
        store = path.parent.parent if path.parent.name == "quarantine" else path.parent
        super().__init__(f"{path} is damaged: {why}", next_step=repair(store))
        self.why = why


def repair(folder: Path) -> str:
    """The command that mends a store."""
    return f"run `itin cache verify --repair {folder}`, and then the same `itin extract` again"


def read_error(path: Path, error: OSError) -> CacheError:
    """The one clear error for a file that could not be read; it says nothing about what stands in it."""
    return CacheError(
        f"cannot read {path}: {error.strerror or error}",
        next_step="see to the permissions or to the disk; nothing here says that the file is damaged",
    )


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        CacheError: missing, or not readable now.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CacheError(f"{path} is missing", next_step="run `itin extract` again: it makes what is missing") from None
    except OSError as error:
        raise read_error(path, error) from error


def read_json(path: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """Reads one of the cache's JSON files and checks its format version, checksum and fingerprint.

    Raises:
        CacheError: missing, damaged, of another format version, or of another fingerprint.
    """
    value = from_json(path, read_bytes(path))
    check_stamp(path, value["format"], value.get("fingerprint"), fingerprint)
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
            next_step="it was put here by hand or by mistake: move it away and run the same `itin extract` again",
        )
