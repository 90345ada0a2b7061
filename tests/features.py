"""Small made-up features for tests of the cache and of what reads it."""

from __future__ import annotations

from typing import Any

import numpy as np

DIM = 6
MAX_REGIONS = 4


def identity(kind: str, name: str = "fake", dtype: str = "float32", **preprocessing: Any) -> dict[str, Any]:
    dims = {"feature": DIM, "max_regions": MAX_REGIONS} if kind == "regions" else {"feature": DIM}
    weights = {"file": "weights.bin", "sha256": "ab" * 32}
    return {
        "kind": kind,
        "name": name,
        "weights": weights,
        "preprocessing": preprocessing,
        "dims": dims,
        "dtype": dtype,
    }


def sample(kind: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, ["regions", "tokens", "context"].index(kind)])
    if kind == "context":
        return {"context": rng.normal(size=DIM).astype(np.float32)}
    if kind == "tokens":
        n = int(rng.integers(1, 7))
        return {
            "tokens": rng.normal(size=(n + 2, DIM)).astype(np.float32),
            "token_ids": rng.integers(5, 99, n + 2).astype(np.int32),
            "word_ids": np.array([-1, *range(n), -1], np.int32),
        }
    k = int(rng.integers(0, MAX_REGIONS + 1))
    return {
        "regions": rng.normal(size=(k, DIM)).astype(np.float32),
        "boxes": rng.uniform(0, 100, (k, 4)).astype(np.float32),
        "scores": np.sort(rng.random(k).astype(np.float32))[::-1],
        "objects": rng.integers(0, 1600, k).astype(np.int32),
        "object_scores": rng.random(k).astype(np.float32),
        "attributes": rng.integers(0, 400, k).astype(np.int32),
        "attribute_scores": rng.random(k).astype(np.float32),
    }


def rows(count: int, start: int = 0) -> list[tuple[str, str]]:
    """Sample ids with made-up digests of their inputs."""
    return [(f"id-{i}", f"{i:064x}") for i in range(start, start + count)]
