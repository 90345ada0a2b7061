"""Region features as the bottom-up-attention ports have them: a `.npz` an image, or a `.tsv` with base64 columns."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..store import Arrays
from .npz import write_npz
from .pieces import Export, file_name

SIDE = {
    "objects_id": ("objects", "<i8"),
    "objects_conf": ("object_scores", "<f4"),
    "attrs_id": ("attributes", "<i8"),
    "attrs_conf": ("attribute_scores", "<f4"),
    "scores": ("scores", "<f4"),
}
"""Their names -> ours, and their dtypes; `scores` is ours, for scores that are not those of the objects."""


def npz(what: Export, folder: Path) -> None:
    """Write a `.npz` an image: `x`, `bbox`, `num_bbox`, `image_h`, `image_w`, `info`."""
    for id, sha256, size, arrays in _images(what):
        info = {name: arrays[ours].astype(dtype) for name, (ours, dtype) in SIDE.items()}
        made = {
            "x": arrays["regions"],
            "bbox": arrays["boxes"],
            "num_bbox": len(arrays["boxes"]),
            "image_w": size[0],
            "image_h": size[1],
            "info": np.array({"image_id": id, "sha256": sha256, **info}, dtype=object),
        }
        write_npz(folder / f"{file_name(id)}.npz", made)


def tsv(what: Export, path: Path) -> None:
    """Write LXMERT's ten columns, without a header as the tools of the family expect it.

    A header and an eleventh column are there where the scores by which regions are sorted are not those of the objects:
    such a file is read by their names.
    """
    columns = ["img_id", "img_h", "img_w", *list(SIDE)[:4], "num_boxes", "boxes", "features"]
    if not all(np.array_equal(arrays["scores"], arrays["object_scores"]) for _, _, arrays in what.samples()):
        columns.append("scores")
    quiet = Export(what.store, what.first)  # counted above
    with path.open("w", encoding="utf-8", newline="\n") as file:
        if "scores" in columns:
            file.write("\t".join(columns) + "\n")
        for id, _, size, arrays in _images(quiet):
            cells: dict[str, Any] = {
                "img_id": id,
                "img_w": size[0],
                "img_h": size[1],
                "num_boxes": len(arrays["boxes"]),
            }
            cells |= {name: _code(arrays[ours].astype(dtype)) for name, (ours, dtype) in SIDE.items()}
            cells |= {"boxes": _code(arrays["boxes"]), "features": _code(arrays["regions"].astype("<f4"))}
            file.write("\t".join(str(cells[name]) for name in columns) + "\n")


def _images(what: Export) -> Iterator[tuple[str, str, tuple[int, int], Arrays]]:
    """Yield the id, digest, size and arrays of each image."""
    rows = what.table()
    for id, sha256, arrays in what.samples():
        yield id, sha256, (int(rows[id]["width"]), int(rows[id]["height"])), arrays


def _code(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
