"""Parquet and Arrow: a row a sample, with each array as a list nested like its axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CacheError
from ...lazy import optional
from .pieces import Export


def parquet(what: Export, path: Path) -> None:
    """Write a Parquet file."""
    optional("pyarrow", "Parquet needs pyarrow", "itin[features]", CacheError)
    form = optional("pyarrow.parquet", "Parquet needs pyarrow", "itin[features]", CacheError)
    _write(what, lambda schema: form.ParquetWriter(path, schema))


def arrow(what: Export, path: Path) -> None:
    """Write an Arrow file, which Feather is too."""
    ipc = optional("pyarrow.ipc", "Arrow files need pyarrow", "itin[features]", CacheError)
    _write(what, lambda schema: ipc.new_file(str(path), schema))


def tables(what: Export) -> Iterator[Any]:
    """Yield the rows as Arrow tables of a few hundred: id, sha256, and each array."""
    pyarrow = optional("pyarrow", "Arrow tables need pyarrow", "itin[features]", CacheError)
    stamp = {name: str(value) for name, value in what.store.stamp.items()}
    for part, arrays in what.parts():
        columns = {
            "id": pyarrow.array(what.store.ids[part], pyarrow.string()),
            "sha256": pyarrow.array(what.store.sha256[part], pyarrow.string()),
        }
        offsets = arrays.pop("offsets", None)
        for name, array in arrays.items():
            columns[name] = _column(pyarrow, array, offsets)
        yield pyarrow.table(columns).replace_schema_metadata(stamp)
        what.advance(part.stop - part.start)


def _write(what: Export, opened: Callable[[Any], Any]) -> None:
    writer = None
    try:
        for table in tables(what):
            writer = writer or opened(table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _column(pyarrow: Any, array: np.ndarray, offsets: np.ndarray | None) -> Any:
    """Return an Arrow column: plain values, or lists nested like the array's axes."""
    values = pyarrow.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        values = pyarrow.FixedSizeListArray.from_arrays(values, size)
    if offsets is not None:
        values = pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), values)
    return values
