"""From a source's arrays to those of a store: chosen by name, and checked for dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cache.format.schema import KINDS, ArraySchema
from ..data.reading import BadFile
from .naming import chosen
from .record import Arrays, Asked, Raw, Record, digest_of

NOUNS = {"region": "regions", "token": "tokens"}

COLUMNS = {"boxes": 4}
"""The length of the second axis of the arrays that have one."""

OPTIONAL = {"regions": ("boxes",), "tokens": ("token_ids", "word_ids")}
"""By kind: the arrays that can be filled in, though some of what they are for is lost then."""


def record_of(raw: Raw, asked: Asked) -> Record:
    """Return a sample's features as a store takes them.

    Raises:
        BadFile: an array is missing, of another dtype or shape than it must have, or does not fit the others.
    """
    names = chosen(raw.arrays, asked)
    found = {ours: np.asarray(raw.arrays[theirs]) for ours, theirs in names.items() if ours != "ids"}
    digest = raw.sha256 if raw.sha256 and not asked.map else digest_of(raw.id, found)
    main = KINDS[asked.kind][0]
    half = found[asked.kind].dtype == np.float16
    arrays = {asked.kind: _vector(names, found)} if main.axis == "sample" else _rows(asked.kind, names, found)
    scored = "scores" in found or not len(arrays[asked.kind])
    if main.axis == "region":
        order = np.argsort(-arrays["scores"], kind="stable")
        arrays = {name: array[order] for name, array in arrays.items()}
    width, height = _size(found)
    return Record(
        id=raw.id,
        arrays=arrays,
        sha256=digest,
        width=width,
        height=height,
        scored=scored,
        note=raw.note,
        lacks=tuple(name for name in OPTIONAL.get(asked.kind, ()) if name not in found),
        input=_text(found["sha256"]) if "sha256" in found else "",
        half=half,
    )


def _vector(names: dict[str, str], found: Arrays) -> np.ndarray:
    (name,) = (one for one in found if one != "sha256")
    array = _numbers(names[name], found[name])
    if array.ndim == 0 or array.size != array.shape[-1] or not array.size:
        raise BadFile(f"holds {names[name]} {array.shape}, expected one vector")
    return array.reshape(-1)


def _rows(kind: str, names: dict[str, str], found: Arrays) -> Arrays:
    """Return the arrays of a kind with one row a region or token, cut to their number, missing ones filled in."""
    main, *rest = KINDS[kind]
    x = _numbers(names[kind], found[kind])
    x = x.reshape(x.shape[-2:]) if x.ndim > 2 and x.size == np.prod(x.shape[-2:]) else x
    given = {one.name: _column(one, names[one.name], found[one.name]) for one in rest if one.name in found}
    length = len(next(iter(given.values()))) if given else None
    if x.ndim == 2 and length is not None and len(x) != length == x.shape[1]:
        x = x.T  # some ports, and hloc, store (D, k)
    columns = {kind: x, **given}
    mask = np.asarray(found["mask"]).reshape(-1) != 0 if "mask" in found else None
    if mask is not None and x.ndim == 2 and len(mask) == len(x):
        columns = {name: array[mask] if len(array) == len(mask) else array for name, array in columns.items()}
    number = _whole(names, found, "counts" if main.axis == "region" else "lengths")
    count = (len(columns[kind]) if x.ndim else 0) if number is None else number
    wrong = [name for name, one in given.items() if one.shape[1:] != ((COLUMNS[name],) if name in COLUMNS else ())]
    lengths = {len(array) for array in columns.values()} if x.ndim else set()
    if x.ndim != 2 or wrong or not 0 <= count <= min(lengths) or (number is None and len(lengths) > 1):
        wrong += [name for name in given if len(columns[name]) < count] or list(given)
        told = " and ".join(f"{names[name]} {found[name].shape}" for name in (kind, *wrong[:1]))
        raise BadFile(f"holds {told} for {count} {NOUNS[main.axis]}")
    columns = {name: array[:count] for name, array in columns.items()}
    for schema in rest:
        if schema.name not in columns:
            columns[schema.name] = _filled(schema, count, columns)
    return {schema.name: columns[schema.name] for schema in KINDS[kind]}


def _filled(schema: ArraySchema, count: int, columns: Arrays) -> np.ndarray:
    if schema.name == "object_scores":
        return columns["scores"]
    if schema.name == "word_ids":
        return np.arange(count, dtype=np.int32)  # each vector is a word of its own
    value = -1 if schema.name == "token_ids" else schema.fill
    shape = (count, COLUMNS[schema.name]) if schema.name in COLUMNS else (count,)
    return np.full(shape, value, schema.numpy_dtype("float32"))


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise BadFile(f"holds {name} of dtype {array.dtype}, expected numbers")
    return array if array.dtype in (np.float16, np.float32, np.float64) else array.astype(np.float32)


def _column(schema: ArraySchema, name: str, array: np.ndarray) -> np.ndarray:
    """Return an array beside the features in the dtype of the store."""
    if array.dtype.kind not in "fiu":
        raise BadFile(f"holds {name} of dtype {array.dtype}, expected numbers")
    dtype = schema.numpy_dtype("float32")
    if dtype.kind == "f" or not array.size:
        return array.astype(dtype)
    whole = np.rint(array) if array.dtype.kind == "f" else array
    low, high = whole.min(), whole.max()
    if not (low >= -(2**31) and high < 2**31) or (whole != array).any():
        raise BadFile(f"holds {name} that are no whole numbers of 32 bits")
    return whole.astype(dtype)


def _whole(names: dict[str, str], found: Arrays, name: str) -> int | None:
    if name not in found:
        return None
    try:
        return int(found[name].reshape(()))
    except (TypeError, ValueError) as error:
        raise BadFile(f"holds {names[name]} {found[name].shape}, expected one number") from error


def _size(found: Arrays) -> tuple[int, int]:
    """Return width and height of the image, (0, 0) where they are not told."""
    told: Any = None
    if "width" in found and "height" in found:
        told = found["width"], found["height"]
    elif "image_size" in found and found["image_size"].size == 2:
        told = found["image_size"].reshape(-1)
    if told is None:
        return 0, 0
    try:
        width, height = (int(one) for one in told)
    except (TypeError, ValueError) as error:
        raise BadFile(f"names no size of the image in whole pixels: {error}") from error
    if width < 1 or height < 1:
        raise BadFile(f"names an image of {width}x{height} pixels")
    return width, height


def _text(array: np.ndarray) -> str:
    value = array.reshape(-1)[0] if array.size else ""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
