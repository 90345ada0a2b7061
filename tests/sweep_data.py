"""A small cache of a made-up data set, for tests of what trains on one: real stores, small features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itin.cache import StoreWriter
from itin.cache.table import write_table
from itin.labels import LABELS

DIMS = {"regions": 6, "tokens": 5, "context": 4}
MAX_REGIONS = 3


def arrays(kind: str, i: int, label: int) -> dict[str, np.ndarray]:
    """Features of a sample that speak of its label, faintly."""
    rng = np.random.default_rng([i, len(kind)])
    hint = np.eye(3)[label]
    if kind == "context":
        return {"context": np.append(rng.normal(size=3) + hint, 1).astype(np.float32)}
    if kind == "tokens":
        n = 3 + i % 4
        words = np.arange(-1, n - 1)
        words[-1] = -1
        tokens = rng.normal(size=(n, 5))
        tokens[:, :3] += 2 * hint
        return {
            "tokens": tokens.astype(np.float32),
            "token_ids": np.arange(5, 5 + n, dtype=np.int32),
            "word_ids": words.astype(np.int32),
        }
    k = i % (MAX_REGIONS + 1)
    return {
        "regions": rng.normal(size=(k, 6)).astype(np.float32),
        "boxes": np.tile(np.array([0, 0, 9, 9], np.float32), (k, 1)),
        "scores": np.linspace(0.9, 0.5, k).astype(np.float32),
        "objects": np.zeros(k, np.int32),
        "object_scores": np.full(k, 0.5, np.float32),
        "attributes": np.zeros(k, np.int32),
        "attribute_scores": np.full(k, 0.5, np.float32),
    }


def make_cache(root: Path, n: int = 60, name: str = "planted") -> Path:
    """Make a cache folder with one data set and a store of each kind; returns the cache folder."""
    folder = root / name
    ids = [f"s{i}" for i in range(n)]
    labels = [(i * 7 // 3) % 3 for i in range(n)]
    samples = [
        {
            "id": sample,
            "label": LABELS[label],
            "text": f"text {sample}",
            "image": f"/images/{sample}.jpg",
            "image_sha256": f"{i:064x}",
            "text_sha256": f"{i + n:064x}",
        }
        for i, (sample, label) in enumerate(zip(ids, labels, strict=True))
    ]
    write_table(folder, {"name": name, "root": "/images"}, samples, [])
    for kind, size in DIMS.items():
        dims = {"feature": size, "max_regions": MAX_REGIONS} if kind == "regions" else {"feature": size}
        identity: dict[str, Any] = {
            "kind": kind,
            "name": "test",
            "weights": {"sha256": "ab" * 32},
            "preprocessing": {},
            "dims": dims,
            "dtype": "float16",
        }
        writer = StoreWriter(folder, identity)
        digest = "text_sha256" if kind == "tokens" else "image_sha256"
        rows = writer.extend([(row["id"], row[digest]) for row in samples], shard_size=32)
        for piece in writer.missing(rows):
            numbers = [ids.index(writer.plan.rows[row][0]) for row in piece.rows]
            made = {row: writer.stored(arrays(kind, i, labels[i])) for row, i in zip(piece.rows, numbers, strict=True)}
            writer.commit(piece.block, made)
        writer.finish({})
    return root
