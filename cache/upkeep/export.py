"""Exporting a store to one file for other tools: HDF5, .npz or Parquet, with few rows in memory at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ... import disk
from ...errors import CacheError
from ...lazy import optional
from ..format.schema import KINDS
from ..format.sealed_json import write_error
from ..store import ROWS_AT_ONCE, Arrays, Store

Advance = Callable[[int], None]


def export(store: Store, target: Path, first: int | None = None, advance: Advance = lambda count: None) -> None:
    """Write a store's samples, in the order of its rows, to one new file.

    Args:
        store: the store.
        target: a file whose name ends in .h5, .hdf5, .npz or .parquet.
        first: the number of regions to keep of each image; all by default.
        advance: called with the number of further rows written.

    Raises:
        ValueError: another ending, or `first` where there are no regions.
        CacheError: the file exists or cannot be written, or Parquet is requested and pyarrow is not installed.
    """
    writers = {".h5": _hdf5, ".hdf5": _hdf5, ".npz": _npz, ".parquet": _parquet}
    if target.suffix not in writers:
        raise ValueError(f"the file must end in {', '.join(writers)}, got {target.name}")
    if first is not None and (store.kind != "regions" or first < 1):
        raise ValueError("--first takes a number from 1 on, for a store of regions")
    if target.exists():
        raise CacheError(f"{target} already exists", next_step="remove it, or choose another name")
    with disk.replacing(target, write_error) as temporary:
        writers[target.suffix](store, temporary, first, advance)


def _parts(store: Store, first: int | None) -> Iterator[tuple[slice, Arrays]]:
    """Yield the packed arrays of a store, `ROWS_AT_ONCE` rows at a time."""
    for begin in range(0, len(store), ROWS_AT_ONCE):
        part = slice(begin, min(begin + ROWS_AT_ONCE, len(store)))
        yield part, store.packed(np.arange(part.start, part.stop), first)


def _shapes(store: Store, first: int | None) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return the dtype and the full shape of each array by name, without the strings."""
    sizes = {
        name: (array.dtype, (len(store), *array.shape[1:]))
        for name, array in store.packed(np.zeros(0, np.int64), first).items()
    }
    if store.kind == "tokens":
        total = int(store.lengths(np.arange(len(store))).sum())
        for schema in KINDS["tokens"]:
            dtype, shape = sizes[schema.name]
            sizes[schema.name] = (dtype, (total, *shape[1:]))
        sizes["offsets"] = (np.dtype("<i8"), (len(store) + 1,))
    return sizes


def _pieces(store: Store, first: int | None, names: tuple[str, ...]) -> Iterator[tuple[int, Arrays]]:
    """Yield the named arrays piece by piece along their first axis, `offsets` relative to the whole store."""
    before = 0
    for part, arrays in _parts(store, first):
        if store.kind == "tokens":
            offsets = arrays["offsets"] + before
            before = int(offsets[-1])
            arrays["offsets"] = offsets[:-1] if part.stop < len(store) else offsets
        yield part.stop - part.start, {name: arrays[name] for name in names}


def _hdf5(store: Store, path: Path, first: int | None, advance: Advance) -> None:
    shapes = _shapes(store, first)
    with h5py.File(path, "w", locking=False) as file:  # the name is private, and not every file system has locks
        file.attrs.update(store.stamp)
        text = h5py.string_dtype("utf-8")
        file.create_dataset("ids", data=np.array(store.ids, dtype=object), dtype=text)
        file.create_dataset("sha256", data=np.array(store.sha256, dtype=object), dtype=text)
        data = {name: file.create_dataset(name, shape, dtype) for name, (dtype, shape) in shapes.items()}
        at = dict.fromkeys(shapes, 0)
        for count, arrays in _pieces(store, first, tuple(shapes)):
            for name, array in arrays.items():
                data[name][at[name] : at[name] + len(array)] = array
                at[name] += len(array)
            advance(count)


def _npz(store: Store, path: Path, first: int | None, advance: Advance) -> None:
    """Write an uncompressed .npz, array after array; the rows are read once for each array."""
    shapes = _shapes(store, first)
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in (("ids", store.ids), ("sha256", store.sha256)):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(values, dtype=np.str_), allow_pickle=False)
        for number, (name, (dtype, shape)) in enumerate(shapes.items()):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, description)
                for count, arrays in _pieces(store, first, (name,)):
                    file.write(np.ascontiguousarray(arrays[name]).data.cast("B") if arrays[name].size else b"")
                    advance(count if number == 0 else 0)


def _parquet(store: Store, path: Path, first: int | None, advance: Advance) -> None:
    """Write one row per sample: id, sha256, and each array, as a nested list where it has axes."""
    parquet = optional("pyarrow.parquet", "Parquet needs pyarrow", "pyarrow", CacheError)
    arrow = optional("pyarrow", "Parquet needs pyarrow", "pyarrow", CacheError)
    stamp = {name: str(value) for name, value in store.stamp.items()}
    writer = None
    try:
        for part, arrays in _parts(store, first):
            columns = {"id": arrow.array(store.ids[part]), "sha256": arrow.array(store.sha256[part])}
            offsets = arrays.pop("offsets", None)
            for name, array in arrays.items():
                columns[name] = _column(arrow, array, offsets)
            table = arrow.table(columns).replace_schema_metadata(stamp)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            advance(part.stop - part.start)
    finally:
        if writer is not None:
            writer.close()


def _column(arrow: Any, array: np.ndarray, offsets: np.ndarray | None) -> Any:
    """Return an Arrow column: plain values, or lists nested like the array's axes."""
    values = arrow.array(array.reshape(-1))
    for size in reversed(array.shape[1:]):
        values = arrow.FixedSizeListArray.from_arrays(values, size)
    if offsets is not None:
        values = arrow.ListArray.from_arrays(arrow.array(offsets, arrow.int32()), values)
    return values
