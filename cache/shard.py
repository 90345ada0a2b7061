"""One shard: the features of some samples, packed into contiguous arrays of one immutable HDF5 file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import CacheError
from .files import check_stamp
from .schema import FORMAT, KINDS

Arrays = Mapping[str, np.ndarray]


class FeatureError(ValueError):
    """A sample's features cannot be stored: not finite, too large for the dtype, or of a wrong shape."""


def to_stored(kind: str, sample: Arrays, feature_dtype: str, dims: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Casts one sample's arrays to what is stored, rounding to nearest.

    Args:
        kind: `regions`, `tokens` or `context`.
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
        if dtype.kind == "f":
            if not np.isfinite(array).all():
                raise FeatureError(f"{schema.name} holds values that are not finite")
            with np.errstate(over="ignore"):
                cast = array.astype(dtype)
            if not np.isfinite(cast).all():
                peak = float(np.abs(array).max())
                raise FeatureError(f"{schema.name} overflows {dtype.name}: {peak:.6g} (use --store-dtype float32)")
            stored[schema.name] = cast
        else:
            stored[schema.name] = array.astype(dtype)
        if schema.axis != "sample":
            lengths.add(len(array))
    if len(lengths) > 1:
        raise FeatureError(f"{kind} arrays differ in length: {sorted(lengths)}")
    if kind == "tokens" and not (stored["word_ids"] >= 0).any():
        raise FeatureError("the text gives no WordPiece")
    if kind == "regions" and max(lengths) > dims["max_regions"]:
        raise FeatureError(f"{max(lengths)} regions, at most {dims['max_regions']} are stored")
    return stored


def pack(kind: str, samples: Sequence[Arrays], max_regions: int = 0) -> dict[str, np.ndarray]:
    """Packs stored samples (at least one) into the arrays of a shard, as `docs/cache-format.md` names them."""
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
) -> bytes:
    """The bytes of a shard file: contiguous, uncompressed data sets, each with a checksum; equal input, equal bytes."""
    with h5py.File("shard", "w", driver="core", backing_store=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["kind"] = kind
        file.attrs["fingerprint"] = fingerprint
        everything = {"ids": _strings(ids), "sha256": _strings(sha256), "rows": np.asarray(rows, "<i8"), **arrays}
        for name, array in everything.items():
            data = file.create_dataset(name, data=array, track_times=False)
            data.attrs["checksum"] = checksum(array)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def checksum(array: np.ndarray) -> str:
    """`sha256:` and the digest of an array's bytes in C order."""
    return "sha256:" + hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _strings(values: Sequence[str]) -> np.ndarray:
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(map(len, encoded), default=1) or 1))


class Shard:
    """A committed shard, opened for reading; arrays are memory-mapped, so that only what is asked for is read.

    Raises:
        CacheError: not a readable shard, of another format version, or of another fingerprint.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._layout: dict[str, tuple[np.dtype[Any], tuple[int, ...], int | None]] = {}
        try:
            with h5py.File(path, "r", locking=False) as file:
                check_stamp(path, _plain(file.attrs.get("format")), file.attrs.get("fingerprint"), fingerprint)
                for name, data in file.items():
                    self._layout[name] = (data.dtype, data.shape, data.id.get_offset())
                self.rows: np.ndarray = file["rows"][:]
        except (OSError, KeyError, RuntimeError) as error:
            raise CacheError(
                f"{path} is not a readable shard: {error}",
                next_step="remove the file and run the same `itin extract` again: it makes just this shard again",
            ) from error

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def arrays(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Name -> (dtype, shape) of every array."""
        return {name: (dtype, shape) for name, (dtype, shape, _) in self._layout.items()}

    def strings(self, name: str) -> list[str]:
        """One of the string arrays, `ids` or `sha256`."""
        return [value.decode() for value in self.array(name)]

    def array(self, name: str) -> np.ndarray:
        """An array as a read-only memory map."""
        dtype, shape, offset = self._layout[name]
        if offset is None:  # empty data sets have no place in the file
            return np.empty(shape, dtype)
        return np.memmap(self.path, dtype, "r", offset, shape)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each sample's tokens begin, (N + 1,) int64."""
        return np.array(self.array("offsets"))


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
