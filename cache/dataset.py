"""A store as PyTorch takes data: a map-style dataset of samples, and an iterable of batches for many workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ..parts import Part
from .format.schema import KINDS
from .rows import RowReader
from .store import Arrays, Store

BLOCK_BYTES = 4 << 20
"""Bytes of features that are read at once, in as many batches as that is."""

Sample = dict[str, Any]
"""The id, and a tensor for each array."""


class StoreDataset(Dataset[Sample]):
    """The samples of a store by number: `{"id": "4066", "regions": (k, 2048), "boxes": (k, 4), ...}`, without padding.

    With `torch.utils.data.DataLoader` regions and tokens need a `collate_fn` that pads or packs them; `StoreBatches`
    packs them while it reads, and is faster.

    Args:
        store: the store.
        first: the number of regions to keep of each image; all by default.
    """

    def __init__(self, store: Store, first: int | None = None) -> None:
        self.store = store
        self._read = RowReader(store, first)
        self._ids = store.ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, number: int) -> Sample:
        arrays = self._read(number if number >= 0 else number + len(self._ids))
        sample: Sample = {name: torch.from_numpy(array) for name, array in arrays.items()}
        sample["id"] = self._ids[number]
        return sample


class StoreBatches(IterableDataset[Sample]):
    """The samples of a store in batches, each on one worker: `DataLoader(batches, batch_size=None, num_workers=4)`.

    A batch holds `ids`, and the arrays as `Store.packed` has them: regions `(B, M, ...)` with `counts (B,)`; tokens
    `(T, ...)` with `offsets (B + 1,)`; vectors `(B, D)`. The workers of all parts share the batches evenly.

    Args:
        store: the store.
        batch_size: samples in a batch; the last one may have fewer.
        first: the number of regions to keep of each image; all by default.
        rows: row numbers (N,) in the order wanted; all by default.
        shuffle: the seed of the order, another one in each epoch; None for the order of `rows`.
        drop_last: whether to leave out a last batch that is not full.
        part: which part of the batches these are, of those that several processes share.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int = 64,
        *,
        first: int | None = None,
        rows: Sequence[int] | np.ndarray | None = None,
        shuffle: int | None = None,
        drop_last: bool = False,
        part: Part = Part(0, 1),  # noqa: B008  (immutable)
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        self.store, self.batch_size, self.first = store, batch_size, first
        self.rows = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
        self.shuffle, self.drop_last, self.part, self.epoch = shuffle, drop_last, part, 0

    def __len__(self) -> int:
        """Return the number of batches of this part."""
        return len(range(self.part.index, self._batches, self.part.count))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; every worker must be told before it starts."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        order = self.rows
        if self.shuffle is not None:
            order = np.random.default_rng([self.shuffle, self.epoch]).permutation(order)
        worker = get_worker_info()
        part = self.part if worker is None else self.part.split(worker.num_workers)[worker.id]
        own, at_once = range(part.index, self._batches, part.count), self._at_once
        for begin in range(0, len(own), at_once):
            some = [self._rows_of(order, batch) for batch in own[begin : begin + at_once]]
            yield from self._read(some, worker is not None)

    def _read(self, batches: list[np.ndarray], sent: bool) -> Iterator[Sample]:
        """Read batches by their rows; what one is made of is freed before the next block is read."""
        rows = np.concatenate(batches) if len(batches) > 1 else batches[0]
        block, ids = self.store.packed(rows, self.first), _at(self.store.ids, rows)
        for start, stop in itertools.pairwise(itertools.accumulate(map(len, batches), initial=0)):
            yield _batch(ids[start:stop], block, start, stop, sent)

    @property
    def _batches(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def _at_once(self) -> int:
        """The number of batches that are read at once."""
        dims = self.store.identity["dims"]
        vectors = min(self.first or 1 << 62, dims.get("max_regions", 1)) if self.store.kind == "regions" else 1
        if KINDS[self.store.kind][0].axis == "token":
            vectors = 16
        size = int(vectors) * self.store.feature_dim * np.dtype(self.store.identity["dtype"]).itemsize
        return int(max(1, BLOCK_BYTES // max(1, size * self.batch_size)))

    def _rows_of(self, order: np.ndarray, batch: int) -> np.ndarray:
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]


def _at(ids: list[str], rows: np.ndarray) -> list[str]:
    """Return the ids of some rows, at once where the rows are neighbours."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return ids[int(rows[0]) : int(rows[-1]) + 1]
    return [ids[row] for row in rows.tolist()]


def _batch(ids: list[str], block: Arrays, start: int, stop: int, sent: bool) -> Sample:
    """Return some samples of a block, without a copy but for the offsets.

    Args:
        ids: their ids.
        block: the packed arrays of many samples.
        start: the first sample.
        stop: the one behind the last.
        sent: whether it is sent to another process, where it takes no other samples with it.
    """
    batch: Sample = {"ids": ids}
    arrays = block
    if "offsets" in block:
        offsets = block["offsets"][start : stop + 1]
        start, stop = int(offsets[0]), int(offsets[-1])
        arrays = {name: array for name, array in block.items() if name != "offsets"}
        batch["offsets"] = torch.from_numpy(offsets - start)
    for name, array in arrays.items():
        tensor = torch.from_numpy(array[start:stop])
        batch[name] = tensor.contiguous() if sent else tensor
    return batch
