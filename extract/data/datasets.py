"""The data sets by name, without an import of their readers, so that a command line can list them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from .samples import DataSet, DataSetSource
from .text_encoding import ENCODINGS


class Reader(NamedTuple):
    """The facts about a data set that need no import of its reader."""

    module: str
    """The file in `sets/` whose `read` makes a `DataSet` of a `DataSetSource`."""
    of_table: bool = False
    """Whether it is the user's own table, with the options `table`, `columns`, `classes`,
    `min_class_size` and `allow_outside`; else it is in its
    authors' layout, with text files in an `encoding`."""


DATASETS = {
    "mvsa-single": Reader("mvsa"),
    "mvsa-multiple": Reader("mvsa"),
    "folder": Reader("folder", of_table=True),
}
"""The readers by name of the data set. A new data set is a file in `sets/` and a line here."""


def open_dataset(
    kind: str,
    root: str | Path | None = None,
    *,
    name: str | None = None,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
    encoding: str | None = None,
    classes: Sequence[str] | None = None,
    min_class_size: int | None = None,
    cache: Path | None = None,
) -> DataSet:
    """Read a data set's table; images and text files are not touched.

    Args:
        kind: one of `DATASETS`.
        root: the data set's folder; for MVSA `$ITIN_DATA/<kind>` where none is given.
        name: names the data set in the cache; by default the kind, for `folder` the folder's name and a short hash of
            its path.
        table: for `folder`: the CSV, TSV or JSONL file, where the folder does not hold exactly one.
        columns: for `folder`: the table's names for `id`, `image`, `text` and `label` where they differ.
        allow_outside: for `folder`: accept images outside `root`.
        encoding: for MVSA: the encoding of the text files, one of `text_encoding.ENCODINGS`; None: by their contents.
        classes: for `folder`: the names of the classes, in their order; by default what was decided before, else
            `classes.decide` decides.
        min_class_size: for `folder`: the rows of a label that make it a class.
        cache: the cache folder that knows what was decided before.

    Raises:
        DataError: a folder or table is missing or is not what its reader expects.
        TransientError: the table could not be read this time.
        ValueError: the kind is unknown, the name cannot name a folder, or the kind does not have an option.
    """
    if kind not in DATASETS:
        raise ValueError(f"no data set {kind!r}; there are {', '.join(DATASETS)}")
    reader = DATASETS[kind]
    if name is not None and not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"the name {name!r} cannot be used: letters, digits, '_', '-', '+' and '.' only, '.' not first"
        )
    if name in DATASETS and name != kind:
        raise ValueError(f"the name {name!r} belongs to the data set {name}: choose another")
    if not reader.of_table and (table is not None or columns or allow_outside or classes or min_class_size):
        raise ValueError(
            "table, columns, classes, min_class_size and allow_outside belong to the data set 'folder', not to "
            f"{kind!r}"
        )
    if encoding is not None and (reader.of_table or encoding not in ENCODINGS):
        raise ValueError(f"encoding is for MVSA's text files, one of {', '.join(ENCODINGS)}: not {encoding!r}")
    source = DataSetSource(
        kind=kind,
        root=None if root is None else str(root),
        name=name,
        table=None if table is None else str(table),
        columns=dict(columns) if columns else None,
        allow_outside=allow_outside,
        encoding=encoding,
        classes=tuple(classes) if classes else None,
        min_class_size=min_class_size,
        cache=cache,
    )
    read: Callable[[DataSetSource], DataSet] = import_module(f".sets.{reader.module}", __package__).read
    return read(source)
