"""Reading a store: from sample ids to rows, and from rows to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CacheError
from .manifest import read_manifest
from .schema import KINDS, fingerprint_of
from .shard import Shard


class Store:
    """The features of one kind, made by one encoder; opened from its manifest, read by memory map.

    Raises:
        CacheError: no manifest, a shard that is missing or of another size than the manifest says, or a file of another
            format or fingerprint.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self.identity: dict[str, Any] = self.manifest["identity"]
        self.kind: str = self.identity["kind"]
        self.fingerprint: str = self.manifest["fingerprint"]
        if fingerprint_of(self.identity) != self.fingerprint:
            raise CacheError(
                f"{self.path / 'manifest.json'} contradicts itself: its fingerprint is not that of its identity",
                next_step="move the store away and run `itin extract` again",
            )
        self._shards = [self._open(entry) for entry in self.manifest["shards"]]
        sizes = [len(shard) for shard in self._shards]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.ids = [sample for shard in self._shards for sample in shard.strings("ids")]
        self.sha256 = [digest for shard in self._shards for digest in shard.strings("sha256")]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} x {self.kind} by {self.name})"

    @property
    def name(self) -> str:
        """The encoder's name."""
        return str(self.identity["name"])

    @property
    def untrained(self) -> bool:
        """True when the encoder's weights are random."""
        return "random_init" in self.identity["weights"]

    @property
    def options(self) -> dict[str, Any] | None:
        """The options that the encoder was made with, or None where the features were not made by an encoder here."""
        options: dict[str, Any] | None = self.manifest["provenance"].get("options")
        return options

    @property
    def tokenizer_file(self) -> Path | None:
        """The tokenizer that was built from the data set's texts for this store, if one was."""
        built = self.manifest["provenance"].get("built_tokenizer")
        return self.path.parent / "tokenizer.json" if built else None

    @property
    def feature_dim(self) -> int:
        """The length of one feature vector."""
        return int(self.identity["dims"]["feature"])

    def index(self, ids: Sequence[str], sha256: Sequence[str] | None = None) -> np.ndarray:
        """Row numbers (len(ids),) int64 of samples, -1 where the store has none.

        Args:
            ids: sample ids.
            sha256: digests of the samples' inputs; with them only features of just this input are found, without them
                the newest of an id.
        """
        if sha256 is None:
            newest = {sample: row for row, sample in enumerate(self.ids)}
            found = [newest.get(sample, -1) for sample in ids]
        else:
            exact = {key: row for row, key in enumerate(zip(self.ids, self.sha256, strict=True))}
            found = [exact.get(key, -1) for key in zip(ids, sha256, strict=True)]
        return np.array(found, dtype=np.int64)

    def read(self, name: str, rows: np.ndarray, first: int | None = None) -> np.ndarray:
        """Rows of an array that has one entry a sample, in the order asked for.

        Args:
            name: `regions`, `boxes`, `counts`, `context` and so on; for tokens use `read_ragged`.
            rows: row numbers (N,).
            first: only the first so many regions of each row.

        Returns:
            (N, ...) or (N, first, ...), in the stored dtype.
        """
        rows = np.asarray(rows, dtype=np.int64)
        parts = slice(None) if first is None else slice(first)
        template = self._template(name)[:0]
        out = np.empty((len(rows), *(template[:, parts] if first is not None else template).shape[1:]), template.dtype)
        for shard, positions, local in self._by_shard(rows):
            array = shard.array(name)
            out[positions] = array[local] if first is None else array[:, parts][local]
        return out

    def read_ragged(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Tokens of the given rows, packed in their order.

        Returns:
            `tokens (sum of n, D)`, `token_ids` and `word_ids (sum of n,)`, and `offsets (len(rows) + 1,)` int64.
        """
        rows = np.asarray(rows, dtype=np.int64)
        names = [schema.name for schema in KINDS["tokens"]]
        lengths = np.zeros(len(rows), dtype=np.int64)
        groups = list(self._by_shard(rows))
        for shard, positions, local in groups:
            lengths[positions] = np.diff(shard.offsets)[local]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        out = {}
        for name in names:
            template = self._template(name)
            out[name] = np.empty((int(offsets[-1]), *template.shape[1:]), template.dtype)
        for shard, positions, local in groups:
            source = _spans(shard.offsets[local], lengths[positions])
            target = _spans(offsets[positions], lengths[positions])
            for name in names:
                out[name][target] = shard.array(name)[source]
        return {**out, "offsets": offsets}

    def _template(self, name: str) -> np.ndarray:
        if not self._shards:
            raise CacheError(f"{self.path} is empty", next_step="run the same `itin extract` again")
        return self._shards[0].array(name)

    def _by_shard(self, rows: np.ndarray) -> list[tuple[Shard, np.ndarray, np.ndarray]]:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"row numbers must lie in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}")
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        return [
            (self._shards[owner], positions, rows[positions] - self._starts[owner])
            for owner in np.unique(owners)
            for positions in [np.flatnonzero(owners == owner)]
        ]

    def _open(self, entry: dict[str, Any]) -> Shard:
        path = self.path / entry["file"]
        size = path.stat().st_size if path.exists() else None
        if size != entry["bytes"]:
            raise CacheError(
                f"{path} is not what the manifest says",
                expected=f"{entry['bytes']} bytes",
                found="no such file" if size is None else f"{size} bytes",
                next_step="remove it if it is there and run the same `itin extract` again: it makes just this shard",
            )
        return Shard(path, self.fingerprint)


def _spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The indices of several spans, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def open_store(path: str | Path) -> Store:
    """Opens one store, `CACHE/<data set>/<kind>-<encoder>-<fingerprint>`, for reading."""
    return Store(Path(path))


def find_stores(folder: Path, kind: str) -> list[Path]:
    """The stores of one kind in a data set's folder, sorted by name."""
    return sorted(path.parent for path in folder.glob(f"{kind}-*/plan.json"))
