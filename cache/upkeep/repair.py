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
from ..format.plan import StorePlan, segment_files, segment_path
from ..format.replan import replanned
from ..format.schema import fingerprint_of
from ..format.sealed_json import read_bytes, read_json, write_error, write_json
from ..format.shard_read import Shard
from .verify import Verification, misplaced


def repair(report: Verification, moved: Callable[[Path, Path], None] = lambda path, home: None) -> list[Path]:
    """Repair what `verify` found in a store, and return the files that were removed.

    A whole shard of the store under a wrong name is never removed: it is moved to a name of its block. Where no
    intact file says what the features are, nothing is left of the plan: the next extraction makes it again from the
    shards.

    Args:
        report: the result of `verify`.
        moved: called with the old and the new path of such a shard.

    Raises:
        CacheError: a file cannot be removed or written, the shards do not show how the rows were planned, or some file
            may be whole though it cannot be read (`Verification.alone`).
    """
    folder = report.folder
    if report.alone:
        (first, *_) = (problem.what for problem in report.problems if problem.alone)
        raise CacheError(f"{folder} is not repaired: {first}", next_step="make the file readable, or update itin")
    removed = [problem.path for problem in report.problems if problem.remove and problem.path.exists()]
    unplanned = {problem.path for problem in report.problems if problem.where == "plan"}
    identity = _identity(folder, unplanned.union(removed)) if unplanned else None
    segments = replanned(folder, identity, unplanned.union(removed)) if identity is not None else []
    manifest = None
    if (folder / NAME).exists() and folder / NAME not in removed:
        manifest = read_json(folder / NAME)
    homes = {} if unplanned else _homes(folder, {path for path in removed if path.suffix == ".h5"})
    for path, home in homes.items():
        if home != path and disk.create(home, read_bytes(path), write_error):
            moved(path, home)
    removed = [path for path in removed if homes.get(path) != path]
    removed = [path for path in _remove(removed) if path not in homes]
    if unplanned:
        kept = {segment_path(folder, number): segment for number, segment in enumerate(segments)}
        for path, segment in kept.items():
            if path in unplanned or not path.exists():
                write_json(path, segment)
        removed += _remove([path for path in segment_files(folder) if path not in kept])
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


def _identity(folder: Path, damaged: set[Path]) -> dict[str, Any] | None:
    """Return the store's identity, from a file that is intact, if there is one."""
    for path in (folder / NAME, *segment_files(folder)):
        try:
            value = read_json(path) if path not in damaged else {}
        except CacheError:
            continue
        if "identity" in value and fingerprint_of(value["identity"]) == value["fingerprint"]:
            identity: dict[str, Any] = value["identity"]
            return identity
    return None
