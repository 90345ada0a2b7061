"""Repairing a store: damaged files are removed, references to them rewritten; the next extraction does the rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ... import disk
from ...errors import CacheError
from ..format import quarantine
from ..format.manifest import NAME, block_and_piece, shard_path, shard_sizes, write_manifest
from ..format.plan import RowKey, StorePlan, segment_files, segment_path
from ..format.schema import FORMAT, fingerprint_of
from ..format.sealed_json import read_bytes, read_json, write_error, write_json
from ..format.shard_read import Shard
from .verify import Problem, Verification, misplaced


def repair(report: Verification, moved: Callable[[Path, Path], None] = lambda path, home: None) -> list[Path]:
    """Repair what `verify` found in a store, and return the files that were removed.

    A whole shard of the store under a wrong name is never removed: it is moved to a name of its block.

    Args:
        report: the result of `verify`.
        moved: called with the old and the new path of such a shard.

    Raises:
        CacheError: a file cannot be removed or written, no remaining file records what the store holds, or some
            file may be whole though it cannot be read (`Verification.alone`).
    """
    folder = report.folder
    if report.alone:
        (first, *_) = (problem.what for problem in report.problems if problem.alone)
        raise CacheError(f"{folder} is not repaired: {first}", next_step="make the file readable, or update itin")
    removed = [problem.path for problem in report.problems if problem.remove and problem.path.exists()]
    plan_problems = [problem for problem in report.problems if problem.where == "plan"]
    identity = (
        _identity(folder, {problem.path for problem in report.problems if problem.remove}) if plan_problems else None
    )
    manifest = None
    if (folder / NAME).exists() and folder / NAME not in removed:
        manifest = read_json(folder / NAME)
    homes = {} if plan_problems else _homes(folder, {path for path in removed if path.suffix == ".h5"})
    for path, home in homes.items():
        if home != path and disk.create(home, read_bytes(path), write_error):
            moved(path, home)
    removed = [path for path in removed if homes.get(path) != path]
    removed = [path for path in _remove(removed) if path not in homes]
    if plan_problems and identity is not None:
        removed += _repair_plan(folder, identity, plan_problems)
    if manifest is not None and not segment_path(folder, 0).exists():  # nothing that it lists is left
        removed += _remove([folder / NAME])
    elif manifest is not None:
        plan = StorePlan.read(folder)
        records = {record.row: record.reason for record in quarantine.read(folder, plan.fingerprint)}
        write_manifest(plan, records, manifest["provenance"])
    return removed


def _remove(paths: list[Path]) -> list[Path]:
    """Remove files, and return them."""
    for path in paths:
        with disk.writing(path, write_error):
            path.unlink(missing_ok=True)
    return paths


def _homes(folder: Path, suspects: set[Path]) -> dict[Path, Path]:
    """Return where those of some files belong that are whole shards of the store, and hold rows that no other has."""
    plan = StorePlan.read(folder)
    rows = {path: found for path in sorted(suspects) if (found := _whole(path, plan)) is not None}
    if not rows:
        return {}
    sound = [folder / name for name in shard_sizes(folder) if folder / name not in suspects]
    held = {row for path in sound for row in Shard(path, plan.fingerprint).rows.tolist()}
    taken, homes = {path for path in folder.iterdir() if path.suffix == ".h5"}, {}
    for path, found in rows.items():
        if held.isdisjoint(found.tolist()):
            block = plan.block_of(int(found[0]))
            names = (shard_path(folder, block, piece) for piece in itertools.count())
            homes[path] = path if block_and_piece(path.name)[0] == block else next(n for n in names if n not in taken)
            taken.add(homes[path])
            held |= set(found.tolist())
    return homes


def _whole(path: Path, plan: StorePlan) -> np.ndarray | None:
    """Return the rows of a shard that holds what the plan says, whatever its name; None for any other file."""
    try:
        shard = Shard(path, plan.fingerprint)
        sound = not shard.damage() and np.array_equal(shard.array("rows"), shard.rows)
        return shard.rows if sound and misplaced(shard, shard.rows, plan) is None else None
    except (CacheError, KeyError, TypeError, ValueError):
        return None


def _identity(folder: Path, damaged: set[Path]) -> dict[str, Any]:
    """Return the store's identity, from a file that is intact."""
    for path in (folder / NAME, *segment_files(folder)):
        try:
            value = read_json(path) if path not in damaged else {}
        except CacheError:
            continue
        if "identity" in value and fingerprint_of(value["identity"]) == value["fingerprint"]:
            identity: dict[str, Any] = value["identity"]
            return identity
    raise CacheError(
        f"no intact file in {folder} records what its features are",
        expected="an intact plan.json or manifest.json",
        next_step=f"copy one of them back from a backup, or `itin cache rm {folder}` and extract again",
    )


