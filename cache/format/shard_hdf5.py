"""The HDF5 structures of a shard, with room for its arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from .shard_header import ArrayLocation


class SparseFile(io.RawIOBase):
    """A file in memory that keeps only what is written to it; all else is zero."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        """Offset and bytes of what was written, in that order."""
        self.size = 0
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, from the beginning or from the end."""
        self._at = offset + (self.size if whence == io.SEEK_END else 0)
        return self._at

    def write(self, data: Any) -> int:
        """Keep a copy of bytes."""
        piece = bytes(data)
        self.pieces.append((self._at, piece))
        self._at += len(piece)
        self.size = max(self.size, self._at)
        return len(piece)

    def readinto(self, buffer: Any) -> int:
        """Read what is written, zeros elsewhere."""
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        for at, piece in self.pieces:
            begin, end = max(at, self._at), min(at + len(piece), self._at + len(view))
            if begin < end:
                view[begin - self._at : end - self._at] = piece[begin - at : end - at]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        self.size = self._at if size is None else size
        return self.size


def empty_file(
    stamp: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, ArrayLocation], SparseFile]:
    """Return the location of each array in an HDF5 file with room for the arrays, and that file.

    `regions (N, M, D)` is chunked by region, so that the first m regions of all samples are one piece of the file;
    all other arrays are contiguous. HDF5's own structures stay small and have their own checksums (format of 1.10).
    It is closed before its bytes are taken: HDF5 before 2.0 leaves a wrong checksum in the image of an open file.
    """
    image = SparseFile()
    settings = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    settings.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_alignment(1, 8)
    with h5py.File(h5py.h5f.create(b"shard", h5py.h5f.ACC_TRUNC, fcpl=settings, fapl=access)) as file:
        for name, value in stamp.items():
            file.attrs[name] = value
        places = {name: _room(file, name, array) for name, array in arrays.items()}
        file.flush()
        size = file.id.get_filesize()
    image.size = max(image.size, size)  # unwritten arrays at its end are not in the image
    return places, image


def _room(file: h5py.File, name: str, array: np.ndarray) -> ArrayLocation:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    by_region = name == "regions" and array.size > 0
    if by_region:
        settings.set_chunk((len(array), 1, array.shape[2]))
    space = h5py.h5s.create_simple(array.shape)
    data = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(array.dtype, logical=True), space, settings)
    offset = data.get_offset() or 0
    strides = array.strides
    if by_region:
        offset = data.get_chunk_info_by_coord((0, 0, 0)).byte_offset
        last = data.get_chunk_info_by_coord((0, array.shape[1] - 1, 0)).byte_offset
        strides = (array.strides[1], len(array) * array.strides[1], array.strides[2])
        if last - offset != strides[1] * (array.shape[1] - 1):
            raise RuntimeError("this version of HDF5 does not put the chunks of a data set next to each other")
    return ArrayLocation(array.dtype.str, array.shape, offset, strides, "0" * 64)
