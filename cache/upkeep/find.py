"""Finding stores from a path: a store, a data set's folder, or a whole cache."""

from __future__ import annotations

from pathlib import Path

from ...errors import CacheError
from ..store import find_stores


def is_store(path: Path) -> bool:
    """Whether a folder is a store, be it a damaged one."""
    return (path / "plan.json").exists() or (path / "manifest.json").exists() or any(path.glob("shard-*.h5"))


def is_dataset(path: Path) -> bool:
    """Whether a folder is that of a data set, with its table or with stores."""
    return (path / "dataset.json").exists() or bool(stores_of(path))


def stores_of(folder: Path) -> list[Path]:
    """The stores in a data set's folder, damaged ones too."""
    found = {path.parent for path in folder.glob("*-*/manifest.json")} | set(find_stores(folder))
    return sorted(found | {path.parent for path in folder.glob("*-*/shard-00000.h5")})


def stores_under(path: Path) -> list[Path]:
    """The stores that a path means: itself, or those of the data set, or those of all data sets of the cache.

    Raises:
        CacheError: none.
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
    """The data sets' folders that a path means: itself, or those in the cache."""
    if is_dataset(path):
        return [path]
    return sorted(
        folder for folder in path.glob("*") if folder.is_dir() and not is_store(folder) and is_dataset(folder)
    )
