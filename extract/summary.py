"""What one extraction did, store by store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .data.samples import DataSet, Rejected
from .data.scan import Scan
from .lanes import Lane


@dataclass(frozen=True)
class StoreSummary:
    """What one extraction did to one store."""

    kind: str
    encoder: str
    path: Path
    untrained: bool
    wanted: int
    """Samples that this run was to bring into the store."""
    made: int
    """Samples encoded and committed by this run."""
    reused: int
    """Samples that were there before."""
    left: int
    """Samples not reached, because the run was to stop or only to plan."""
    quarantined: dict[str, str]
    """Sample id -> reason, for the wanted samples that cannot be encoded."""
    unread: list[tuple[str, str]]
    """Samples left for the next run because their files could not be read this time."""

    @classmethod
    def of(cls, lane: Lane) -> StoreSummary:
        """Return what a lane did."""
        writer, wanted = lane.writer, lane.position_of
        quarantined = {
            writer.plan.rows[row][0]: reason for row, reason in writer.quarantined().items() if row in wanted
        }
        return cls(
            kind=lane.kind,
            encoder=lane.encoder.spec.name,
            path=writer.folder,
            untrained=lane.encoder.spec.untrained,
            wanted=len(wanted),
            made=lane.made,
            reused=len(wanted) - lane.made - lane.left - len(quarantined) - len(lane.unread),
            left=lane.left,
            quarantined=quarantined,
            unread=lane.unread,
        )


@dataclass(frozen=True)
class Summary:
    """What one extraction did."""

    dataset: DataSet
    folder: Path
    scan: Scan
    stores: list[StoreSummary]
    stopped: bool
    """Whether it was told to stop before the end."""
    seconds: float

    @property
    def rejected(self) -> list[Rejected]:
        """Pairs that cannot be used, of the table and of the files."""
        return self.dataset.rejected + self.scan.rejected

    @property
    def unread(self) -> int:
        """How many samples are left for the next run, each counted once, whatever the number of its features."""
        return len({row.id for row in self.scan.unread} | {id for store in self.stores for id, _ in store.unread})

    @property
    def left(self) -> int:
        """How many features were not reached."""
        return sum(store.left for store in self.stores)
