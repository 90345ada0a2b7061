"""A folder of one's own whose table is Parquet: images as paths, or as bytes in a column."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ..places.patterns import files_of
from ..places.tables import PARQUET
from ..samples import DataSet, DataSetSource
from ..streams.tables import table_stream
from .contained import containment_check
from .decided import Decided, default_name

PARTS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
"""Names of splits, as the hub has them -> our parts."""

_SPLIT = re.compile(rf"({'|'.join(PARTS)})[-_.]")


def is_parquet(table: Path) -> bool:
    """Return whether a table is Parquet, by its name."""
    return table.suffix.lower() in PARQUET


def read_parquet(source: DataSetSource, root: Path, table: Path) -> DataSet:
    """Read the data set `folder` with a table in Parquet.

    Args:
        source: the arguments of the reader.
        root: the folder, all links followed.
        table: the table, or a pattern that names the files it is in.
    """
    files = [(path, _part(path)) for path in files_of(table, PARQUET)]
    decided = partial(Decided, source, root, source.name or default_name(root), table)
    inside = (lambda path: True) if source.allow_outside else containment_check(root)
    return table_stream(files, source.columns or {}, root, inside, decided)


def _part(path: Path) -> str | None:
    found = _SPLIT.match(path.name)
    return PARTS[found[1]] if found else None
