"""Filling a store: what is missing, committing shards, quarantine, and the manifest that makes it readable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import files
from .manifest import block_and_piece, shard_entries, shard_path, write_manifest
from .plan import Plan, Row
from .schema import FORMAT, fingerprint_of, store_name
from .shard import pack, shard_bytes, to_stored


@dataclass(frozen=True)
class Piece:
    """The rows of one block that are neither in a shard nor in quarantine; committed as one shard."""

    block: int
    rows: tuple[int, ...]


class StoreWriter:
    """Adds features to one store. Any number of writers may work on a store at once: a race only wastes work.

    Args:
        parent: the data set's folder in the cache.
        identity: encoder, weights, preprocessing, dims and dtype; it decides the store's folder name.
    """

    def __init__(self, parent: Path, identity: dict[str, Any]) -> None:
        self.identity = identity
        self.kind: str = identity["kind"]
        self.fingerprint = fingerprint_of(identity)
        self.folder = parent / store_name(identity)
        files.make_folder(self.folder)
        if (self.folder / "plan.json").exists():
            self.plan = Plan.read(self.folder, self.fingerprint)
        else:
            self.plan = Plan(self.folder, identity)
        self._last_piece: dict[int, int] = {}

    def extend(self, rows: Iterable[Row], shard_size: int) -> list[int]:
        """Plans the rows that are not planned yet, and returns the numbers of all, in order."""
        return self.plan.extend(rows, shard_size)

    def missing(self, rows: Iterable[int]) -> list[Piece]:
        """The given rows that are not done, block by block; what is committed or quarantined is left out."""
        done = set(self.quarantined())
        for entry in shard_entries(self.folder, self.fingerprint):
            done.update(entry.rows)
            block, piece = block_and_piece(self.folder / entry.file)
            self._last_piece[block] = max(piece, self._last_piece.get(block, 0))
        blocks: dict[int, list[int]] = {}
        for row in sorted(set(rows) - done):
            blocks.setdefault(self.plan.block_of(row), []).append(row)
        return [Piece(block, tuple(members)) for block, members in sorted(blocks.items())]

    def stored(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One sample's arrays cast to the store's dtype.

        Raises:
            FeatureError: a value that is not finite or does not fit.
        """
        return to_stored(self.kind, sample, self.identity["dtype"], self.identity["dims"])

    def commit(self, block: int, samples: Mapping[int, Mapping[str, np.ndarray]]) -> int:
        """Commits rows of one block (row number -> arrays from `stored`) as one shard; returns how many were new.

        Rows that another writer committed in the meantime are dropped: nothing stands in a store twice.
        """
        remaining = dict(samples)
        while remaining:
            committed, free = self._pieces(block)
            done: set[int] = set()
            for entry in shard_entries(self.folder, self.fingerprint, committed):
                done.update(entry.rows)
            remaining = {row: sample for row, sample in sorted(remaining.items()) if row not in done}
            if remaining and files.create(free, self._shard(remaining)):
                return len(remaining)
        return 0

    def _pieces(self, block: int) -> tuple[list[Path], Path]:
        """The committed pieces of a block, and the lowest free name.

        Every writer takes the lowest free name, so two that saw the same pieces collide, and one that saw fewer finds
        its name taken: no row can be committed by both.
        """
        committed: list[Path] = []
        free: list[Path] = []
        piece = 0
        while not free or piece <= self._last_piece.get(block, -1):
            path = shard_path(self.folder, block, piece)
            (committed if path.exists() else free).append(path)
            piece += 1
        return committed, free[0]

    def quarantine(self, row: int, reason: str) -> None:
        """Records that a row cannot be encoded, and why."""
        sample, digest = self.plan.rows[row]
        record = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "row": row,
            "id": sample,
            "sha256": digest,
            "reason": reason,
        }
        files.make_folder(self.folder / "quarantine")
        files.replace(self.folder / "quarantine" / f"row-{row:08d}.json", files.to_json(record))

    def quarantined(self) -> dict[int, str]:
        """Row number -> reason."""
        found = {}
        for path in sorted((self.folder / "quarantine").glob("row-*.json")):
            record = files.read_json(path, self.fingerprint)
            found[int(record["row"])] = str(record["reason"])
        return found

    def release_quarantined(self, rows: Iterable[int]) -> None:
        """Takes rows out of quarantine, so that they are tried again."""
        for row in rows:
            (self.folder / "quarantine" / f"row-{row:08d}.json").unlink(missing_ok=True)

    def finish(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the manifest over everything that is committed, and returns it."""
        self.plan.refresh()
        for folder in (self.folder, self.folder / "quarantine"):
            files.remove_stale(folder)
        return write_manifest(self.plan, self.quarantined(), provenance)

    def _shard(self, samples: Mapping[int, Mapping[str, np.ndarray]]) -> bytes:
        rows: Sequence[int] = list(samples)
        arrays = pack(self.kind, list(samples.values()), self.identity["dims"].get("max_regions", 0))
        ids = [self.plan.rows[row][0] for row in rows]
        digests = [self.plan.rows[row][1] for row in rows]
        return shard_bytes(self.kind, self.fingerprint, rows, ids, digests, arrays)
