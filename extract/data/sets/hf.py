"""Data sets of the Hugging Face library `datasets`: a folder that it saved, one that it can load, or a name on the hub.

The library says which files hold which split, and which columns are labels; the files themselves are read by our own
readers, row by row. No code of a data set is run: version 4 of the library dropped loading scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ....errors import DataError
from ..places.tables import ARROW, PARQUET
from ..samples import DataSet, DataSetSource
from ..streams.tables import table_stream
from .contained import containment_check
from .decided import Decided, default_name
from .parquet import PARTS

PREFIX = "hf:"

Files = dict[str, list[Path]]
"""The files of each split; of a data set without splits those of "" alone."""


def absolute_kind(kind: str) -> str:
    """Return `hf:FOLDER` with the folder's absolute path; any other name as it is."""
    if not kind.startswith(PREFIX):
        return kind
    name, split = _name_and_split(kind)
    folder = Path(name).expanduser()
    return f"{PREFIX}{folder.absolute() if folder.is_dir() else name}{':' * bool(split)}{split}"


def read(source: DataSetSource) -> DataSet:
    """Read the data set `hf:NAME_OR_FOLDER[:SPLIT]`, for `open_dataset`."""
    kind = absolute_kind(source.kind)
    name, split = _name_and_split(kind)
    files, classes = _load(name)
    if split and split not in files:
        raise DataError(
            f"{name} has no split {split!r}",
            expected=f"one of {', '.join(files)}" if "" not in files else "no split: it has none",
            next_step=f"leave it out for all, or name another with --dataset {PREFIX}{name}:SPLIT",
        )
    chosen = [(one, path) for one, paths in files.items() if split in ("", one) for path in paths]
    splits = {path: one for one, path in chosen}
    folder = Path(name)
    root = Path(source.root).expanduser().resolve() if source.root else folder.resolve()
    if not folder.is_dir() and not source.root:
        root = chosen[0][1].parent
    own = default_name(Path(f"{name}-{split}" if split else name))
    decided = partial(Decided, replace(source, kind=kind), root, source.name or own, None)
    inside = (lambda path: True) if source.allow_outside else containment_check(root.resolve())
    return table_stream(
        [(path, PARTS.get(one)) for one, path in chosen],
        source.columns or {},
        root,
        inside,
        decided,
        prefix=lambda path: f"{splits[path]}-" if splits[path] else "",
        classes=classes,
    )


def _name_and_split(kind: str) -> tuple[str, str]:
    name = kind.removeprefix(PREFIX)
    if Path(name).expanduser().exists():
        return name, ""
    before, colon, split = name.rpartition(":")
    return (before, split) if colon else (name, "")


def _load(name: str) -> tuple[Files, Mapping[str, tuple[str, ...]]]:
    """Return the files of each split, and the class names of the columns that are labels.

    Raises:
        DataError: the library is not installed, or cannot load the data set.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{PREFIX}{name} needs the library datasets, which is not installed",
            expected="the extra datasets",
            next_step="pip install 'itin[datasets]'",
        ) from error
    try:
        if (Path(name) / "state.json").exists() or (Path(name) / "dataset_dict.json").exists():
            return _files_of(datasets.load_from_disk(name))
        builder = datasets.load_dataset_builder(name)
        listed: Mapping[str, Any] = builder.config.data_files or {}
        there = {str(split): [Path(path) for path in paths] for split, paths in listed.items()}
        if there and all(path.suffix in PARQUET and path.is_file() for paths in there.values() for path in paths):
            return there, _classes_of(builder.info.features)  # read where they are: the library would copy them
        return _files_of(datasets.load_dataset(name))
    except Exception as error:  # a damaged folder makes the library raise almost anything
        raise DataError(
            f"the library datasets cannot load {name}",
            expected="a folder saved by save_to_disk, a folder with data files such as Parquet, or a name on the hub",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            next_step="check the name; without a network, name a folder",
        ) from error


def _files_of(loaded: Any) -> tuple[Files, Mapping[str, tuple[str, ...]]]:
    splits: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {"": loaded}
    files = {str(split): [Path(one["filename"]) for one in each.cache_files] for split, each in splits.items()}
    if not any(files.values()) or any(path.suffix not in ARROW for paths in files.values() for path in paths):
        raise ValueError("it holds no rows on disk")
    return files, _classes_of(next(iter(splits.values())).features)


def _classes_of(features: Mapping[str, Any] | None) -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(one.names) for name, one in (features or {}).items() if getattr(one, "names", None)}
