"""Finding a data set and its stores in a cache; nothing needs to be named where there is only one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..cache import Store, Table, find_stores, open_store, read_table
from ..errors import CacheError, RunError
from .runs import Run

OPTIONS = {"regions": "--regions", "tokens": "--text-encoder", "context": "--context-encoder"}
"""The option that names a store of each kind."""


@dataclass(frozen=True)
class Found:
    """A data set and the stores that a run takes its features from."""

    table: Table
    stores: dict[str, Store]
    """By kind."""


def find_features(cache: Path, dataset: str | None, named: Mapping[str, str | None], regions: bool = True) -> Found:
    """The stores of all kinds of feature of one data set.

    Args:
        cache: the cache folder.
        dataset: the data set's name there; None for the only one.
        named: store or encoder name by kind; None for the only one.
        regions: whether regions are needed; where they are not, a store that can be told without a name is still
            taken, so that runs with and without regions are made of the same samples.

    Raises:
        CacheError: a data set or store is missing, or must be named.
    """
    table = find_table(cache, dataset)
    stores = {}
    for kind in OPTIONS:
        try:
            stores[kind] = find_store(table.folder, kind, named.get(kind))
        except CacheError:
            if kind != "regions" or regions:
                raise
    return Found(table, stores)


def stores_of_run(run: Run, cache: Path | None = None) -> Found:
    """The data set and the very stores that a run was trained on.

    Args:
        run: the run.
        cache: where the cache is now; None for where it was.

    Raises:
        CacheError: they are not there.
        RunError: they hold other features than the run was trained on.
    """
    paths = {kind: Path(entry["path"]) for kind, entry in run.record["stores"].items()}
    if cache is not None:
        paths = {kind: cache / path.parent.name / path.name for kind, path in paths.items()}
    for kind, path in paths.items():
        if not path.is_dir():
            raise RunError(
                f"the {kind} features that the run {run.path} was trained on are gone",
                expected=str(path),
                next_step="name the cache folder with --cache, or run the same `itin extract` again",
            )
    stores = {kind: open_store(path) for kind, path in paths.items()}
    run.check_stores(stores)
    return Found(read_table(next(iter(paths.values())).parent), stores)


def find_table(cache: Path, dataset: str | None = None) -> Table:
    """The table of the data set of that name, or of the only one in the cache.

    Raises:
        CacheError: none there, or several and none named.
    """
    names = sorted(path.parent.name for path in cache.glob("*/dataset.json"))
    if dataset is None and len(names) == 1:
        return read_table(cache / names[0])
    if dataset is None or dataset not in names:
        several = dataset is None and names
        raise CacheError(
            f"the cache {cache} holds several data sets" if several else f"no data set {dataset or ''} in {cache}",
            expected="one named with --dataset" if several else "what `itin extract` writes",
            found=", ".join(names) or "nothing",
            next_step=f"add --dataset {names[0]}" if several else "run `itin extract` first, or name --cache DIR",
        )
    return read_table(cache / dataset)


def find_store(folder: Path, kind: str, name: str | None = None) -> Store:
    """The store of a kind that is named, or the only one.

    Args:
        folder: the data set's folder in the cache.
        kind: `regions`, `tokens` or `context`.
        name: the encoder's name, or the store's folder name, or the beginning of its fingerprint.

    Raises:
        CacheError: none, or several that fit.
    """
    paths = find_stores(folder, kind)
    fitting = [path for path in paths if name is None or _fits(path, kind, name)]
    ready = [path for path in fitting if (path / "manifest.json").exists()] or fitting
    if len(ready) == 1:
        return open_store(ready[0])
    found = ", ".join(path.name for path in (ready or paths)) or "none"
    if not ready:
        raise CacheError(
            f"no {kind} features{f' of {name}' if name else ''} in {folder}",
            found=found,
            next_step="run `itin extract` with that encoder, or name one of those that are there"
            if paths
            else f"run `itin extract --only {kind}` for this data set",
        )
    raise CacheError(
        f"several stores hold {kind} features in {folder}",
        expected=f"one named with {OPTIONS[kind]}: its encoder, or its folder's name",
        found=found,
        next_step=f"add {OPTIONS[kind]} {ready[0].name}",
    )


def _fits(path: Path, kind: str, name: str) -> bool:
    encoder, _, fingerprint = path.name.removeprefix(f"{kind}-").rpartition("-")
    clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return name == path.name or clean == encoder or (len(name) >= 4 and fingerprint.startswith(name))
