"""Files and folders that are either whole or absent: temporary name in the same folder, flush, fsync, link or rename.

Also the JSON records among them, which make a folder a run, a sweep or a reproduction.

`os.link` fails when the name is taken, so of several writers exactly one wins. The protocol was chosen by killing real
writers at random instants; a half-written HDF5 file is unreadable after a kill, so nothing is ever appended to.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ItinError, RunError

TEMPORARY = ".tmp-"
"""The prefix of the name of a file or folder that is being written."""

STALE_SECONDS = 24 * 3600
"""The age from which a temporary file can have no living writer."""

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}

Fault = Callable[[Path, OSError], ItinError]
"""A function that returns the error to raise for a path that could not be written."""

Content = bytes | Callable[[BinaryIO], None]
"""A file's bytes, or a function that writes them; it may be called twice."""


def write_error(
    path: Path, error: OSError, next_step: str = "fix the cause and run the same command again: finished work is kept"
) -> ItinError:
    """Return the error for a result that could not be written."""
    return RunError(f"cannot write {path}: {error.strerror or error}", next_step=next_step)


def create(path: Path, data: Content, fault: Fault = write_error) -> bool:
    """Commit a new file; return False, and change nothing, when the name is taken already.

    Args:
        path: the file.
        data: its bytes, or what writes them.
        fault: returns the error to raise.

    Raises:
        ItinError: what `fault` returns, where it cannot be written (disk full, permission denied, folder gone).
    """
    return _commit(path, data, _link, fault)


def replace(path: Path, data: bytes, fault: Fault = write_error) -> None:
    """Commit a file, replacing an existing one: readers see the old one or the new one, nothing in between.

    A file that already holds these bytes is left alone, so that a complete folder may be read-only.

    Raises:
        ItinError: what `fault` returns, where it cannot be written.
    """
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    _commit(path, data, _rename, fault)


@contextlib.contextmanager
def replacing(path: Path, fault: Fault = write_error) -> Iterator[Path]:
    """Yield a temporary name to write to; the file is committed to `path` afterwards, replacing an existing one.

    Raises:
        ItinError: what `fault` returns, where it cannot be written; an existing file is kept.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise fault(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def creating_folder(path: Path, fault: Fault = write_error) -> Iterator[Path]:
    """Yield a temporary folder to fill, with its parents; it is committed to `path` afterwards, which must be free.

    Raises:
        ItinError: what `fault` returns, where the name is taken or the folder cannot be written.
    """
    with _folder_beside(path, fault) as temporary:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for file in files:
                _sync(Path(folder) / file)
            _sync(Path(folder))
        _rename_folder(temporary, path, numbered=False)
        _sync(path.parent)


def create_folder(
    path: Path, files: Mapping[str, bytes], *, numbered: bool = False, fault: Fault = write_error
) -> Path:
    """Commit a new folder with its files and its parents, and return its path.

    Args:
        path: the folder; one that is not empty is never replaced.
        files: the contents by name.
        numbered: use the first free name of `path`, `path-2`, `path-3`, ...
        fault: returns the error to raise.

    Raises:
        ItinError: what `fault` returns, where the name is taken or the folder cannot be written.
    """
    with _folder_beside(path, fault) as temporary:
        for name, data in files.items():
            _write(temporary / name, data)
        _sync(temporary)
        final = _rename_folder(temporary, path, numbered)
        _sync(path.parent)
    return final


@contextlib.contextmanager
def _folder_beside(path: Path, fault: Fault) -> Iterator[Path]:
    """Yield a new folder beside `path`, which is removed where it has not been renamed."""
    temporary = temporary_beside(path)
    try:
        _make(temporary.parent)
        temporary.mkdir()
        yield temporary
    except OSError as error:
        raise fault(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path, fault: Fault = write_error) -> Iterator[None]:
    """Turn an OSError of code that writes below a path into what `fault` returns."""
    try:
        yield
    except OSError as error:
        raise fault(path, error) from error


def make_folder(path: Path, fault: Fault = write_error) -> None:
    """Make a folder with its parents unless it exists."""
    with writing(path, fault):
        _make(path)


def remove_stale(folder: Path, name: str = "") -> None:
    """Remove temporary files and folders that are too old to belong to a living writer.

    Args:
        folder: where they are.
        name: what they were to be called; anything by default.
    """
    limit = time.time() - STALE_SECONDS
    for path in folder.glob(f"{TEMPORARY}{glob.escape(name)}{'-' * bool(name)}*"):
        with contextlib.suppress(OSError):
            if max(one.stat().st_mtime for one in (path, *path.rglob("*"))) < limit:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return a JSON file's bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def check_format(path: Path, found: object, version: int, next_step: str, fault: type[ItinError] = RunError) -> None:
    """Raise `fault` unless a file is of this format version; `next_step` says what to do about an older one."""
    if found != version:
        newer = isinstance(found, int) and found > version
        error = fault(
            f"{path} has another format version" + ", newer than this itin" * newer,
            expected=f"format {version}",
            found=f"format {found}",
            next_step="update itin" if newer else next_step,
        )
        error.may_be_whole = newer
        raise error


def read_record(path: Path, next_step: str, version: int | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        next_step: what to do about a file that cannot be read, or is of an older version.
        version: the version that its `format` must name; None for a file that has none.

    Raises:
        RunError: it cannot be read, is no JSON object, or is of another format version.
    """
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot read {path}: {error}", next_step=next_step) from error
    if version is not None:
        check_format(path, record.get("format"), version, next_step)
    return record


