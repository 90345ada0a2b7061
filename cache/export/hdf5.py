"""HDF5: packed arrays, a group a sample as hloc has them, or MultiSentiNet's file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .pieces import Export

TEXT = h5py.string_dtype("utf-8")


class _Disk(io.FileIO):
    """A file that keeps its first error to itself: HDF5 crashes the process when it cannot write to a file."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest) and self.error is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def _created(path: Path) -> Iterator[tuple[h5py.File, _Disk]]:
    """Yield a new HDF5 file, and the disk to check before much is written.

    Raises:
        OSError: it could not be written.
    """
    with _Disk(path, "w+") as disk:
        with h5py.File(disk, "w") as file:
            yield file, disk
        disk.check()


def packed(what: Export, path: Path) -> None:
    """Write packed arrays, named as in a shard, with `ids` and `sha256`."""
    store, shapes = what.store, what.shapes
    with _created(path) as (file, disk):
        file.attrs.update(store.stamp)
        file.create_dataset("ids", data=np.array(store.ids, dtype=object), dtype=TEXT)
        file.create_dataset("sha256", data=np.array(store.sha256, dtype=object), dtype=TEXT)
        data = {name: file.create_dataset(name, shape, dtype) for name, (dtype, shape) in shapes.items()}
        at = dict.fromkeys(shapes, 0)
        for count, arrays in what.pieces(tuple(shapes)):
            disk.check()
            for name, array in arrays.items():
                data[name][at[name] : at[name] + len(array)] = array
                at[name] += len(array)
            what.advance(count)


def groups(what: Export, path: Path) -> None:
    """Write a group a sample, named by its id, with its arrays and `sha256`."""
    with _created(path) as (file, disk):
        file.attrs.update(what.store.stamp)
        for id, sha256, arrays in what.samples():
            disk.check()
            group = file.create_group(id)
            group["sha256"] = sha256
            for name, array in arrays.items():
                group[name] = array


def multisentinet(what: Export, path: Path) -> None:
    """Write MultiSentiNet's arrays: texts, numbers of labels, and the vectors as `object_data` or `scene_data`."""
    rows, store = what.table(), what.store
    dtype, shape = what.shapes[store.kind]
    name = {"context": "object_data", "scene": "scene_data"}[store.kind]
    known = [rows[id] for id in store.ids]
    classes = sorted({str(row["label"]) for row in known if isinstance(row["label"], str)})
    labels: list[Any] = [classes.index(row["label"]) if isinstance(row["label"], str) else -1 for row in known]
    with _created(path) as (file, disk):
        file.attrs.update({**store.stamp, "classes": classes})
        file.create_dataset("txt_data", data=np.array([row["text"] for row in known], dtype=object), dtype=TEXT)
        file["label"] = np.array(labels, np.int64)
        data, at = file.create_dataset(name, shape, dtype), 0
        for count, arrays in what.pieces((store.kind,)):
            disk.check()
            data[at : at + count] = arrays[store.kind]
            at += count
            what.advance(count)
