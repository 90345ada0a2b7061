"""Making a shard: the features of some samples, packed into arrays of one immutable HDF5 file with a header."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from .ranges import to_ranges
from .schema import FORMAT, KINDS
from .shard_hdf5 import empty_file
from .shard_header import MIN_HEADER_BYTES, Header, to_bytes

Arrays = Mapping[str, np.ndarray]

_FLOAT32, _FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)

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
    if torch is None or (array.dtype, dtype) != (_FLOAT32, _FLOAT16) or not array.flags.writeable:
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


def unsealed(
    kind: str,
    fingerprint: str,
    rows: Sequence[int],
    ids: Sequence[str],
    sha256: Sequence[str],
    arrays: Mapping[str, np.ndarray],
) -> tuple[bytearray, Header]:
    """Return the bytes of a shard whose header is still to be written, and the header without digests: see `seal`.

    Room for the header, then HDF5 with contiguous, uncompressed arrays; deterministic.

    Args:
        kind: `regions`, `tokens`, `context` or `scene`.
        fingerprint: the store's fingerprint.
        rows: the samples' rows in the plan (N,), ascending.
        ids: their ids (N,).
        sha256: digests of their inputs (N,).
        arrays: the arrays from `pack`.
    """
    everything = {"ids": _strings(ids), "sha256": _strings(sha256), "rows": np.asarray(rows, "<i8"), **arrays}
    places, image = empty_file({"format": FORMAT, "kind": kind, "fingerprint": fingerprint}, everything)
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
    return data, header


def seal(data: bytearray, header: Header) -> None:
    """Write the header of a shard into it, with the digests of all that follows."""
    view = memoryview(data)
    digests = {
        name: place._replace(sha256=_sha256(view[place.offset : place.offset + place.bytes]))
        for name, place in header.arrays.items()
    }
    rest = _sha256(*(view[begin:end] for begin, end in header.gaps()))
    view[: header.header] = to_bytes(replace(header, arrays=digests, rest_sha256=rest))


def _sha256(*pieces: memoryview) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _strings(values: Sequence[str]) -> np.ndarray:
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(map(len, encoded), default=1) or 1))
