"""HDF5: a group a sample (hloc), an array a sample, a file a sample (TRIDENT), or packed arrays with their ids.

Read in a child process. What could lead out of the file - external links, external storage, virtual data - is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...data.reading import BadFile
from ..naming import check_main, known, main_names
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import id_of, without_image
from .packed import has_ids, list_packed


def listed(path: Path, asked: Asked) -> Iterator[Item]:
    """List the samples of a file."""
    with h5py.File(path, "r", locking=False) as file:
        names = _datasets(file)
        features = not set(main_names(asked)).isdisjoint(names)
        if has_ids(names, asked) and (features or len(names) == len(file)):
            check_main(names, asked)
            wanted = {name: _rows(file, name) for name in names if name in known(asked)}
            yield from list_packed(wanted, asked)
        elif features:
            id = id_of(path)
            yield Item(id, partial(_sample, id, file, asked), path.name)
        else:
            yield from _groups(file, "", asked)


def _groups(group: h5py.Group, within: str, asked: Asked) -> Iterator[Item]:
    """List the samples of a group and those below it, by the names of the groups that lead to them."""
    for name in group:
        id = f"{within}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield Item(id, partial(_refused, "leads out of the file or to another place in it"))
        elif group.get(name, getclass=True) is h5py.Dataset:
            yield Item(id, partial(_array, without_image(id), group, name))
        elif group.get(name, getclass=True) is h5py.Group:
            below = group[name]
            if set(main_names(asked)).isdisjoint(_datasets(below)):
                yield from _groups(below, f"{id}/", asked)
            else:
                yield Item(id, partial(_sample, id, below, asked))


def _datasets(group: h5py.Group) -> list[str]:
    """Return the names of a group's own arrays."""
    hard = [name for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)]
    return [name for name in hard if group.get(name, getclass=True) is h5py.Dataset]


def _sample(id: str, group: h5py.Group, asked: Asked) -> Raw:
    names = _datasets(group)
    arrays: dict[str, Any] = dict.fromkeys(names, np.zeros(0, object))
    arrays |= {name: _value(_checked(group, name)) for name in names if name in known(asked)}
    return Raw(id, arrays)


def _array(id: str, group: h5py.Group, name: str) -> Raw:
    return Raw(id, {"array": _value(_checked(group, name))})


def _refused(reason: str) -> Raw:
    raise BadFile(reason)


def _checked(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return an array of a file, of which nothing lies outside of it."""
    data = group[name]
    if data.external or data.is_virtual:
        raise BadFile(f"holds {name} whose values lie in another file")
    if data.shape is None:
        raise BadFile(f"holds {name} without values")
    if data.chunks is not None and int(np.prod(data.chunks, dtype=np.int64)) * data.dtype.itemsize > MAX_BYTES:
        raise BadFile(UNPACKED)
    return data


def _value(data: h5py.Dataset) -> np.ndarray:
    if data.size * data.dtype.itemsize > MAX_BYTES:
        raise BadFile(UNPACKED)
    return _plain(data, ())


def _plain(data: h5py.Dataset, rows: Any) -> np.ndarray:
    """Return values without Python objects: texts of any length become texts of the longest one's."""
    if h5py.check_string_dtype(data.dtype) is not None:
        texts = data.asstr("utf-8", errors="surrogateescape")[rows]
        longest = max(map(len, np.ravel(texts)), default=0)
        if np.size(texts) * longest * np.dtype("U1").itemsize > MAX_BYTES:
            raise BadFile(UNPACKED)
        return np.asarray(texts, dtype=np.str_)
    return np.asarray(data[rows])


class _Rows:
    def __init__(self, data: h5py.Dataset) -> None:
        self._data = data
        self.shape: tuple[int, ...] = data.shape
        self.dtype = data.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return _plain(self._data, rows)


def _rows(file: h5py.File, name: str) -> _Rows:
    return _Rows(_checked(file, name))
