"""NumPy's `.npz` and `.npy`: a file a sample, or packed arrays with the ids of their rows. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...data.reading import BadFile, stat_file
from ..naming import check_main, known
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import id_of
from .packed import has_ids, list_packed

FAULTS = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def listed(path: Path, asked: Asked) -> Iterator[Item]:
    """List the samples of a `.npz` or `.npy` file."""
    id = id_of(path)
    if path.suffix.lower() == ".npy":
        if asked.ids is None:
            yield Item(id, partial(_one_array, id, path), path.name)
        else:
            yield from list_packed({asked.map.get(asked.kind, "array"): _mapped(path)}, asked)
        return
    try:
        with zipfile.ZipFile(path) as archive, ExitStack() as members:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if has_ids(names, asked):
                check_main(names, asked)
                wanted = [name for name in names if name in known(asked)]
                yield from list_packed({name: _Member(archive, name, members) for name in wanted}, asked)
                return
    except BadFile:
        raise
    except FAULTS as error:
        raise BadFile(f"cannot be read: {error}") from error
    yield Item(id, partial(_one_file, id, path, asked), path.name)


def _one_file(id: str, path: Path, asked: Asked) -> Raw:
    try:
        with zipfile.ZipFile(path) as archive:
            used = known(asked)
            sizes = {one.filename.removesuffix(".npy"): one.file_size for one in archive.infolist()}
            if sum(size for name, size in sizes.items() if name in used) > MAX_BYTES:
                raise BadFile(UNPACKED)
            arrays: dict[str, Any] = dict.fromkeys(sizes, np.zeros(0, object))
            for name in used.intersection(sizes):
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)
    except BadFile:
        raise
    except (*FAULTS, KeyError) as error:
        raise BadFile(f"cannot be read: {error}") from error
    return Raw(id, arrays)


def _one_array(id: str, path: Path) -> Raw:
    stat_file(path, MAX_BYTES)
    try:
        return Raw(id, {"array": np.load(path, allow_pickle=False, max_header_size=MAX_HEADER)})
    except FAULTS as error:
        raise BadFile(f"cannot be read: {error}") from error


def _mapped(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False, max_header_size=MAX_HEADER)
    except FAULTS as error:
        raise BadFile(f"cannot be read: {error}") from error
    return array


MAX_HEADER = 10_000
"""The longest header of an array, in bytes."""


class _Member:
    """An array in a `.npz`, whose rows are read in order and never all at once."""

    def __init__(self, archive: zipfile.ZipFile, name: str, members: ExitStack) -> None:
        self._archive, self._name = archive, name
        members.callback(lambda: self._file.close())  # an archive with an open member stays open
        self.shape, self.dtype = self._open()

    def _open(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        self._file: IO[bytes] = self._archive.open(f"{self._name}.npy")
        version = np.lib.format.read_magic(self._file)
        form: Any = np.lib.format
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, fortran, dtype = header(self._file, max_header_size=MAX_HEADER)
        if dtype.hasobject or (fortran and len(shape) > 1):
            raise BadFile(f"holds {self._name} " + ("of objects" if dtype.hasobject else "in Fortran's order"))
        self._row = 0
        return shape, dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        begin, end, _ = rows.indices(self.shape[0])
        size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if begin < self._row:
            self._file.close()
            self._open()
        self._skip((begin - self._row) * size)
        data = self._file.read((end - begin) * size)
        if len(data) != (end - begin) * size:
            raise BadFile(f"holds {self._name} that end too early")
        self._row = end
        return np.frombuffer(data, self.dtype).reshape(end - begin, *self.shape[1:])

    def _skip(self, count: int) -> None:
        while count:
            got = len(self._file.read(min(count, 1 << 20)))
            if not got:
                raise BadFile(f"holds {self._name} that end too early")
            count -= got
