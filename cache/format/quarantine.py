"""Rows that could not be encoded, each in a small file of its own, so that writers never share one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ... import disk
from ...errors import CacheError
from .plan import RowKey
from .schema import FORMAT
from .sealed_json import DamagedError, described, read_error, read_json, write_error, write_json

FOLDER = "quarantine"


@dataclass(frozen=True)
class QuarantinedRow:
    """One row in quarantine."""

    row: int
    id: str
    sha256: str
    reason: str


def record_path(folder: Path, row: int) -> Path:
    """Return the file of a row in quarantine."""
    return folder / FOLDER / f"row-{row:08d}.json"


def record_files(folder: Path) -> list[Path]:
    """Return the files of all rows in quarantine, sorted by row.

    Raises:
        CacheError: the folder of the records cannot be listed.
    """
    try:
        found = list((folder / FOLDER).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise read_error(folder / FOLDER, error) from error
    return sorted(path for path in found if fnmatchcase(path.name, "row-*.json"))


def put(folder: Path, fingerprint: str, number: int, row: RowKey, reason: str) -> None:
    """Put a row in quarantine, replacing an existing record."""
    value = {"format": FORMAT, "fingerprint": fingerprint, "row": number, "id": row[0], "sha256": row[1]}
    disk.make_folder(folder / FOLDER, write_error)
    write_json(record_path(folder, number), {**value, "reason": reason})


def read_record(path: Path, fingerprint: str | None) -> QuarantinedRow:
    """Read one record, whose fingerprint is not checked where none is given.

    Raises:
        CacheError: missing, damaged, or of another format or fingerprint.
    """
    value = read_json(path, fingerprint)
    with described(path):
        record = QuarantinedRow(int(value["row"]), str(value["id"]), str(value["sha256"]), str(value["reason"]))
    if record_path(path.parent.parent, record.row) != path:
        raise DamagedError(path, f"it is the record of row {record.row}")
    return record


def read(folder: Path, fingerprint: str) -> list[QuarantinedRow]:
    """Read all records, sorted by row.

    Raises:
        CacheError: one is damaged, or of another format or fingerprint.
    """
    found = []
    for path in record_files(folder):
        try:
            found.append(read_record(path, fingerprint))
        except CacheError:
            if path.exists():
                raise  # else it has just been released
    return found


def release(folder: Path, rows: Iterable[int]) -> None:
    """Take rows out of quarantine."""
    for path in {record_path(folder, row) for row in rows} & set(record_files(folder)):
        with disk.writing(path, write_error):
            path.unlink(missing_ok=True)
