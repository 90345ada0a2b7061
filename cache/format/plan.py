"""The plan of a store: which sample is in which row, and which rows make one shard.

A row is a sample's id together with the SHA-256 of its input, so that a changed image or text is a new row and an
unchanged one is never computed twice. The plan only grows: its first segment is `plan.json`, samples added later are in
`plan-00001.json` and so on. A segment is written once and never changes, even if several writers race.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import disk
from ...errors import CacheError
from .packed import PackedIndex, PackedStrings
from .schema import FORMAT, fingerprint_of
from .sealed_json import (
    DamagedError,
    check_stamp,
    described,
    from_json,
    read_bytes,
    repair_advice,
    seal_of,
    to_json,
    write_error,
)

RowKey = tuple[str, str]
"""A sample's id and the SHA-256 of its input."""


@dataclass(frozen=True)
class Segment:
    """Rows that were planned together."""

    file: str
    checksum: str
    """The checksum at the end of its file."""
    first_row: int
    count: int
    first_block: int
    shard_size: int

    @property
    def blocks(self) -> int:
        """The number of blocks of at most `shard_size` rows in the segment."""
        return -(-self.count // self.shard_size)


class Rows:
    """The rows of a plan, in order."""

    def __init__(self) -> None:
        self.ids = PackedStrings()
        self.sha256 = PackedStrings()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[RowKey]:
        return zip(self.ids, self.sha256, strict=True)

    def __getitem__(self, number: int) -> RowKey:
        return self.ids[number], self.sha256[number]


class RowIndex:
    """An index of rows by id, or by id and digest. Most ids have one row; only older ones need a pair as key."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._older: dict[RowKey, int] = {}

    def add(self, ids: Iterable[str], sha256: Sequence[str], first: int) -> None:
        """Add rows numbered from `first` on; `sha256` holds the digests of all rows so far, including these."""
        newest = self._newest
        for number, sample in enumerate(ids, first):
            if sample in newest:
                self._older[sample, sha256[newest[sample]]] = newest[sample]
            newest[sample] = number

    def find(self, ids: Iterable[str], digests: Iterable[str] | None, sha256: Sequence[str]) -> list[int]:
        """Return row numbers, -1 where there is none; without digests the newest row of each id."""
        newest, older = self._newest, self._older
        if digests is None:
            return [newest.get(sample, -1) for sample in ids]
        found = []
        for sample, digest in zip(ids, digests, strict=True):
            row = newest.get(sample, -1)
            found.append(row if row < 0 or sha256[row] == digest else older.get((sample, digest), -1))
        return found


class StorePlan:
    """The rows of a store, in order, and the blocks that they are committed in."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity = identity
        self.fingerprint = fingerprint_of(identity)
        self.segments: list[Segment] = []
        self.rows = Rows()
        self.index = PackedIndex(self.rows.ids, self.rows.sha256)

    @classmethod
    def read(cls, folder: Path, fingerprint: str | None = None) -> StorePlan:
        """Read all segments of a store's plan.

        Raises:
            CacheError: no plan, or one that is damaged, of another format or of another fingerprint.
        """
        first = folder / "plan.json"
        data = read_bytes(first)
        value = from_json(first, data)
        with described(first):
            check_stamp(first, value["format"], value["fingerprint"], fingerprint)
            plan = cls(folder, value["identity"])
        check_stamp(first, value["format"], value["fingerprint"], plan.fingerprint)
        plan._add(first, value, seal_of(data))
        plan.refresh()
        for path in segment_files(folder)[len(plan.segments) :]:
            if not (missing := segment_path(folder, len(plan.segments))).exists():
                raise CacheError(f"{missing} is missing though {path.name} exists", next_step=repair_advice(folder))
            plan.refresh()
        return plan

    def refresh(self) -> None:
        """Read the segments that other writers have added."""
        while (path := segment_path(self.folder, len(self.segments))).exists():
            data = read_bytes(path)
            value = from_json(path, data)
            check_stamp(path, value["format"], value.get("fingerprint"), self.fingerprint)
            self._add(path, value, seal_of(data))

    def extend(self, rows: Iterable[RowKey], shard_size: int) -> list[int]:
        """Plan the rows that are not planned yet, and return the numbers of all, in order.

        Args:
            rows: sample ids with the SHA-256 of their inputs; those already planned keep their numbers.
            shard_size: rows per shard, for the new rows.
        """
        ids, digests = [], []
        for sample, digest in rows:
            ids.append(sample)
            digests.append(digest)
        while -1 in (found := self.find(ids, digests)):
            absent = [i for i, row in enumerate(found) if row < 0]
            new: dict[RowKey, int] = {}
            for i in absent:
                new.setdefault((ids[i], digests[i]), len(self.rows) + len(new))
            segment = {
                "format": FORMAT,
                "fingerprint": self.fingerprint,
                "identity": self.identity,
                "first_row": len(self.rows),
                "first_block": self.blocks,
                "shard_size": shard_size,
                "ids": [sample for sample, _ in new],
                "sha256": [digest for _, digest in new],
            }
            data = to_json(segment)
            path = segment_path(self.folder, len(self.segments))
            if disk.create(path, data, write_error):
                self._add(path, segment, seal_of(data))
                for i in absent:
                    found[i] = new[ids[i], digests[i]]
                return found
            self.refresh()  # another writer was faster and may have planned the same rows
        return found

    def find(self, ids: Iterable[str], digests: Iterable[str]) -> list[int]:
        """Return row numbers of samples with the digests of their inputs, -1 where they are not planned."""
        return self.index.find(list(ids), list(digests))

    @property
    def blocks(self) -> int:
        """The number of blocks in all segments."""
        return self.segments[-1].first_block + self.segments[-1].blocks if self.segments else 0

    def block_of(self, row: int) -> int:
        """Return the block that a row belongs to."""
        return int(self.blocks_of(np.array([row]))[0])

    def blocks_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the blocks (N,) that rows (N,) belong to."""
        firsts, blocks, sizes = (
            np.array([getattr(segment, name) for segment in self.segments], np.int64)
            for name in ("first_row", "first_block", "shard_size")
        )
        segment = np.searchsorted(firsts, rows, side="right") - 1
        found: np.ndarray = blocks[segment] + (rows - firsts[segment]) // sizes[segment]
        return found

    def pieces_of(self, blocks: np.ndarray, whole: bool) -> np.ndarray:
        """Return the numbers of the pieces (N,) of which a part takes every N-th: blocks, or the segments they are in.

        Args:
            blocks: (N,) int64.
            whole: whether parts take whole segments, each the rows of whole archives or row groups.
        """
        if not whole:
            return blocks
        firsts = np.array([segment.first_block for segment in self.segments], np.int64)
        found: np.ndarray = np.searchsorted(firsts, blocks, side="right") - 1
        return found

    def _add(self, path: Path, value: dict[str, Any], checksum: str) -> None:
        """Append one segment."""
        with described(path):
            ids, digests, size = value["ids"], value["sha256"], int(value["shard_size"])
            "".join(ids), "".join(digests), value["first_row"], value["first_block"]
            if size < 1:
                raise ValueError(f"shards of {size} rows")
        if value["first_row"] != len(self.rows) or value["first_block"] != self.blocks or len(ids) != len(digests):
            raise DamagedError(path, "it does not continue where the plan before it ends")
        self.segments.append(Segment(path.name, checksum, len(self.rows), len(ids), self.blocks, size))
        self.rows.ids.extend(ids)
        self.rows.sha256.extend(digests)


def segment_path(folder: Path, segment: int) -> Path:
    """Return the file of a segment: `plan.json`, `plan-00001.json`, ..."""
    return folder / (f"plan-{segment:05d}.json" if segment else "plan.json")


def segment_files(folder: Path) -> list[Path]:
    """Return the files of all existing segments, in order."""
    found = {int(path.stem.removeprefix("plan-")): path for path in folder.glob("plan-[0-9]*.json")}
    if (folder / "plan.json").exists():
        found[0] = folder / "plan.json"
    return [found[number] for number in sorted(found)]