def _repair_plan(folder: Path, identity: dict[str, Any], problems: list[Problem]) -> list[Path]:
    """Rewrite the damaged segments from what the shards and the quarantine record of their rows.

    Rows that were neither made nor in quarantine are recorded nowhere else. They stay in the plan without id and digest
    so that the others keep their numbers; the next extraction plans their samples anew. Damaged segments behind the
    last row that is known are removed and returned.
    """
    fingerprint = fingerprint_of(identity)
    known, blocks = _known_rows(folder, fingerprint)
    sound = _sound_segments(folder, fingerprint, {problem.path for problem in problems})
    number, first_row, first_block = 0, 0, 0
    while first_row <= max(known, default=-1) or any(later >= number for later in sound):
        segment = sound.get(number)
        if segment is None:
            after = [sound[later] for later in sorted(sound) if later > number]
            end = after[0]["first_row"] if after else max(known, default=-1) + 1
            last_block = after[0]["first_block"] - 1 if after else None
            mine = {row: blocks[row] - first_block for row in blocks if first_row <= row < end}
            segment = {
                "format": FORMAT,
                "fingerprint": fingerprint,
                "identity": identity,
                "first_row": first_row,
                "first_block": first_block,
                "shard_size": _shard_size(mine, first_row, end - first_row, last_block, first_block),
                "ids": [known.get(row, ("", ""))[0] for row in range(first_row, end)],
                "sha256": [known.get(row, ("", ""))[1] for row in range(first_row, end)],
            }
            write_json(segment_path(folder, number), segment)
        first_row += len(segment["ids"])
        first_block += -(-len(segment["ids"]) // segment["shard_size"])
        number += 1
    kept = {segment_path(folder, one) for one in range(number)}
    return _remove([path for path in segment_files(folder) if path not in kept])


def _known_rows(folder: Path, fingerprint: str) -> tuple[dict[int, RowKey], dict[int, int]]:
    """Return the keys of the rows in shards or in quarantine by row, and the blocks of those in shards by row."""
    known = {record.row: (record.id, record.sha256) for record in quarantine.read(folder, fingerprint)}
    blocks: dict[int, int] = {}
    for name in shard_sizes(folder):
        shard = Shard(folder / name, fingerprint)
        rows = shard.rows.tolist()
        known |= dict(zip(rows, zip(shard.strings("ids"), shard.strings("sha256"), strict=True), strict=True))
        blocks |= dict.fromkeys(rows, block_and_piece(name)[0])
    return known, blocks


def _sound_segments(folder: Path, fingerprint: str, damaged: set[Path]) -> dict[int, dict[str, Any]]:
    """Return the intact segments of the plan, by number."""
    found = {}
    for path in segment_files(folder):
        try:
            value = read_json(path, fingerprint)
        except CacheError:
            continue
        if path not in damaged:
            found[int(path.stem.removeprefix("plan").removeprefix("-") or 0)] = value
    return found


def _shard_size(blocks: dict[int, int], first_row: int, count: int, last_block: int | None, first_block: int) -> int:
    """Return the number of rows per block with which every row is in the block in which it was found."""
    most = [(row - first_row) // block for row, block in blocks.items() if block]
    if most:
        return min(most)
    if last_block is not None and last_block > first_block:
        return -(-count // (last_block - first_block + 1))
    return max(count, 1)
