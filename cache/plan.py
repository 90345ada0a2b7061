"""The plan of a store: which sample stands in which row, and which rows make one shard.

A row is a sample's id together with the SHA-256 of its input, so that a changed image or text is a new row and an
unchanged one is never computed twice. The plan only grows: its first segment is `plan.json`, samples that come later
stand in `plan-00001.json` and so on. A segment is written once and never changes, whoever races.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .schema import FORMAT, fingerprint_of

Row = tuple[str, str]
"""Sample id and SHA-256 of its input."""


@dataclass(frozen=True)
class Segment:
    """Some rows that were planned together."""

    first_row: int
    first_block: int
    shard_size: int
    rows: list[Row]

    @property
    def blocks(self) -> int:
        """How many blocks of at most `shard_size` rows the segment has."""
        return -(-len(self.rows) // self.shard_size)


class Plan:
    """The rows of a store, in order, and the blocks that they are committed in."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity = identity
        self.fingerprint = fingerprint_of(identity)
        self.segments: list[Segment] = []
        self.rows: list[Row] = []
        self._row_of: dict[Row, int] = {}

    @classmethod
    def read(cls, folder: Path, fingerprint: str | None = None) -> Plan:
        """Reads all segments of a store's plan.

        Raises:
            CacheError: no plan, or one of another format or fingerprint.
        """
        first = files.read_json(folder / "plan.json", fingerprint)
        plan = cls(folder, first["identity"])
        files.check_stamp(folder / "plan.json", first["format"], first["fingerprint"], plan.fingerprint)
        plan._add(first)
        plan.refresh()
        return plan

    def refresh(self) -> None:
        """Takes in the segments that others have added since."""
        while (path := self._path(len(self.segments))).exists():
            self._add(files.read_json(path, self.fingerprint))

    def extend(self, rows: Iterable[Row], shard_size: int) -> list[int]:
        """Makes sure that every row is planned, and returns their numbers, in order.

        Args:
            rows: sample ids with the SHA-256 of their inputs; those that are planned already keep their numbers.
            shard_size: rows a shard, for the rows that are new.
        """
        wanted = list(rows)
        while new := list(dict.fromkeys(row for row in wanted if row not in self._row_of)):
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
            files.create(self._path(len(self.segments)), files.to_json(segment))
            self.refresh()  # ours, or the segment of a writer who was faster
        return [self._row_of[row] for row in wanted]

    @property
    def blocks(self) -> int:
        """The number of blocks in all segments."""
        return self.segments[-1].first_block + self.segments[-1].blocks if self.segments else 0

    def block_of(self, row: int) -> int:
        """The block that a row belongs to."""
        segment = self.segments[bisect_right(self.segments, row, key=lambda segment: segment.first_row) - 1]
        return segment.first_block + (row - segment.first_row) // segment.shard_size

    def _path(self, segment: int) -> Path:
        return self.folder / (f"plan-{segment:05d}.json" if segment else "plan.json")

    def _add(self, value: dict[str, Any]) -> None:
        rows = list(zip(value["ids"], value["sha256"], strict=True))
        self.segments.append(Segment(value["first_row"], value["first_block"], value["shard_size"], rows))
        for row in rows:
            self._row_of[row] = len(self.rows)
            self.rows.append(row)
