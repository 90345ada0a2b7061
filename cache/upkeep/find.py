"""Finding stores from a path: a store, a data set's folder, or a whole cache."""

from __future__ import annotations

from pathlib import Path

from ...errors import CacheError
from ..store import find_stores

STORE_FILES = ("plan.json", "manifest.json", "shard-00000.h5")
"""The files of which any makes a folder in a data set's folder a store."""


def is_store(path: Path) -> bool:
    """Return whether a folder is a store, possibly a damaged one."""
    return (path / "plan.json").exists() or (path / "manifest.json").exists() or any(path.glob("shard-*.h5"))


def is_dataset(path: Path) -> bool:
    """Return whether a folder is a data set's, with its table or with stores."""
    return (path / "dataset.json").exists() or bool(stores_of(path))


def stores_of(folder: Path) -> list[Path]:
    """Return the stores in a data set's folder, including damaged ones."""
    return sorted({path for name in STORE_FILES for path in find_stores(folder, name=name)})


def stores_under(path: Path) -> list[Path]:
    """Return the stores that a path names: itself, or those of a data set, or those of all data sets of a cache.

    Raises:
        CacheError: there is none.
    """
    if is_store(path):
        return [path]
    found = stores_of(path) or [store for folder in datasets_under(path) for store in stores_of(folder)]
    if not found:
        raise CacheError(
            f"no feature store in {path}",
            expected="a store, a data set's folder in a cache, or a cache",
            found="an existing folder" if path.is_dir() else "no such folder",
            next_step="`itin extract` makes stores; --cache DIR or a path says where they are",
        )
    return found


def datasets_under(path: Path) -> list[Path]:
    """Return the data set folders that a path names: itself, or those in a cache."""
    if is_dataset(path):
        return [path]
    return sorted(
        folder for folder in path.glob("*") if folder.is_dir() and not is_store(folder) and is_dataset(folder)
    )
