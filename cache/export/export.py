"""Exporting a store for other tools, with few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ... import disk
from ...errors import CacheError
from ..format.sealed_json import write_error
from ..store import Store
from .pieces import Export

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Form:
    """A form that a store can be written in."""

    writer: str
    """`module:function` in this folder, of an `Export` and the path to write; loaded when it is needed."""
    endings: tuple[str, ...] = ()
    """The endings of its file; a form without them is written as a folder."""
    kinds: tuple[str, ...] = ()
    """The kinds of feature that it can hold; all by default."""


FORMS = {
    "hdf5": Form("hdf5:packed", (".h5", ".hdf5")),
    "npz": Form("npz:packed", (".npz",)),
    "parquet": Form("columns:parquet", (".parquet",)),
    "arrow": Form("columns:arrow", (".arrow", ".feather")),
    "safetensors": Form("safetensors_file:packed", (".safetensors",)),
    "bua-tsv": Form("bua:tsv", (".tsv",), ("regions",)),
    "mmsa-fet": Form("mmsa_fet:pickled", (".pkl",)),
    "hdf5-groups": Form("hdf5:groups", (".h5", ".hdf5")),
    "multisentinet": Form("hdf5:multisentinet", (".h5", ".hdf5"), ("context", "scene")),
    "npz-files": Form("npz:files"),
    "bua-npz": Form("bua:npz", kinds=("regions",)),
    "lmdb": Form("lmdb_folder:database"),
    "datasets": Form("datasets_folder:dataset"),
}
"""The forms by the name that `--to` takes; of several with one ending the first is the default."""


def export(
    store: Store,
    target: Path,
    first: int | None = None,
    advance: Advance = lambda count: None,
    to: str | None = None,
) -> None:
    """Write a store's samples, in the order of its rows, to one new file or folder.

    Args:
        store: the store.
        target: the file or the folder.
        first: the number of regions to keep of each image; all by default.
        advance: called with the number of further rows written.
        to: one of `FORMS`; by default the first whose ending the file has.

    Raises:
        ValueError: an ending of no form, a form that does not hold the kind, or `first` where there are no regions.
        CacheError: the target exists or cannot be written, or a package that the form needs is not installed.
    """
    endings = {ending: name for name, form in reversed(FORMS.items()) for ending in form.endings}
    name = to or endings.get(target.suffix)
    if name not in FORMS:
        listed = dict.fromkeys(ending for form in FORMS.values() for ending in form.endings)
        raise ValueError(f"the file must end in {', '.join(listed)}, got {target.name}")
    form = FORMS[name]
    if form.endings and target.suffix not in form.endings:
        raise ValueError(f"a file of the form {name} must end in {' or '.join(form.endings)}, got {target.name}")
    if form.kinds and store.kind not in form.kinds:
        raise ValueError(f"the form {name} holds {', '.join(form.kinds)}, and {store.path.name} holds {store.kind}")
    if first is not None and (store.kind != "regions" or first < 1):
        raise ValueError("--first takes a number from 1 on, for a store of regions")
    if target.exists():
        raise CacheError(f"{target} already exists", next_step="remove it, or choose another name")
    module, function = form.writer.split(":")
    write = getattr(import_module(f".{module}", __package__), function)
    what = Export(store, first, advance)
    disk.remove_stale(target.parent, target.name)
    if form.endings:
        with disk.replacing(target, write_error) as temporary:
            write(what, temporary)
        return
    with disk.creating_folder(target, write_error) as temporary:
        write(what, temporary)
