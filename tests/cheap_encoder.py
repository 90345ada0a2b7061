"""Encoders that cost nothing, for tests of what goes on around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from itin.extract.encoders.contract import Arrays, EncoderSpec


class Fake:
    """Means of colours for images, lengths of words for texts; counts what it is asked."""

    batch_size = 3

    def __init__(self, kind: Any, name: str) -> None:
        dims = {"feature": 3, "max_regions": 2} if kind == "regions" else {"feature": 3}
        self.spec = EncoderSpec(kind, name, {"random_init": 0, "sha256": "0" * 64}, {}, dims)
        self.seen = 0
        self.fault: Callable[[list[Any]], None] = lambda batch: None

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image.reshape(-1, 3).mean(0).astype(np.float32)

    def encode(self, batch: list[Any]) -> list[Arrays]:
        self.fault(batch)
        self.seen += len(batch)
        return [self._one(one) for one in batch]

    def words(self, text: str) -> list[str]:
        return text.split()

    def _one(self, one: Any) -> Arrays:
        if self.spec.kind == "context":
            return {"context": one}
        if self.spec.kind == "tokens":
            words = one.split()
            vectors = np.array([[len(word), 0, 0] for word in words], np.float32)
            numbers = np.arange(len(words), dtype=np.int32)
            return {"tokens": vectors, "token_ids": numbers, "word_ids": numbers}
        flat = np.zeros(1, np.float32)
        return {
            "regions": one[None],
            "boxes": np.zeros((1, 4), np.float32),
            "scores": flat,
            "objects": np.full(1, -1, np.int32),
            "object_scores": flat,
            "attributes": np.full(1, -1, np.int32),
            "attribute_scores": flat,
        }
