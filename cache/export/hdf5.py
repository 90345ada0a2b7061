"""HDF5: packed arrays, a group a sample as hloc has them, or MultiSentiNet's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .pieces import Export

TEXT = h5py.string_dtype("utf-8")


def packed(what: Export, path: Path) -> None:
    """Write packed arrays, named as in a shard, with `ids` and `sha256`."""
    store, shapes = what.store, what.shapes
    with h5py.File(path, "w", locking=False) as file:  # the name is private, and not every file system has locks
        file.attrs.update(store.stamp)
        file.create_dataset("ids", data=np.array(store.ids, dtype=object), dtype=TEXT)
        file.create_dataset("sha256", data=np.array(store.sha256, dtype=object), dtype=TEXT)
        data = {name: file.create_dataset(name, shape, dtype) for name, (dtype, shape) in shapes.items()}
        at = dict.fromkeys(shapes, 0)
        for count, arrays in what.pieces(tuple(shapes)):
            for name, array in arrays.items():
                data[name][at[name] : at[name] + len(array)] = array
                at[name] += len(array)
            what.advance(count)


def groups(what: Export, path: Path) -> None:
    """Write a group a sample, named by its id, with its arrays and `sha256`."""
    with h5py.File(path, "w", locking=False) as file:
        file.attrs.update(what.store.stamp)
        for id, sha256, arrays in what.samples():
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
    with h5py.File(path, "w", locking=False) as file:
        file.attrs.update({**store.stamp, "classes": classes})
        file.create_dataset("txt_data", data=np.array([row["text"] for row in known], dtype=object), dtype=TEXT)
        file["label"] = np.array(labels, np.int64)
        data, at = file.create_dataset(name, shape, dtype), 0
        for count, arrays in what.pieces((store.kind,)):
            data[at : at + count] = arrays[store.kind]
            at += count
            what.advance(count)
