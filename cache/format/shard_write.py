"""Making a shard: the features of some samples, packed into arrays of one immutable HDF5 file with a header."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from .ranges import to_ranges
from .schema import FORMAT, KINDS
from .shard_header import MIN_HEADER_BYTES, ArrayLocation, Header, to_bytes

Arrays = Mapping[str, np.ndarray]

UNSPLIT = 2**15
"""Numbers that PyTorch copies at once without splitting them among threads, which belong to the encoder."""


class FeatureError(ValueError):
    """An error of features that cannot be stored: not finite, too large for the dtype, or of a wrong shape."""


def to_stored(kind: str, sample: Arrays, feature_dtype: str, dims: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Cast one sample's arrays to the stored dtypes, rounding to nearest.

    Args:
        kind: `regions`, `tokens`, `context` or `scene`.
        sample: arrays of the kind, as an encoder returns them.
        feature_dtype: `float16` or `float32`.
        dims: `feature`, the length of a feature vector, and for regions `max_regions`.

    Raises:
        FeatureError: a value is not finite, or does not fit the dtype (never stored as infinity).
    """
    stored = {}
    lengths = set()
    for schema in KINDS[kind]:
        array = np.asarray(sample[schema.name])
        dtype = schema.numpy_dtype(feature_dtype)
        if schema.dtype == "feature" and array.shape[-1] != dims["feature"]:
            raise FeatureError(f"{schema.name} has {array.shape[-1]} values a vector, expected {dims['feature']}")
        if dtype.kind == "f" and array.size:
            peak = max(abs(float(array.max())), abs(float(array.min())))  # NaN stays NaN
            if not np.isfinite(peak):
                raise FeatureError(f"{schema.name} holds values that are not finite")
            if peak > float(np.finfo(dtype).max) and not _rounds_down(peak, dtype):
                raise FeatureError(f"{schema.name} overflows {dtype.name}: {peak:.6g} (use --store-dtype float32)")
        stored[schema.name] = _cast(array, dtype)
        if schema.axis != "sample":
            lengths.add(len(array))
    if len(lengths) > 1:
        raise FeatureError(f"{kind} arrays differ in length: {sorted(lengths)}")
    if kind == "tokens" and not (stored["word_ids"] >= 0).any():
        raise FeatureError("the text gives no WordPiece")
    if kind == "regions" and max(lengths) > dims["max_regions"]:
        raise FeatureError(f"{max(lengths)} regions, at most {dims['max_regions']} are stored")
    return stored


def _rounds_down(peak: float, dtype: np.dtype[Any]) -> bool:
    """Return whether a value above the largest of a dtype is rounded to that, and not to infinity."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.array(peak).astype(dtype)))


def _cast(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return a copy in another dtype; to float16 by PyTorch where it is loaded: 20 times as fast, rounded alike."""
    torch = sys.modules.get("torch")
    if torch is None or (array.dtype, dtype) != (np.float32, np.float16) or not array.flags.writeable:
        return array.astype(dtype)
    cast = np.empty(array.shape, dtype)
    source, target = (torch.from_numpy(np.ascontiguousarray(each).reshape(-1)) for each in (array, cast))
    for begin in range(0, array.size, UNSPLIT):
        target[begin : begin + UNSPLIT].copy_(source[begin : begin + UNSPLIT])
    return cast


def pack(kind: str, samples: Sequence[Arrays], max_regions: int = 0) -> dict[str, np.ndarray]:
    """Pack stored samples (at least one) into the arrays of a shard, named as in `docs/cache-format.md`."""
    packed: dict[str, np.ndarray] = {}
    for schema in KINDS[kind]:
        arrays = [sample[schema.name] for sample in samples]
        if schema.axis == "sample":
            packed[schema.name] = np.stack(arrays)
        elif schema.axis == "token":
            packed[schema.name] = np.concatenate(arrays)
        else:
            shape = (len(arrays), max_regions, *arrays[0].shape[1:])
            padded = np.full(shape, schema.fill, dtype=arrays[0].dtype)
            for row, array in enumerate(arrays):
                padded[row, : len(array)] = array
            packed[schema.name] = padded
    if kind == "regions":
        packed["counts"] = np.array([len(sample["scores"]) for sample in samples], dtype="<i4")
    if kind == "tokens":
        lengths = [len(sample["token_ids"]) for sample in samples]
        packed["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    return packed


def shard_bytes(
    kind: str,
    fingerprint: str,
    rows: Sequence[int],
    ids: Sequence[str],
    sha256: Sequence[str],
    arrays: Mapping[str, np.ndarray],
) -> bytearray:
    """Return the bytes of a shard: header, then HDF5 with contiguous, uncompressed arrays; deterministic.

    Args:
        kind: `regions`, `tokens`, `context` or `scene`.
        fingerprint: the store's fingerprint.
        rows: the samples' rows in the plan (N,), ascending.
        ids: their ids (N,).
        sha256: digests of their inputs (N,).
        arrays: the arrays from `pack`.
    """
    everything = {"ids": _strings(ids), "sha256": _strings(sha256), "rows": np.asarray(rows, "<i8"), **arrays}
    places, image = _empty_file({"format": FORMAT, "kind": kind, "fingerprint": fingerprint}, everything)
    size = MIN_HEADER_BYTES
    while True:
        header = Header(
            format=FORMAT,
            kind=kind,
            fingerprint=fingerprint,
            count=len(rows),
            rows=to_ranges(rows),
            header=size,
            bytes=size + image.size,
            arrays={name: place._replace(offset=place.offset + size) for name, place in places.items()},
            rest_sha256="0" * 64,
        )
        if len(to_bytes(header)) == size:
            break
        size *= 2
    data = bytearray(header.bytes)
    for at, piece in image.pieces:
        data[size + at : size + at + len(piece)] = piece
    for name, place in header.arrays.items():
        if place.bytes:
            np.ndarray(place.shape, place.dtype, data, place.offset, place.strides)[...] = everything[name]
    view = memoryview(data)
    digests = {
        name: place._replace(sha256=_sha256(view[place.offset : place.offset + place.bytes]))
        for name, place in header.arrays.items()
    }
    rest = _sha256(*(view[begin:end] for begin, end in header.gaps()))
    view.release()
    data[: header.header] = to_bytes(replace(header, arrays=digests, rest_sha256=rest))
    return data


class _Sparse(io.RawIOBase):
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


def _empty_file(stamp: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, ArrayLocation], _Sparse]:
    """Return the location of each array in an HDF5 file with room for the arrays, and that file.

    `regions (N, M, D)` is chunked by region, so that the first m regions of all samples are one piece of the file;
    all other arrays are contiguous. HDF5's own structures stay small and have their own checksums (format of 1.10).
    It is closed before its bytes are taken: HDF5 before 2.0 leaves a wrong checksum in the image of an open file.
    """
    image = _Sparse()
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


def _sha256(*pieces: memoryview) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _strings(values: Sequence[str]) -> np.ndarray:
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(map(len, encoded), default=1) or 1))
