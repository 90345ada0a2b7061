"""LMDB: a key a sample, whose value is a pickled dict of arrays, under the names that MMF and ViLBERT use."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CacheError
from ...lazy import optional
from ..format.schema import KINDS
from .pieces import Export

MAX_KEY = 511
"""The longest key in bytes."""

NAMES = {"regions": "features", "boxes": "bbox"}
"""Our names -> theirs, for regions."""


def database(what: Export, folder: Path) -> None:
    """Write a database: the samples, and the list of their keys under `keys`.

    Raises:
        OSError: it could not be written.
    """
    lmdb = optional("lmdb", "LMDB needs lmdb", "itin[features]", CacheError)
    rows = what.table() if KINDS[what.store.kind][0].axis == "region" else {}
    size = sum(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize for dtype, shape in what.shapes.values())
    room = 2 * size + (1 << 14) * len(what.store) + (64 << 20)  # only what is used takes place on the disk
    try:
        with lmdb.open(str(folder), map_size=room, sync=False, lock=False) as held:
            with held.begin(write=True) as transaction:
                _put(what, rows, transaction)
            held.sync(True)
    except lmdb.Error as error:  # its message ends in the system's, which has the number that says what to do
        said = str(error)
        number = next((one for one in errno.errorcode if said.endswith(os.strerror(one))), 0)
        raise OSError(number, os.strerror(number) if number else said) from error


def _put(what: Export, rows: Mapping[str, Any], transaction: Any) -> None:
    keys = []
    for id, sha256, arrays in what.samples():
        key = id.encode()
        if not 0 < len(key) <= MAX_KEY or key == b"keys":
            raise CacheError(f"the id {id!r} cannot be a key of LMDB", next_step="export to another form")
        keys.append(key)
        value: dict[str, Any] = {"image_id": id, "sha256": sha256, **arrays}
        if rows:
            value = {NAMES.get(name, name): array for name, array in value.items()}
            value |= {"num_boxes": len(arrays["boxes"])}
            value |= {"image_width": int(rows[id]["width"]), "image_height": int(rows[id]["height"])}
        transaction.put(key, pickle.dumps(value, protocol=4))
    transaction.put(b"keys", pickle.dumps(keys, protocol=4))