def record_of(folder: Path, name: str, what: str, command: str) -> Path:
    """Return the file that makes a folder a result of a command.

    Args:
        folder: the folder.
        name: the file's name.
        what: the result with its article, such as "a run folder".
        command: the command that writes it.

    Raises:
        RunError: it is not there.
    """
    if not (folder / name).is_file():
        raise RunError(
            f"{folder} is not {what}",
            expected=f"a folder with the {name} that `{command}` writes",
            found="a folder without one" if folder.is_dir() else "a file" if folder.exists() else "nothing",
            next_step=f"give the path that `{command}` printed",
        )
    return folder / name


@contextlib.contextmanager
def describing(path: Path, what: str, next_step: str) -> Iterator[None]:
    """Turn the error of a record that lacks a field, or has a wrong one, into a RunError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(
            f"{path} does not describe {what} of this itin",
            found=f"missing {error}" if isinstance(error, KeyError) else str(error),
            next_step=next_step,
        ) from error


def temporary_beside(path: Path) -> Path:
    """Return a name in the same folder that no other process uses, on any machine."""
    return path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")


def _commit(path: Path, data: Content, put: Callable[[Path, Path], bool], fault: Fault) -> bool:
    temporary = temporary_beside(path)
    try:
        try:
            _write(temporary, data)
            won = put(temporary, path)
        except FileNotFoundError:  # another process removed the temporary file: write it again, once
            _write(temporary, data)
            won = put(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise fault(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return won


def _write(path: Path, data: Content) -> None:
    with path.open("wb") as file:  # plain open: the permissions follow the umask, so that a group can share a cache
        if callable(data):
            data(file)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make(path: Path) -> None:
    """Make a folder with its parents, and sync those that hold new ones: else what is synced in them could vanish."""
    if path.is_dir():
        return
    new = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in reversed(new):
        _sync(one.parent)


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


def _rename_folder(temporary: Path, path: Path, numbered: bool) -> Path:
    number = 1
    while True:
        final = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            if final.exists():
                raise FileExistsError(errno.EEXIST, f"{final} already exists")
            return temporary.rename(final)
        except OSError:
            if not numbered or not final.exists():
                raise
        number += 1


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems refuse to sync a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)
