"""Filling a store: missing rows, committed shards, quarantine, and the manifest that makes it readable."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import disk
from ..errors import CacheError
from .format import quarantine
from .format.manifest import (
    ShardEntry,
    block_and_piece,
    committed_rows,
    entry_of,
    shard_path,
    shard_sizes,
    write_manifest,
)
from .format.plan import RowKey, StorePlan
from .format.replan import plan_again
from .format.schema import fingerprint_of, store_name
from .format.sealed_json import repair_advice, write_error
from .format.shard_header import header_of
from .format.shard_read import Shard
from .format.shard_write import pack, seal, to_stored, unsealed


@dataclass(frozen=True)
class Piece:
    """The rows of one block that are neither in a shard nor in quarantine, to be committed as one shard."""

    block: int
    rows: tuple[int, ...]


def check_planned(plan: StorePlan, rows: Iterable[int]) -> None:
    """Raise CacheError unless a plan names all of these rows."""
    if (beyond := max(rows, default=-1)) >= len(plan.rows):
        raise CacheError(
            f"{plan.folder} holds row {beyond}, and its plan names only {len(plan.rows)} rows",
            next_step=repair_advice(plan.folder),
        )


class StoreWriter:
    """A writer that adds features to one store. Any number may work on it at once: a race only wastes work.

    Args:
        parent: the data set's folder in the cache.
        identity: encoder, weights, preprocessing, dims and dtype; it decides the store's folder name.

    Raises:
        CacheError: the store cannot be read or made, or its plan is damaged.
    """

    def __init__(self, parent: Path, identity: dict[str, Any]) -> None:
        self.identity = identity
        self.kind: str = identity["kind"]
        self.fingerprint = fingerprint_of(identity)
        self.folder = parent / store_name(identity)
        disk.make_folder(self.folder, write_error)
        shards = shard_sizes(self.folder)  # listed before looking for the plan, which is written first
        planned = (self.folder / "plan.json").exists()
        if shards and not planned:
            plan_again(self.folder, identity)
        self.plan = (
            StorePlan.read(self.folder, self.fingerprint) if shards or planned else StorePlan(self.folder, identity)
        )
        self._beyond = [name for name in shards if self._is_beyond(name)]
        self._last_piece: dict[int, int] = {}
        self._committed: dict[str, ShardEntry] = {}

    @property
    def shard_size(self) -> int:
        """The largest number of rows of a shard; 1 while nothing is planned."""
        return max((segment.shard_size for segment in self.plan.segments), default=1)

    def extend(self, rows: Iterable[RowKey], shard_size: int) -> list[int]:
        """Plan the rows that are not planned yet, and return the numbers of all, in order.

        Raises:
            CacheError: shards hold rows behind those that are planned: the end of the plan is lost.
        """
        self._check_whole()
        return self.plan.extend(rows, shard_size)

    def extend_by_unit(self, units: Iterable[Iterable[RowKey]], shard_size: int) -> np.ndarray:
        """Plan the rows that are not planned yet, those of one unit in one segment, and return the numbers of all.

        A unit (an archive, a row group) with fewer new rows than a shard shares a segment with those after it, as a
        whole: what takes whole segments takes whole units.

        Args:
            units: the rows of each.
            shard_size: rows per shard, for the new rows.

        Returns:
            (N,) int64, in order.
        """
        self._check_whole()
        numbers, places = array("q"), array("q")
        new: list[RowKey] = []

        def plan() -> None:
            for place, row in zip(places, self.plan.extend(new, shard_size), strict=True):
                numbers[place] = row
            new.clear()
            del places[:]

        for unit in units:
            keys = list(unit)
            for key, row in zip(keys, self.plan.find(*map(list, zip(*keys, strict=True))) if keys else (), strict=True):
                if row < 0:
                    places.append(len(numbers))
                    new.append(key)
                numbers.append(row)
            if len(new) >= shard_size:
                plan()
        if new:
            plan()
        self.plan.index.clear()
        return np.array(numbers, np.int64)

    def _is_beyond(self, name: str) -> bool:
        """Return whether a shard holds rows behind those that are planned; one that cannot be read is met later."""
        if block_and_piece(name)[0] < self.plan.blocks:
            return False
        with contextlib.suppress(CacheError):
            return bool((Shard(self.folder / name, self.fingerprint).rows >= len(self.plan.rows)).any())
        return False

    def _check_whole(self) -> None:
        """New rows would get the numbers of those in shards that the plan does not name."""
        if self._beyond:
            raise CacheError(
                f"{self.folder / self._beyond[0]} holds rows that the plan does not name",
                next_step=repair_advice(self.folder),
            )

    def left(self, rows: np.ndarray) -> np.ndarray:
        """Return which of the rows (N,) are neither committed nor in quarantine, (N,) bool."""
        left: np.ndarray = ~self._done()[rows]
        return left

    def missing(self, rows: Iterable[int]) -> list[Piece]:
        """Return the given rows that are neither committed nor in quarantine, block by block."""
        numbers = np.fromiter(rows, dtype=np.int64)
        done = self._done()
        wanted = np.zeros(len(done), bool)
        wanted[numbers] = True
        left = np.flatnonzero(wanted & ~done)
        if not len(left):
            return []
        blocks, starts = np.unique(self.plan.blocks_of(left), return_index=True)
        members = np.split(left, starts[1:])
        return [Piece(block, tuple(part.tolist())) for block, part in zip(blocks.tolist(), members, strict=True)]

    def _done(self) -> np.ndarray:
        """Return which rows of the plan are committed or in quarantine, (N,) bool."""
        committed = committed_rows(self.folder, self.fingerprint)
        held = [*committed.values(), np.array(list(self.quarantined()), np.int64)]
        beyond = max((int(numbers.max()) for numbers in held if len(numbers)), default=-1)
        if beyond >= len(self.plan.rows):
            self.plan.refresh()  # another writer has planned more rows
        check_planned(self.plan, [beyond])
        done = np.zeros(len(self.plan.rows), bool)
        for numbers in held:
            done[numbers] = True
        for name in committed:
            block, piece = block_and_piece(name)
            self._last_piece[block] = max(piece, self._last_piece.get(block, 0))
        return done

    def stored(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return one sample's arrays cast to the store's dtype.

        Raises:
            FeatureError: a value that is not finite or does not fit.
        """
        return to_stored(self.kind, sample, self.identity["dtype"], self.identity["dims"])

    def commit(self, block: int, samples: Mapping[int, Mapping[str, np.ndarray]]) -> int:
        """Commit rows of one block (row number -> arrays from `stored`) as one shard; return how many were new.

        Rows that another writer committed in the meantime are dropped: no row is in a store twice.

        Raises:
            CacheError: the shard could not be written; earlier shards are unchanged.
        """
        remaining = dict(samples)
        while remaining:
            committed, free = self._pieces(block)
            done = self._rows_of(committed)
            remaining = {row: sample for row, sample in sorted(remaining.items()) if row not in done}
            if remaining and (entry := self._create(free, remaining)) is not None:
                self._committed[free.name] = entry
                return len(remaining)
        return 0

    def committed(self, block: int) -> set[int]:
        """Return the rows of a block that are in shards now, whichever writer made them."""
        return self._rows_of(self._pieces(block)[0])

    def _rows_of(self, shards: Iterable[Path]) -> set[int]:
        return {row for path in shards for row in Shard(path, self.fingerprint).rows.tolist()}

    def _pieces(self, block: int) -> tuple[list[Path], Path]:
        """Return the committed pieces of a block, and the lowest free name.

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
        """Record that a row cannot be encoded, and why."""
        quarantine.put(self.folder, self.fingerprint, row, self.plan.rows[row], reason)

    def quarantined(self) -> dict[int, str]:
        """Return the reason for each row in quarantine, by row number."""
        return {record.row: record.reason for record in quarantine.read(self.folder, self.fingerprint)}

    def release_quarantined(self, rows: Iterable[int]) -> None:
        """Take rows out of quarantine, so that they are tried again."""
        quarantine.release(self.folder, rows)

    def finish(self, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Write the manifest of everything that is committed, and return it."""
        for folder in (self.folder, self.folder / quarantine.FOLDER):
            disk.remove_stale(folder)
        return write_manifest(self.plan, self.quarantined(), provenance, self._committed.values())

    def _create(self, path: Path, samples: Mapping[int, Mapping[str, np.ndarray]]) -> ShardEntry | None:
        """Commit a shard, and return its entry for the manifest; None where the name is taken.

        It is written while a thread takes the digests that its header holds, and synced while that takes the file's.
        """
        rows: Sequence[int] = list(samples)
        arrays = pack(self.kind, list(samples.values()), self.identity["dims"].get("max_regions", 0))
        ids, digests = zip(*(self.plan.rows[row] for row in rows), strict=True)
        data, header = unsealed(self.kind, self.fingerprint, rows, ids, digests, arrays)
        del arrays
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:
            sealed = beside.submit(seal, data, header)
            digest = beside.submit(hashlib.sha256, data)

            def write(file: BinaryIO) -> None:
                view = memoryview(data)
                file.seek(header.header)
                file.write(view[header.header :])
                sealed.result()
                file.seek(0)
                file.write(view[: header.header])

            new = disk.create(path, write, write_error)
        return entry_of(path, header_of(path, data), digest.result().hexdigest()) if new else None
