"""Region features as the bottom-up-attention ports write them: a `.npz` for each image, or `.tsv` with base64 columns.

The files are not trusted: arrays are read without pickle, and the one pickled member, `info`, with the unpickler that
admits arrays and plain containers only; if it needs more, it is left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ....tabular.lines import lines_of
from ....tabular.pickled import load_arrays
from ...data.reading import BadFile, read_bytes, retrying
from ..record import MAX_BYTES, Asked, Item, Raw
from .files import id_of

COLUMNS = {
    6: ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features"),
    10: (
        "img_id",
        "img_h",
        "img_w",
        "objects_id",
        "objects_conf",
        "attrs_id",
        "attrs_conf",
        "num_boxes",
        "boxes",
        "features",
    ),
}
"""The ports' own columns by their number, for files without a header."""

BASE64 = {
    "boxes": "<f4",
    "features": "<f4",
    "objects_id": "<i8",
    "objects_conf": "<f4",
    "attrs_id": "<i8",
    "attrs_conf": "<f4",
    "scores": "<f4",
    "object_scores": "<f4",
}
"""The dtype of each column of numbers; the last two are ours, for scores that are not those of the objects."""

SIDE = ("objects_id", "objects_conf", "attrs_id", "attrs_conf", "scores", "object_scores")
"""The columns that are left out where they do not fit."""

ALIASES = {"img_id": "image_id", "img_h": "image_h", "img_w": "image_w"}


def list_npz(path: Path, asked: Asked) -> Iterator[Item]:
    """List the one image of a `.npz` file."""
    id = id_of(path)
    yield Item(id, lambda: _npz(id, read_bytes(path, MAX_BYTES)), path.name)


def list_tsv(path: Path, asked: Asked) -> Iterator[Item]:
    """List the images in the rows of a `.tsv` file."""
    columns: tuple[str, ...] = ()
    file = retrying(lambda: path.open("rb"), path)
    with lines_of(file, "surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.rstrip("\r\n").split("\t")
            if number == 1 and cells[0] in ("image_id", "img_id"):
                columns = tuple(cells)
                if missing := set(COLUMNS[6]) - {ALIASES.get(column, column) for column in columns}:
                    raise _no_columns(path, f"no {', '.join(sorted(missing))} among {', '.join(columns)}")
                continue
            if not columns:
                if len(cells) not in COLUMNS:
                    raise _no_columns(path, f"{len(cells)} columns in line {number}")
                columns = COLUMNS[len(cells)]
            yield Item(f"{path.name} line {number}", partial(_row, columns, cells, line))


def _no_columns(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is not a .tsv of region features",
        expected=f"{' or '.join(str(number) for number in COLUMNS)} columns, or a header that names "
        + ", ".join(COLUMNS[6]),
        found=found,
    )


def _npz(id: str, data: bytes) -> Raw:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise BadFile(f"is too large: more than {MAX_BYTES} bytes unpacked")
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        arrays = {name: _array(members[name]) for name in ("x", "bbox", "image_h", "image_w")}
        count = _array(members["num_bbox"]) if "num_bbox" in members else np.array(len(arrays["bbox"]))
        values: dict[str, Any] = {
            "features": arrays["x"],
            "boxes": arrays["bbox"],
            "num_boxes": int(count),
            "image_h": int(arrays["image_h"]),
            "image_w": int(arrays["image_w"]),
        }
    except BadFile:
        raise
    except KeyError as error:
        raise BadFile(f"has no {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, RuntimeError) as error:
        raise BadFile(f"cannot be read: {error}") from error
    info, note = _info(members.get("info"))
    beside = {name: array for name, array in info.items() if _is_column(array, values["num_boxes"])}
    return Raw(id, {**beside, **values}, hashlib.sha256(data).hexdigest(), note)


def _array(member: bytes) -> np.ndarray:
    return np.asarray(np.lib.format.read_array(io.BytesIO(member), allow_pickle=False))


def _info(member: bytes | None) -> tuple[dict[str, Any], str | None]:
    """Return the objects and attributes in `info`; nothing, and the reason, where it cannot be read safely."""
    if member is None:
        return {}, None
    file = io.BytesIO(member)
    try:
        version = np.lib.format.read_magic(file)
        form: Any = np.lib.format
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        if not header(file)[2].hasobject:
            return {}, "info left out: it is no dict"
        content = load_arrays(file.read())
    except Exception as error:  # a foreign pickle can fail in any way
        return {}, f"info left out: {error}"
    content = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
    if not isinstance(content, Mapping):
        return {}, "info left out: it is no dict"
    return {str(name): value for name, value in content.items() if name in BASE64}, None


def _row(columns: Sequence[str], row: Sequence[str], line: str) -> Raw:
    if len(row) != len(columns):
        raise BadFile(f"{len(row)} columns instead of {len(columns)}")
    cells = dict(zip(columns, row, strict=True))
    try:
        values, id = _values(cells), cells.get("image_id") or cells.get("img_id") or ""
        id.encode()
    except ValueError as error:  # no number where one must be, or an id that is not UTF-8
        raise BadFile(str(error)) from error
    return Raw(id, values, hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest())


def _values(cells: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, cell in cells.items():
        if column in BASE64:
            values[column] = _decoded(column, cell)
        elif column == "sha256":
            values[column] = cell
        elif column != "image_id" and column != "img_id":
            values[ALIASES.get(column, column)] = int(cell)
    count = int(values["num_boxes"])
    if count < 0 or values["boxes"].size != 4 * count or values["features"].size % max(count, 1):
        raise BadFile(f"{values['boxes'].size} numbers of boxes and {values['features'].size} of features for {count}")
    values["boxes"] = values["boxes"].reshape(count, 4)
    values["features"] = values["features"].reshape(count, -1) if count else np.zeros((0, 0), np.float32)
    return {name: value for name, value in values.items() if name not in SIDE or _is_column(value, count)}


def _is_column(values: Any, count: int) -> bool:
    """Return whether an array has a number for each region; one that has not was left out by the ports too."""
    array = np.asarray(values)
    return array.ndim == 1 and len(array) >= count and array.dtype.kind in "fiu"


def _decoded(column: str, cell: str) -> np.ndarray:
    if cell[:2] in ("b'", 'b"'):  # as str() of Python 3 writes bytes
        cell = cell[2:-1]
    try:
        return np.frombuffer(base64.b64decode(cell, validate=True), BASE64[column])
    except (binascii.Error, ValueError) as error:
        raise BadFile(f"{column} cannot be read: {error}") from error
