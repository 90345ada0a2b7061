"""NumPy's `.npz`: one with packed arrays, or a folder with a file a sample."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .pieces import Export, file_name


def packed(what: Export, path: Path) -> None:
    """Write an uncompressed .npz, array after array; the rows are read once for each array."""
    shapes, store = what.shapes, what.store
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in (("ids", store.ids), ("sha256", store.sha256)):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.array(values, dtype=np.str_), allow_pickle=False)
        for number, (name, (dtype, shape)) in enumerate(shapes.items()):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, description)
                for count, arrays in what.pieces((name,)):
                    file.write(np.ascontiguousarray(arrays[name]).data.cast("B") if arrays[name].size else b"")
                    what.advance(count if number == 0 else 0)


def files(what: Export, folder: Path) -> None:
    """Write a file a sample, named by its id."""
    for id, sha256, arrays in what.samples():
        write_npz(folder / f"{file_name(id)}.npz", {"sha256": np.array(sha256), **arrays})


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a small uncompressed .npz in one piece: NumPy 1.26 leaves a file open that cannot be written."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getbuffer())
