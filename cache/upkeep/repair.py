"""Mending a store: what is damaged goes, what refers to it is written again, and the next extraction makes the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import CacheError
from ..format import quarantine
from ..format.manifest import NAME, block_and_piece, shard_sizes, write_manifest
from ..format.plan import Plan, Row, segment_files, segment_path
from ..format.schema import FORMAT, fingerprint_of
from ..format.sealed_json import read_json, write_error, write_json
from ..format.shard_read import Shard
from .verify import Problem, Report


def repair(report: Report) -> list[Path]:
    """Mends what `verify` found in a store, and returns the files that were removed.

    Raises:
        CacheError: something cannot be removed or written, or nothing is left that says what the store holds.
    """
    folder = report.folder
    removed = [problem.path for problem in report.problems if problem.remove and problem.path.exists()]
    plan_problems = [problem for problem in report.problems if problem.where == "plan"]
    identity = (
        _identity(folder, {problem.path for problem in report.problems if problem.remove}) if plan_problems else None
    )
    manifest = None
    if (folder / NAME).exists() and folder / NAME not in removed:
        manifest = read_json(folder / NAME)
    for path in removed:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
    if plan_problems and identity is not None:
        _mend_plan(folder, identity, plan_problems)
    if manifest is not None:
        plan = Plan.read(folder)
        records = {record.row: record.reason for record in quarantine.read(folder, plan.fingerprint)}
        write_manifest(plan, records, manifest["provenance"])
    return removed


def _identity(folder: Path, damaged: set[Path]) -> dict[str, Any]:
    """What the store holds, from a file that is whole."""
    for path in (folder / NAME, *segment_files(folder)):
        try:
            value = read_json(path) if path not in damaged else {}
        except CacheError:
            continue
        if "identity" in value and fingerprint_of(value["identity"]) == value["fingerprint"]:
            identity: dict[str, Any] = value["identity"]
            return identity
    raise CacheError(
        f"nothing in {folder} says any more what its features are",
        expected="plan.json or manifest.json whole",
        next_step=f"copy one of them back from a backup, or `itin cache rm {folder}` and extract again",
    )


def _mend_plan(folder: Path, identity: dict[str, Any], problems: list[Problem]) -> None:
    """Writes the damaged segments again, from what the shards and the quarantine say of their rows.

    Rows that were neither made nor in quarantine are named nowhere else. They stay in the plan without id and digest,
    so that the others keep their numbers; the next extraction plans their samples anew.
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


def _known_rows(folder: Path, fingerprint: str) -> tuple[dict[int, Row], dict[int, int]]:
    """Row -> sample and digest, of the rows that shards or the quarantine name; row -> block, of those in shards."""
    known = {record.row: (record.id, record.sha256) for record in quarantine.read(folder, fingerprint)}
    blocks: dict[int, int] = {}
    for name in shard_sizes(folder):
        shard = Shard(folder / name, fingerprint)
        rows = shard.rows.tolist()
        known |= dict(zip(rows, zip(shard.strings("ids"), shard.strings("sha256"), strict=True), strict=True))
        blocks |= dict.fromkeys(rows, block_and_piece(name)[0])
    return known, blocks


def _sound_segments(folder: Path, fingerprint: str, damaged: set[Path]) -> dict[int, dict[str, Any]]:
    """Segments of the plan that are whole, by number."""
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
    """Rows a block, so that every row falls into the block that it was found in."""
    most = [(row - first_row) // block for row, block in blocks.items() if block]
    if most:
        return min(most)
    if last_block is not None and last_block > first_block:
        return -(-count // (last_block - first_block + 1))
    return max(count, 1)
