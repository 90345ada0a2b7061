"""Removing a store: only files that the cache itself writes, the manifest first."""

from __future__ import annotations

from pathlib import Path

from ... import disk
from ..format import quarantine
from ..format.manifest import NAME, block_and_piece
from ..format.plan import segment_files
from ..format.sealed_json import write_error
from .merge import TABLE


def files_of(folder: Path) -> list[Path]:
    """Return the files of a store in the order of removal: without the manifest nobody reads the rest."""
    shards = sorted(path for path in folder.glob("shard-*.h5") if block_and_piece(path.name)[0] >= 0)
    temporary = sorted([*folder.glob(f"{disk.TEMPORARY}*"), *(folder / quarantine.FOLDER).glob(f"{disk.TEMPORARY}*")])
    manifest = [folder / NAME] if (folder / NAME).exists() else []
    return [*manifest, *shards, *quarantine.record_files(folder), *temporary, *reversed(segment_files(folder))]


def table_of(folder: Path) -> list[Path]:
    """Return the files of a data set's own table, `dataset.json` last: while it is there, removing can be repeated."""
    return [folder / name for name in ("tokenizer.json", *TABLE) if (folder / name).exists()]


def remove(paths: list[Path], folders: list[Path]) -> list[Path]:
    """Remove files and the folders that are empty then; return the folders that hold other files.

    Raises:
        CacheError: a file cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
    left = []
    for folder in folders:
        for empty in (folder / quarantine.FOLDER, folder):
            try:
                empty.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(empty)
    return left
