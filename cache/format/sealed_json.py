"""The cache's JSON files, sealed with a checksum and stamped with format and fingerprint; and its file errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import CacheError
from .schema import FORMAT

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
    """Return the error for a failed write; everything committed before stays valid."""
    remedy = _REMEDY.get(error.errno or 0, "fix the cause and run the same command again: nothing committed is lost")
    return CacheError(f"cannot write {path}: {error.strerror or error}", next_step=remedy)


def to_json(value: dict[str, Any]) -> bytes:
    """Return a JSON object, one line per entry of two levels, ending with the checksum of the bytes before."""
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
    """Return the checksum at the end of a text from `to_json`: `sha256:` and 64 digits."""
    return data[-len(_seal(b"")) :].split(b'"')[3].decode()


def from_json(path: Path, data: bytes) -> dict[str, Any]:
    """Return the object that `to_json` was given, without the checksum.

    Args:
        path: the file, for the messages.
        data: its content.

    Raises:
        CacheError: damaged, or of another format version.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedError(path, "it is not a JSON object")
    check_stamp(path, value.get("format"), None, None)
    body = data[: -len(_seal(b""))]
    if data[len(body) :] != _seal(body):
        raise DamagedError(path, "its checksum does not match")
    value.pop("checksum")
    return value


class DamagedError(CacheError):
    """An error of a cache file whose content is not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        store = path.parent.parent if path.parent.name == "quarantine" else path.parent
        super().__init__(f"{path} is damaged: {why}", next_step=repair_advice(store))
        self.why = why


@contextlib.contextmanager
def described(path: Path) -> Iterator[None]:
    """Turn the error of a record that lacks a field, or has a wrong one, into a DamagedError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else f"it has another structure ({error})"
        raise DamagedError(path, why) from error


def repair_advice(folder: Path) -> str:
    """Return the commands that repair a store."""
    return f"run `itin cache verify --repair {folder}`, and then the same `itin extract` again"


_NO_FILE = {errno.ELOOP, errno.ENOTDIR}


def read_error(path: Path, error: OSError) -> CacheError:
    """Return the error for a file that could not be read; it claims nothing about the content."""
    unread = CacheError(
        f"cannot read {path}: {error.strerror or error}",
        next_step="check the permissions and the disk; nothing here says that the file is damaged",
    )
    unread.may_be_whole = error.errno not in _NO_FILE
    return unread


def read_bytes(path: Path) -> bytes:
    """Return a whole file.

    Raises:
        CacheError: missing, or not readable now.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CacheError(f"{path} is missing", next_step="run `itin extract` again: it makes what is missing") from None
    except OSError as error:
        raise read_error(path, error) from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, piece by piece.

    Raises:
        CacheError: missing, or not readable now.
    """
    digest = hashlib.sha256()
    buffer = bytearray(1 << 20)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
    except OSError as error:
        raise read_error(path, error) from error
    return digest.hexdigest()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Commit one of the cache's JSON files, replacing an existing one.

    Raises:
        CacheError: it cannot be written.
    """
    disk.replace(path, to_json(value), write_error)


def read_json(path: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """Read one of the cache's JSON files and check its format version, checksum and fingerprint.

    Raises:
        CacheError: missing, damaged, of another format version, or of another fingerprint.
    """
    value = from_json(path, read_bytes(path))
    check_stamp(path, value["format"], value.get("fingerprint"), fingerprint)
    return value


def check_stamp(path: Path, version: object, found: object, expected: str | None) -> None:
    """Check that a file has this format version and the expected fingerprint, if one is given."""
    older = "extract again with this itin, or read it with the one that wrote it"
    disk.check_format(path, version, FORMAT, older, CacheError)
    if expected is not None and found != expected:
        raise CacheError(
            f"{path} belongs to other features than its folder",
            expected=f"fingerprint {expected[:12]}",
            found=f"fingerprint {str(found)[:12]}",
            next_step="it was put here by hand or by mistake: move it away and run the same `itin extract` again",
        )
