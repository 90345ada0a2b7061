"""Safetensors: packed tensors, with the ids and digests as JSON among the metadata."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...errors import CacheError
from .pieces import Export

DTYPES = {"float16": "F16", "float32": "F32", "int32": "I32", "int64": "I64"}

MAX_HEADER_BYTES = 100_000_000
"""The largest header, as in its library."""


def packed(what: Export, path: Path) -> None:
    """Write tensors named as in a shard, one after the other; the rows are read once for each."""
    shapes, store = what.shapes, what.store
    texts = {"ids": store.ids, "sha256": store.sha256}
    metadata = {**{name: str(value) for name, value in store.stamp.items()}}
    metadata |= {name: json.dumps(values, ensure_ascii=False) for name, values in texts.items()}
    header, at = {"__metadata__": metadata}, 0
    for name, (dtype, shape) in shapes.items():
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {"dtype": DTYPES[dtype.name], "shape": list(shape), "data_offsets": [at, at + size]}  # type: ignore[dict-item]
        at += size
    data = json.dumps(header, ensure_ascii=False).encode()
    data += b" " * (-len(data) % 8)
    if len(data) > MAX_HEADER_BYTES:
        raise CacheError(
            f"{store.path.name} has too many samples for one safetensors file",
            expected=f"ids and digests of at most {MAX_HEADER_BYTES} bytes",
            found=f"{len(data)} for {len(store)} samples",
            next_step="export to .h5, .npz or .parquet",
        )
    with path.open("wb") as file:
        file.write(len(data).to_bytes(8, "little"))
        file.write(data)
        for number, name in enumerate(shapes):
            for count, arrays in what.pieces((name,)):
                file.write(np.ascontiguousarray(arrays[name]).tobytes())
                what.advance(count if number == 0 else 0)
