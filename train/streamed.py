"""Features that are read from their stores batch by batch, for data sets that memory cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK = 128
"""Samples that are read at once where all of them are gone through."""


class StreamedRegions:
    """Stands for an array (N, m, region_dim) that is in a store.

    Args:
        store: of kind `regions`.
        rows: (N,) rows of the store.
        m: regions of an image.
    """

    def __init__(self, store: Any, rows: np.ndarray, m: int) -> None:
        self._store, self._rows = store, rows
        one = store.read("regions", rows[:1], first=m)
        self.shape: tuple[int, ...] = (len(rows), *one.shape[1:])
        self.dtype: np.dtype[Any] = one.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, samples: np.ndarray, m: int | None = None) -> np.ndarray:
        """The first m regions of some samples (B, m, region_dim)."""
        array: np.ndarray = self._store.read("regions", self._rows[samples], first=self.shape[1] if m is None else m)
        return array

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the whole array, some samples at a time."""
        for samples in _blocks(len(self)):
            yield self.take(samples)


class StreamedTokens:
    """Stands for an array (T, token_dim) of words that is in a store.

    Args:
        store: of kind `tokens`.
        rows: (N,) rows of the store.
        keep_special: keep the words with word id -1.
    """

    def __init__(self, store: Any, rows: np.ndarray, keep_special: bool) -> None:
        self._store, self._rows, self._keep_special = store, rows, keep_special
        lengths = [lengths for samples in _blocks(len(rows)) for lengths in [self._read(samples)[1]]]
        self.offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        one, _ = self._read(np.arange(min(1, len(rows))))
        self.shape: tuple[int, ...] = (int(self.offsets[-1]), one.shape[1])
        self.dtype: np.dtype[Any] = one.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, samples: np.ndarray) -> np.ndarray:
        """The words of some samples, one after the other."""
        return self._read(samples)[0]

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the whole array, the words of some samples at a time."""
        for samples in _blocks(len(self._rows)):
            yield self.take(samples)

    def _read(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The words of some samples, and how many each has."""
        words = self._store.read_ragged(self._rows[samples])
        keep = np.ones(len(words["word_ids"]), bool) if self._keep_special else words["word_ids"] != -1
        before = np.concatenate([[0], np.cumsum(keep)])
        return words["tokens"][keep], np.diff(before[words["offsets"]])


def _blocks(n: int) -> Iterator[np.ndarray]:
    for begin in range(0, n, BLOCK):
        yield np.arange(begin, min(begin + BLOCK, n))
