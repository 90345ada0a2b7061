"""Checking a store: every byte of every file, and that the files agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ... import disk
from ...errors import CacheError
from ..format import quarantine
from ..format.manifest import NAME, ShardEntry, block_and_piece, in_threads, listed_shards, read_manifest, shard_sizes
from ..format.plan import StorePlan, segment_files, segment_path
from ..format.schema import fingerprint_of, store_name
from ..format.sealed_json import DamagedError, digest_of, read_bytes, read_json
from ..format.shard_header import header_of
from ..format.shard_read import Shard

Where = Literal["plan", "manifest", "shard", "quarantine", "folder"]


@dataclass(frozen=True)
class Problem:
    """One problem of a store."""

    where: Where
    path: Path
    what: str
    """A sentence that names the file."""
    remove: bool = False
    """Whether the file must be removed; else the files that refer to it are rewritten."""
    alone: bool = False
    """Whether the file may be whole: a later itin has written it, or it cannot be read now."""


@dataclass
class Verification:
    """The result of checking one store."""

    folder: Path
    shards: int = 0
    rows: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether nothing in the store may be removed or rewritten, for a file of it that is needed may be whole."""
        return any(problem.alone for problem in self.problems)


def verify(folder: Path, advance: Callable[[int], None] = lambda count: None) -> Verification:
    """Check one store.

    Args:
        folder: the store.
        advance: called with 1 for every shard that was read.

    Raises:
        CacheError: the folder cannot be listed.
    """
    report = Verification(folder)
    sizes = shard_sizes(folder)
    plan = _plan(report)
    if plan is not None and (shard := _behind(plan, sizes)) is not None:
        lost = segment_path(folder, len(plan.segments))
        report.problems.append(Problem("plan", lost, f"{lost} is missing: {shard} holds rows that it named"))
    manifest = _manifest(report, plan)
    listed = listed_shards(manifest) if manifest else {}
    fingerprint = plan.fingerprint if plan else manifest["fingerprint"] if manifest else None
    for name in [name for name in listed if name not in sizes]:
        report.problems.append(Problem("shard", folder / name, f"{folder / name} is missing"))
    _foreign_names(report)
    if any(problem.where == "plan" for problem in report.problems):
        plan = None  # a damaged plan says nothing about the shards
    _shards(report, sizes, listed, plan, fingerprint, advance)
    _quarantine(report, plan, fingerprint)
    return report


def _plan(report: Verification) -> StorePlan | None:
    folder = report.folder
    present = segment_files(folder)
    expected = [segment_path(folder, number) for number in range(max(len(present), 1))]
    for path in dict.fromkeys([*expected, *present]):
        try:
            read_json(path)
        except CacheError as error:
            report.problems.append(Problem("plan", path, error.what, alone=error.may_be_whole))
    if report.problems:
        return None
    try:
        plan = StorePlan.read(folder)
    except CacheError as error:
        report.problems.append(Problem("plan", folder / "plan.json", error.what, alone=error.may_be_whole))
        return None
    if store_name(plan.identity) != folder.name:
        if folder.name.rpartition("-")[2] in _fingerprints(folder):
            what = f"{folder / 'plan.json'} is foreign: other files are of the features that the folder is named for"
            report.problems.append(Problem("plan", folder / "plan.json", what))
            return None
        what = f"{folder} is named for other features than it holds: rename it to {store_name(plan.identity)}"
        report.problems.append(Problem("folder", folder, what))
    return plan


def _behind(plan: StorePlan, names: Iterable[str]) -> Path | None:
    """Return the first shard behind the plan if it is of its next segment, which is lost; a foreign one is not."""
    try:
        name = next(name for name in names if block_and_piece(name)[0] >= plan.blocks)
        shard = Shard(plan.folder / name, plan.fingerprint)
        follows = block_and_piece(name)[0] == plan.blocks and shard.rows.min() >= len(plan.rows)
        new = max(plan.find(shard.strings("ids"), shard.strings("sha256"))) < 0
        return shard.path if follows and new and not shard.damage() else None
    except (StopIteration, CacheError, LookupError, TypeError, ValueError):
        return None


def _fingerprints(folder: Path) -> set[str]:
    """Return how the fingerprints begin that the manifest and the shards have."""
    found = set()
    for path in [folder / NAME, *(folder / name for name in shard_sizes(folder))]:
        with contextlib.suppress(CacheError):
            value = read_json(path) if path.name == NAME else vars(header_of(path, read_bytes(path)))
            found.add(str(value.get("fingerprint"))[:12])
    return found


def _manifest(report: Verification, plan: StorePlan | None) -> dict[str, Any] | None:
    path = report.folder / NAME
    try:
        manifest = read_manifest(report.folder)
    except CacheError as error:
        report.problems.append(Problem("manifest", path, error.what, True, error.may_be_whole))
        return None
    if manifest["fingerprint"] != (plan.fingerprint if plan else fingerprint_of(manifest["identity"])):
        report.problems.append(Problem("manifest", path, f"{path} belongs to another store", remove=True))
        return None
    known = {segment.file: segment.checksum for segment in plan.segments} if plan else {}
    for segment in manifest["plan"] if plan else []:
        if known.get(segment["file"]) != segment["checksum"]:
            what = f"{path.with_name(segment['file'])} is not the plan that the manifest refers to"
            report.problems.append(Problem("plan", path.with_name(segment["file"]), what))
    return manifest


