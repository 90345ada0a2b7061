"""A store as a mapping from sample id to its features, for exploring and for your own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from .store import Arrays, Store


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
        return next(self.store.samples(np.array([self._rows[sample]])))

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, sample: object) -> bool:
        return sample in self._rows

    def __repr__(self) -> str:
        return f"Samples({self.store!r})"

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
