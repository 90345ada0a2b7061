"""A plan that is damaged or lost, made again from what the shards and the quarantine record of their rows.

Rows that were neither made nor in quarantine are recorded nowhere else. They stay in the plan without id and digest, so
that the others keep their numbers; the next extraction plans their samples anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import CacheError
from . import quarantine
from .manifest import block_and_piece, shard_sizes
from .plan import RowKey, segment_files, segment_path
from .schema import FORMAT, fingerprint_of
from .sealed_json import DamagedError, described, read_json, to_json, write_error
from .shard_read import Shard


def replanned(folder: Path, identity: dict[str, Any], without: Collection[Path] = ()) -> list[dict[str, Any]]:
    """Return the segments of a store's plan: those that are sound, and new ones in place of the others.

    Args:
        folder: the store.
        identity: what its features are.
        without: files that are not to be believed: segments, shards and records.

    Raises:
        CacheError: a shard or a record cannot be read, or the shards do not show how the rows were planned.
    """
    fingerprint = fingerprint_of(identity)
    known, blocks = _known_rows(folder, fingerprint, without)
    found: list[dict[str, Any]] = []
    row = block = 0

    def fill(files: int | None, end: int, end_block: int | None) -> None:
        """Add segments up to a row, in so many files; in any number of them at the end of the plan."""
        nonlocal row, block
        mine = {one: place for one, place in blocks.items() if row <= one < end}
        pieces = _pieces(mine, row, end, block, end_block)
        if pieces is None or (files is not None and len(pieces) > files):
            raise _lost(folder, range(len(found), len(found) + (files or 1)))
        for count, size in [*pieces, *[(0, 1)] * ((files or 0) - len(pieces))]:  # sound ones behind keep their names
            keys = [known.get(one, ("", "")) for one in range(row, row + count)]
            found.append(
                {
                    "format": FORMAT,
                    "fingerprint": fingerprint,
                    "identity": identity,
                    "first_row": row,
                    "first_block": block,
                    "shard_size": size,
                    "ids": [id for id, _ in keys],
                    "sha256": [digest for _, digest in keys],
                }
            )
            row, block = row + count, block - (-count // size)

    for number, segment in sorted(_sound_segments(folder, fingerprint, without).items()):
        if number > len(found):
            fill(number - len(found), segment["first_row"], segment["first_block"])
        found.append(segment)
        row = segment["first_row"] + len(segment["ids"])
        block = segment["first_block"] - (-len(segment["ids"]) // segment["shard_size"])
    if row <= max(known, default=-1):
        fill(None, max(known) + 1, None)
    return found


def plan_again(folder: Path, identity: dict[str, Any]) -> None:
    """Plan the rows of a store whose plan is lost.

    The first segment is written last: until then no other writer finds a plan, and all that do this write the same.

    Raises:
        CacheError: as `replanned`, a shard is damaged, or a file cannot be written.
    """
    for path in [folder / name for name in shard_sizes(folder)]:
        if damaged := Shard(path, fingerprint_of(identity)).damage():
            raise DamagedError(path, ", ".join(damaged))
    for number, segment in reversed([*enumerate(replanned(folder, identity))]):
        disk.create(segment_path(folder, number), to_json(segment), write_error)


def _lost(folder: Path, numbers: Collection[int]) -> CacheError:
    names = [segment_path(folder, number).name for number in numbers]
    return CacheError(
        f"the plan of {folder} cannot be made again from its shards",
        found=f"no sound {' and no sound '.join(names)}",
        next_step=f"copy {names[0]} back from a backup, or `itin cache rm {folder}` and extract again",
    )


def _known_rows(folder: Path, fingerprint: str, without: Collection[Path]) -> tuple[dict[int, RowKey], dict[int, int]]:
    """Return the keys of the rows in shards or in quarantine by row, and the blocks of those in shards by row."""
    records = [path for path in quarantine.record_files(folder) if path not in without]
    known = {one.row: (one.id, one.sha256) for one in (quarantine.read_record(path, fingerprint) for path in records)}
    blocks: dict[int, int] = {}
    for path in [folder / name for name in shard_sizes(folder) if folder / name not in without]:
        shard = Shard(path, fingerprint)
        rows = shard.rows.tolist()
        known |= dict(zip(rows, zip(shard.strings("ids"), shard.strings("sha256"), strict=True), strict=True))
        blocks |= dict.fromkeys(rows, block_and_piece(path.name)[0])
    return known, blocks


def _sound_segments(folder: Path, fingerprint: str, without: Collection[Path]) -> dict[int, dict[str, Any]]:
    """Return the intact segments of the plan that can follow each other, by number; a copy by another name cannot."""
    found, row, block = {}, 0, 0
    for path in [path for path in segment_files(folder) if path not in without]:
        with contextlib.suppress(CacheError), described(path):
            value = read_json(path, fingerprint)
            count, size = len(value["ids"]), value["shard_size"]
            follows = value["first_row"] >= row and value["first_block"] >= block
            if follows and len(value["sha256"]) == count and size > 0:
                found[int(path.stem.removeprefix("plan").removeprefix("-") or 0)] = value
                row, block = value["first_row"] + count, value["first_block"] - (-count // size)
    return found


def _pieces(
    blocks: Mapping[int, int], first_row: int, end: int, first_block: int, end_block: int | None
) -> list[tuple[int, int]] | None:
    """Return how many rows, and how many of them a block, each segment has with which every row is in its block.

    Args:
        blocks: the blocks of the rows in shards.
        first_row: the first row.
        end: the row behind the last.
        first_block: the first block.
        end_block: the block behind the last; None where nothing follows.

    Returns:
        As few as there can be; None where the shards do not show it.
    """
    count, wanted = end - first_row, None if end_block is None else end_block - first_block
    size = _shard_size({row - first_row: block - first_block for row, block in blocks.items()}, count, wanted)
    if size is not None:
        return [(count, size)] if count else []
    firsts: dict[int, int] = {}
    for row in sorted(blocks):
        firsts.setdefault(blocks[row], row)
    if not firsts or [*firsts] != list(range(first_block, first_block + (len(firsts) if wanted is None else wanted))):
        return None  # a block of which there is no shard, or one out of order
    sizes = [after - before for before, after in pairwise([first_row, *list(firsts.values())[1:], end])]
    pieces = []
    while sizes:
        size = sizes[0]
        full = next((place for place, one in enumerate(sizes) if one != size), len(sizes))
        last = full + (full < len(sizes) and sizes[full] < size)  # the last block of a segment may have fewer
        pieces.append((sum(sizes[:last]), size))
        del sizes[:last]
    return pieces


def _shard_size(blocks: Mapping[int, int], count: int, wanted: int | None) -> int | None:
    """Return the number of rows a block with which all rows are in their blocks, both counted from 0, if there is one.

    Args:
        blocks: the blocks of the rows in shards.
        count: the number of rows.
        wanted: how many blocks there must be; None: any number.
    """
    if wanted == 0 or not count:
        return 1 if not wanted and not count else None
    least = max((row // (block + 1) + 1 for row, block in blocks.items()), default=1)
    most = min((row // block for row, block in blocks.items() if block), default=count)
    if wanted is not None:
        least = max(least, -(-count // wanted))
        most = min(most, (count - 1) // (wanted - 1)) if wanted > 1 else most
    return most if least <= most else None