def _foreign_names(report: Verification) -> None:
    plans = {path.name for path in segment_files(report.folder)}
    for path in sorted(report.folder.iterdir()):
        plan = path.name.startswith("plan") and path.name not in plans
        shard = path.suffix == ".h5" and block_and_piece(path.name)[0] < 0
        if (plan or shard) and not path.name.startswith(disk.TEMPORARY):
            report.problems.append(
                Problem("shard", path, f"{path} is foreign: no file of a store has such a name", True)
            )


def _shards(
    report: Verification,
    sizes: dict[str, int],
    listed: dict[str, ShardEntry],
    plan: StorePlan | None,
    fingerprint: str | None,
    advance: Callable[[int], None],
) -> None:
    """Read every shard, those that the manifest lists first: of two that hold the same row, they take precedence."""
    order = sorted(sizes, key=lambda name: name not in listed)
    checked = in_threads(lambda name: _shard(report.folder / name, fingerprint, listed.get(name), plan), order)
    owner: dict[int, str] = {}
    for name, (rows, wrong, alone) in zip(order, checked, strict=True):
        path = report.folder / name
        report.bytes += sizes[name]
        advance(1)
        if wrong is None and (shared := [row for row in rows.tolist() if row in owner]):
            wrong = f"holds row {shared[0]}, which {owner[shared[0]]} holds too: it is a duplicate"
        if wrong is not None:
            what = wrong if str(path) in wrong else f"{path} {wrong}"
            report.problems.append(Problem("shard", path, what, True, alone))
            continue
        report.shards += 1
        report.rows += len(rows)
        owner |= dict.fromkeys(rows.tolist(), name)
        if listed and name not in listed:
            what = f"{path} is not in the manifest: an extraction is not finished, or is running now"
            report.problems.append(Problem("manifest", path, what))


def _shard(
    path: Path, fingerprint: str | None, listed: ShardEntry | None, plan: StorePlan | None
) -> tuple[np.ndarray, str | None, bool]:
    """Return the rows of a shard, what is wrong with it, if anything, and whether it may be whole all the same."""
    nothing = np.zeros(0, np.int64)
    try:
        return *_rows(path, fingerprint, listed, plan), False
    except DamagedError as error:
        return nothing, f"is damaged: {error.why}", False
    except CacheError as error:
        return nothing, error.what, error.may_be_whole
    except (KeyError, TypeError, ValueError) as error:
        return nothing, f"is damaged: {error}", False


def _rows(
    path: Path, fingerprint: str | None, listed: ShardEntry | None, plan: StorePlan | None
) -> tuple[np.ndarray, str | None]:
    nothing = np.zeros(0, np.int64)
    shard = Shard(path, fingerprint or header_of(path, read_bytes(path)).fingerprint)
    if listed is not None and digest_of(path) != listed.sha256:
        if shard.header.checksum == listed.checksum:
            return nothing, f"is damaged: {_damaged(shard)}"
        return nothing, "is damaged: it is not what the manifest lists"
    if listed is None and shard.damage():
        return nothing, f"is damaged: {_damaged(shard)}"
    rows = shard.rows
    if not np.array_equal(shard.array("rows"), rows):
        return nothing, "contradicts itself: its header names other rows"
    if plan is None:
        return rows, None
    wrong = misplaced(shard, rows, plan)
    if wrong is None and (block := plan.block_of(int(rows[0]))) != block_and_piece(path.name)[0]:
        wrong = f"is foreign: its rows belong to block {block}"
    return rows, wrong


def _damaged(shard: Shard) -> str:
    return ", ".join(shard.damage()) or "its bytes are not those that the manifest lists"


def misplaced(shard: Shard, rows: np.ndarray, plan: StorePlan) -> str | None:
    """Return what is wrong with rows that a shard holds, by the plan, or None; its name is not looked at."""
    if not len(rows) or rows[-1] >= len(plan.rows):
        return "is foreign: it holds rows that the plan does not name"
    blocks = plan.blocks_of(rows)
    if (blocks != blocks[0]).any():
        return "is foreign: its rows belong to several blocks"
    numbers = rows.tolist()
    for name, column in (("ids", plan.rows.ids), ("sha256", plan.rows.sha256)):
        if shard.strings(name) != [column[row] for row in numbers]:
            return "is foreign: it holds other samples than the plan says"
    return None


def _quarantine(report: Verification, plan: StorePlan | None, fingerprint: str | None) -> None:
    try:
        files = quarantine.record_files(report.folder)
    except CacheError as error:
        folder = report.folder / quarantine.FOLDER
        report.problems.append(Problem("quarantine", folder, error.what, alone=True))
        return
    for path in files:
        try:
            record = quarantine.read_record(path, fingerprint)
        except CacheError as error:
            report.problems.append(Problem("quarantine", path, error.what, True, error.may_be_whole))
            continue
        own = record.id, record.sha256
        if plan is not None and (record.row >= len(plan.rows) or plan.rows[record.row] != own):
            what = f"{path} is foreign: row {record.row} is another sample"
            report.problems.append(Problem("quarantine", path, what, remove=True))
