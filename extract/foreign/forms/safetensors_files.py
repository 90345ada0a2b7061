"""Safetensors: a file a sample, a tensor or several a sample, or packed tensors with the ids among the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ...data.reading import BadFile
from ..naming import check_main, known, main_names
from ..record import MAX_BYTES, UNPACKED, Asked, Item, Raw
from .files import id_of, without_image
from .packed import list_packed

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<f4"} | {
    f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)
}
"""The dtypes of arrays by those of tensors; bfloat16 becomes float32, which holds all its values."""


def listed(path: Path, asked: Asked) -> Iterator[Item]:
    """List the samples of a file."""
    try:
        with safe_open(path, "pt") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
            tensors = {name: _Tensor(file, name) for name in names}
            if "ids" in metadata or asked.ids is not None:
                check_main(names, asked)
                texts = {name: json.loads(metadata[name]) for name in ("ids", "sha256") if name in metadata}
                ids, digests = texts.get("ids"), texts.get("sha256")
                rows: dict[str, Any] = {name: one for name, one in tensors.items() if name in known(asked)}
                if digests is not None and "sha256" in known(asked):
                    rows["sha256"] = np.array(digests, np.str_)
                yield from list_packed(rows, asked, ids)
            elif not set(main_names(asked)).isdisjoint(names):
                id = id_of(path)
                yield Item(id, partial(_sample, id, tensors, asked), path.name)
            else:
                for id, group in _grouped(tensors, asked).items():
                    yield Item(id, partial(_sample, id, group, asked))
    except BadFile:
        raise
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise BadFile(f"cannot be read: {error}") from error


def _grouped(tensors: dict[str, _Tensor], asked: Asked) -> dict[str, dict[str, _Tensor]]:
    """Return the tensors of each sample: `ID/regions`, `ID/boxes`, or just `ID`."""
    groups: dict[str, dict[str, _Tensor]] = {}
    for name, tensor in tensors.items():
        id, _, last = name.rpartition("/")
        own = (id, last) if id and last in known(asked) else (without_image(name), "array")
        groups.setdefault(own[0], {})[own[1]] = tensor
    return groups


def _sample(id: str, tensors: dict[str, _Tensor], asked: Asked) -> Raw:
    used = {name: one for name, one in tensors.items() if name in known(asked)}
    if sum(int(np.prod(one.shape, dtype=np.int64)) * one.dtype.itemsize for one in used.values()) > MAX_BYTES:
        raise BadFile(UNPACKED)
    arrays: dict[str, Any] = dict.fromkeys(tensors, np.zeros(0, object))
    return Raw(id, arrays | {name: one[:] for name, one in used.items()})


class _Tensor:
    def __init__(self, file: Any, name: str) -> None:
        self._slice, self._name = file.get_slice(name), name
        self.shape = tuple(self._slice.get_shape())
        self._kind = self._slice.get_dtype()
        self.dtype = np.dtype(DTYPES.get(self._kind, object))

    def __getitem__(self, rows: slice) -> np.ndarray:
        if self.dtype.hasobject:
            raise BadFile(f"holds {self._name} of dtype {self._kind}, expected numbers")
        tensor = self._slice[rows] if self.shape else self._slice[...]
        return np.asarray((tensor.float() if self._kind == "BF16" else tensor).numpy())
