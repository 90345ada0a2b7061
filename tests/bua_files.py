"""Region features written as the bottom-up-attention ports write them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

DIM = 6


def features(number: int, seed: int = 0) -> dict[str, np.ndarray]:
    """`number` regions with distinct scores that are in no order."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 20, (number, 2)).astype(np.float32)
    return {
        "x": rng.normal(size=(number, DIM)).astype(np.float32),
        "bbox": np.hstack([corners, corners + 5]).astype(np.float32),
        "objects_id": rng.integers(0, 1600, number),
        "objects_conf": rng.permutation(number).astype(np.float32) / 10 + 0.05,
        "attrs_id": rng.integers(0, 400, number),
        "attrs_conf": rng.random(number).astype(np.float32),
    }


def write_npz(path: Path, made: dict[str, np.ndarray], size: tuple[int, int] = (40, 30), info: Any = "all") -> Path:
    """One image's file; `info` is what the pickled member holds, None leaves it out."""
    told = {name: values for name, values in made.items() if name not in ("x", "bbox")}
    members: dict[str, Any] = {
        "x": made["x"],
        "bbox": made["bbox"],
        "num_bbox": len(made["bbox"]),
        "image_h": size[1],
        "image_w": size[0],
    }
    if info is not None:
        members["info"] = np.array(told if isinstance(info, str) else info, dtype=object)
    np.savez_compressed(path, **members)
    return path


def tsv_row(id: str, made: dict[str, np.ndarray], size: tuple[int, int] = (40, 30), lxmert: bool = False) -> str:
    """One row of a file without a header: the original's six columns, or LXMERT's ten."""

    def code(array: np.ndarray) -> str:
        return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

    boxes = [str(len(made["bbox"])), code(made["bbox"]), code(made["x"])]
    if not lxmert:
        return "\t".join([id, str(size[0]), str(size[1]), *boxes])
    told = [code(made[name]) for name in ("objects_id", "objects_conf", "attrs_id", "attrs_conf")]
    return "\t".join([id, str(size[1]), str(size[0]), *told, *boxes])
