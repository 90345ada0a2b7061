"""The outcome of one extraction, store by store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .data.samples import DataSet, Rejected
from .data.scan import Scan
from .lanes import Lane


@dataclass(frozen=True)
class StoreSummary:
    """The outcome of one extraction for one store."""

    kind: str
    encoder: str
    path: Path
    untrained: bool
    wanted: int
    """Samples that this run was asked to bring into the store."""
    made: int
    """Samples encoded and committed by this run."""
    reused: int
    """Samples that were there before."""
    left: int
    """Samples not reached, because the run was stopped or only planned."""
    quarantined: dict[str, str]
    """Sample id -> reason, for the wanted samples that cannot be encoded."""
    unread: list[tuple[str, str]]
    """Samples left for the next run because their files could not be read this time."""

    @classmethod
    def of(cls, lane: Lane) -> StoreSummary:
        """Return the summary of a lane."""
        writer, wanted = lane.writer, lane.wanted
        quarantined = {
            writer.plan.rows[row][0]: reason for row, reason in writer.quarantined().items() if lane.has(row)
        }
        return cls(
            kind=lane.kind,
            encoder=lane.encoder.spec.name,
            path=writer.folder,
            untrained=lane.encoder.spec.untrained,
            wanted=wanted,
            made=lane.made,
            reused=wanted - lane.made - lane.left - len(quarantined) - len(lane.unread),
            left=lane.left,
            quarantined=quarantined,
            unread=lane.unread,
        )

    @classmethod
    def of_parts(cls, parts: Sequence[StoreSummary]) -> StoreSummary:
        """Return the summary of one store that several processes filled, from theirs."""
        counts = {name: sum(getattr(one, name) for one in parts) for name in ("wanted", "made", "reused", "left")}
        quarantined = {sample: reason for one in parts for sample, reason in one.quarantined.items()}
        return replace(parts[0], **counts, quarantined=quarantined, unread=[row for one in parts for row in one.unread])


@dataclass(frozen=True)
class Summary:
    """The outcome of one extraction."""

    dataset: DataSet
    folder: Path
    scan: Scan
    stores: list[StoreSummary]
    stopped: bool
    """Whether it was told to stop before the end."""
    seconds: float
    note: str | None = None
    """What the file of `--ids` lists."""

    @property
    def rejected(self) -> list[Rejected]:
        """Pairs that cannot be used, because of the table or of their files."""
        return self.dataset.rejected + self.scan.rejected

    @property
    def unread(self) -> int:
        """Number of samples left for the next run, each counted once, whatever the number of its features."""
        return len(self.unread_reasons)

    @property
    def unread_reasons(self) -> dict[str, str]:
        """The id of each of these samples, and why it could not be read; of an archive its name."""
        found = {id: reason for store in self.stores for id, reason in store.unread}
        return found | {row.id: row.reason for row in self.scan.unread}

    @property
    def left(self) -> int:
        """Number of features not reached."""
        return sum(store.left for store in self.stores)
