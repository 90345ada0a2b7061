"""A store as a mapping from sample id to its features, for exploring and for your own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .rows import RowReader
from .store import Arrays, Store

if TYPE_CHECKING:
    from .dataset import StoreBatches, StoreDataset


class Samples(Mapping[str, Arrays]):
    """The newest features of each sample, as the encoder returned them, without padding; read on demand.

    `samples["4066"]["regions"]` is (k, 2048) with the k regions that the image has; `tokens` is (n, 768) with the n
    WordPieces of the text; `context` and `scene` are (512,). For many samples at once `read` and
    `read_ragged` are faster.

    Args:
        store: the store that holds them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows = {sample: row for row, sample in enumerate(store.ids)}

    def __getitem__(self, sample: str) -> Arrays:
        return self._read(self._rows[sample])

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, sample: object) -> bool:
        return sample in self._rows

    def __repr__(self) -> str:
        return f"Samples({self.store!r})"

    @cached_property
    def _read(self) -> RowReader:
        return RowReader(self.store)

    def dataset(self, first: int | None = None) -> StoreDataset:
        """Return the samples by number as a `torch.utils.data.Dataset`; see `StoreDataset`."""
        from .dataset import StoreDataset

        return StoreDataset(self.store, first)

    def batches(self, batch_size: int = 64, **options: Any) -> StoreBatches:
        """Return the samples in batches as a `torch.utils.data.IterableDataset`; see `StoreBatches` for the options."""
        from .dataset import StoreBatches

        return StoreBatches(self.store, batch_size, **options)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Return row numbers (len(ids),) int64 for `read` and `read_ragged`.

        Raises:
            KeyError: an id that the store does not hold.
        """
        return np.array([self._rows[sample] for sample in ids], dtype=np.int64)

    def read(self, name: str, ids: Sequence[str], first: int | None = None) -> np.ndarray:
        """Return one packed array of many samples, (N, ...) or (N, first, ...); see `Store.read`."""
        return self.store.read(name, self.rows(ids), first)

    def read_ragged(self, ids: Sequence[str]) -> Arrays:
        """Return the packed tokens of many samples with their offsets; see `Store.read_ragged`."""
        return self.store.read_ragged(self.rows(ids))


def open_samples(path: str | Path) -> Samples:
    """Open a store, `CACHE/<data set>/<kind>-<encoder>-<fingerprint>`, as a mapping; known as `itin.cache.open`."""
    return Samples(Store(Path(path)))
