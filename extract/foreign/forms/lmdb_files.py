"""LMDB of the bottom-up-attention family: a key an image; the value a pickled dict (ViLBERT, MMF) or a `.npz` (UNITER).

Read in a child process, for a damaged database ends the process that reads it. Pickles are read with the unpickler that
admits arrays and plain containers only.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....tabular.pickled import load_arrays
from ...data.reading import BadFile
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import without_image

NO_IMAGES = {b"keys", b"__keys__", b"__len__", b"length", b"name2nbb"}
"""The keys that the tools of the family keep for themselves."""

BASE64 = {"features": "<f4", "boxes": "<f4", "cls_prob": "<f4", "objects_conf": "<f4", "attrs_conf": "<f4"}


def listed(path: Path, asked: Asked) -> Iterator[Item]:
    """List the images of a database: a folder with `data.mdb`, or a file."""
    import lmdb

    with (
        lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False) as database,
        database.begin(buffers=True) as transaction,
        transaction.cursor() as cursor,
    ):
        for key in cursor.iternext(values=False):
            if (name := bytes(key)) not in NO_IMAGES:
                id = without_image(name.decode(errors="surrogateescape").removesuffix(".npz"))
                yield Item(id, partial(_image, id, cursor))


def _image(id: str, cursor: Any) -> Raw:
    value = cursor.value()
    if len(value) > MAX_BYTES:
        raise BadFile(UNPACKED)
    data = bytes(value)
    arrays = _from_npz(data) if data.startswith(b"PK") else _from_pickle(data)
    count = arrays.get("num_boxes", arrays.get("num_bbox"))
    arrays = {name: _decoded(name, value, count) for name, value in arrays.items()}
    if "norm_bb" in arrays and "boxes" not in arrays:  # UNITER: x1, y1, x2, y2, width, height, all shares
        arrays["boxes"] = np.asarray(arrays.pop("norm_bb"))[..., :4]
    return Raw(id, arrays)


def _from_npz(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise BadFile(UNPACKED)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise BadFile(f"cannot be read as .npz: {error}") from error


def _from_pickle(data: bytes) -> dict[str, Any]:
    try:
        value = load_arrays(data)
    except Exception as error:  # a foreign pickle can fail in any way
        if isinstance(error, pickle.UnpicklingError) and "asks for" in str(error):
            raise BadFile(f"is not read: {error}") from error
        raise BadFile(f"is neither a pickle nor a .npz: {error}") from error
    if not isinstance(value, Mapping):
        raise BadFile(f"is a pickled {type(value).__name__}, expected named arrays")
    return {str(name): one for name, one in value.items()}


def _decoded(name: str, value: Any, count: Any) -> Any:
    """Return an array that ViLBERT keeps as base64, in the number of its rows; other values as they are."""
    if not isinstance(value, (bytes, str)) or name not in BASE64:
        return value
    try:
        array = np.frombuffer(base64.b64decode(value, validate=True), BASE64[name])
        return array.reshape(int(count), -1) if name in ("features", "boxes", "cls_prob") else array
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadFile(f"holds {name} that cannot be read: {error}") from error
