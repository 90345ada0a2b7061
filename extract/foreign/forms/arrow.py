"""Parquet and Arrow: a row a sample, with arrays as list columns, as pyarrow, pandas and `datasets` write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import first_line
from ...data.reading import BadFile
from ..naming import candidates, check_main, known
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import ids_from, texts_of

ROWS = 64
"""Rows that are read at a time."""


def list_parquet(path: Path, asked: Asked) -> Iterator[Item]:
    """List the rows of a Parquet file."""
    from pyarrow import parquet

    with _faults(), parquet.ParquetFile(path) as file:
        columns = _columns(file.schema_arrow.names, asked)
        yield from _rows(file.iter_batches(ROWS, columns=columns), asked)


def list_arrow(path: Path, asked: Asked) -> Iterator[Item]:
    """List the rows of an Arrow file or stream, as `datasets` and Feather hold them."""
    import pyarrow as arrow
    from pyarrow import ipc

    with _faults(), arrow.memory_map(str(path)) as source:
        try:
            file = ipc.open_file(source)
            batches = (file.get_batch(number) for number in range(file.num_record_batches))
        except arrow.ArrowInvalid:
            source.seek(0)
            file = ipc.open_stream(source)
            batches = iter(file)
        columns = _columns(file.schema.names, asked)
        yield from _rows((batch.select(columns) for batch in batches), asked)


def _columns(names: list[str], asked: Asked) -> list[str]:
    used = [name for name in names if name in known(asked)]
    if asked.ids is None and set(candidates("ids", asked)).isdisjoint(used):
        ids = ", ".join(candidates("ids", asked))
        raise BadFile(
            f"has no column of ids ({ids}), only {', '.join(names)}: name it with --map ids=NAME, or --ids FILE"
        )
    check_main(names, asked)
    return used


def _rows(batches: Iterator[Any], asked: Asked) -> Iterator[Item]:
    ids = iter(ids_from(asked.ids)) if asked.ids is not None else None
    for batch in batches:
        batch.validate(full=True)  # offsets that lead out of their array would end the process
        names = batch.schema.names
        if ids is not None:
            own = [next(ids, "") for _ in range(batch.num_rows)]
        else:
            column = next(one for one in candidates("ids", asked) if one in names)
            own = texts_of(column, np.asarray(batch.column(column).to_pylist(), object))
        for row, id in enumerate(own):
            yield Item(id, partial(_sample, id, batch, row))


def _sample(id: str, batch: Any, row: int) -> Raw:
    arrays: dict[str, Any] = {}
    if batch.nbytes > MAX_BYTES and batch.slice(row, 1).nbytes > MAX_BYTES:
        raise BadFile(UNPACKED)
    for name in batch.schema.names:
        column = batch.column(name)
        scalar = getattr(column, "storage", column)[row]
        if scalar.is_valid:
            arrays[name] = _array(name, scalar)
    return Raw(id, arrays)


def _array(name: str, scalar: Any) -> np.ndarray:
    """Return a cell as an array: a number, a text, or lists of lists that are all of the same length."""
    if not hasattr(scalar.type, "value_type"):
        return np.asarray(scalar.as_py())
    values = scalar.values
    shape = [len(values)]
    while hasattr(values.type, "value_type"):
        if values.null_count:
            raise BadFile(f"holds {name} with missing lists")
        size = getattr(values.type, "list_size", None)
        lengths = {size} if size is not None else set(values.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise BadFile(f"holds {name} with lists of {min(lengths)} to {max(lengths)} values")
        shape.append(lengths.pop() if lengths else 0)
        values = values.flatten()
    if values.null_count:
        raise BadFile(f"holds {name} with missing numbers")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn the errors of pyarrow, which are OSError and ValueError, into BadFile."""
    try:
        yield
    except BadFile:
        raise
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:
        raise BadFile(f"cannot be read: {first_line(error)}") from error
