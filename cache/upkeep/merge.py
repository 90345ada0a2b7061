"""Merging stores of the same features, made in several places, into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ... import disk
from ...errors import CacheError
from ..format import quarantine
from ..format.manifest import NAME, committed_rows, read_manifest
from ..format.plan import RowKey, StorePlan
from ..format.sealed_json import DamagedError, read_bytes, write_error
from ..format.shard_read import Shard, unpack
from ..store import Arrays
from ..writer import StoreWriter, check_planned
from .verify import misplaced

TABLE = ("samples.jsonl", "quarantine.jsonl", "dataset.json")
"""The files of a data set's own table, beside its stores; `dataset.json` last."""


@dataclass
class MergeResult:
    """The result of a merge."""

    folder: Path
    taken: dict[Path, int] = field(default_factory=dict)
    """The number of rows that came from each source."""
    held_before: int = 0
    """The number of merged rows that the target held before."""
    rows: int = 0
    """The number of rows that the target holds now."""


class _MergeSource:
    """A store to take rows from; it needs no manifest, so an unfinished one is accepted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = StorePlan.read(folder)
        self.manifest: dict[str, Any] = read_manifest(folder) if (folder / NAME).exists() else {}
        self._opened = ""
        self._samples: list[Arrays] = []
        self._rows = committed_rows(folder, self.plan.fingerprint)
        self.places = {row: (name, i) for name, rows in self._rows.items() for i, row in enumerate(rows.tolist())}
        """The shard of each committed row, and its place in it."""
        self.plan.refresh()  # after the shards were listed: a writer may have planned and made more meanwhile
        check_planned(self.plan, self.places)

    def sample(self, row: int) -> Arrays:
        """Return the arrays of one row, as `StoreWriter.commit` expects them."""
        name, place = self.places[row]
        if self._opened != name:
            self._opened, self._samples = name, self._read(self.folder / name)
        return self._samples[place]

    def _read(self, path: Path) -> list[Arrays]:
        """Return the samples of a shard after checking it: a merge never spreads damage."""
        shard = Shard(path, self.plan.fingerprint)
        if damaged := shard.damage():
            raise DamagedError(path, f"{', '.join(damaged)} do not match their checksums")
        rows = self._rows[path.name]
        if not np.array_equal(shard.rows, rows) or misplaced(shard, rows, self.plan) is not None:
            raise DamagedError(path, "it holds other rows than the manifest lists")
        return list(unpack(shard.header.kind, {name: shard.array(name) for name in shard.header.arrays}))


def merge(
    sources: Sequence[Path], parent: Path, advance: Callable[[int, int], None] = lambda done, total: None
) -> MergeResult:
    """Merge the rows of some stores into the store of the same features in a data set's folder.

    Args:
        sources: stores of the same fingerprint; their plans may differ.
        parent: the data set's folder; the store in it is created if it does not exist.
        advance: called with the number of rows done and the total.

    Raises:
        CacheError: sources of different features, a damaged one, or the target cannot be written.
    """
    opened = [_MergeSource(folder) for folder in sources]
    for source in opened[1:]:
        if source.plan.fingerprint != opened[0].plan.fingerprint:
            raise CacheError(
                "only stores of the same features can be merged",
                expected=f"fingerprint {opened[0].plan.fingerprint[:12]}, as in {opened[0].folder}",
                found=f"fingerprint {source.plan.fingerprint[:12]} in {source.folder}",
                next_step=f"`itin cache diff {opened[0].folder} {source.folder}` shows what differs",
            )
    writer = StoreWriter(parent, opened[0].plan.identity)
    if any(source.folder.resolve() == writer.folder.resolve() for source in opened):
        raise CacheError(
            f"{writer.folder} cannot be merged into itself",
            next_step="leave it out of the sources: the target keeps what it holds",
        )
    have: dict[RowKey, tuple[_MergeSource, int]] = {}
    for source in opened:
        for row in sorted(source.places):
            have.setdefault(source.plan.rows[row], (source, row))
    planned = dict.fromkeys(row for source in opened for row in source.plan.rows if row[1])
    numbers = writer.extend(planned, opened[0].plan.segments[0].shard_size)
    number_of = dict(zip(planned, numbers, strict=True))
    wanted = {number_of[row]: where for row, where in have.items()}
    writer.release_quarantined(wanted)
    result = MergeResult(writer.folder, {source.folder: 0 for source in opened})
    pieces = writer.missing(wanted)
    total = sum(len(piece.rows) for piece in pieces)
    result.held_before = len(wanted) - total
    done = 0
    for piece in pieces:
        samples = {row: wanted[row][0].sample(wanted[row][1]) for row in piece.rows}
        writer.commit(piece.block, samples)
        for row in piece.rows:
            result.taken[wanted[row][0].folder] += 1
        done += len(piece.rows)
        advance(done, total)
    _quarantine(writer, opened, number_of)
    result.rows = writer.finish(_provenance(opened, writer.folder))["rows"]
    return result


def _quarantine(writer: StoreWriter, sources: Iterable[_MergeSource], number_of: dict[RowKey, int]) -> None:
    """Quarantine in the target what a source has in quarantine and no store holds."""
    present = set(writer.quarantined())
    for source in sources:
        for record in quarantine.read(source.folder, source.plan.fingerprint):
            number = number_of.get((record.id, record.sha256))
            if number is not None and number not in present and writer.missing([number]):
                writer.quarantine(number, record.reason)


def _provenance(sources: Sequence[_MergeSource], target: Path) -> dict[str, Any]:
    """Return the provenance of the target or of the first source that has one, with the names of all sources."""
    manifests = [read_manifest(target)] if (target / NAME).exists() else []
    manifests += [source.manifest for source in sources if source.manifest]
    first = manifests[0]["provenance"] if manifests else {}
    merged = [*first.get("merged", []), *(str(source.folder.resolve()) for source in sources)]
    return {**first, "merged": list(dict.fromkeys(merged))}


def copy_table(source: Path, target: Path) -> bool:
    """Copy a data set's table and built tokenizer unless the target has them; return whether the table was copied."""
    if (tokenizer := source / "tokenizer.json").exists() and not (target / "tokenizer.json").exists():
        disk.create(target / "tokenizer.json", read_bytes(tokenizer), write_error)
    if (target / "dataset.json").exists() or not (source / "dataset.json").exists():
        return False
    for name in TABLE:
        if (source / name).exists():
            disk.replace(target / name, read_bytes(source / name), write_error)
    return True
