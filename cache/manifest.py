"""The manifest: written last, it lists every shard with its rows, bytes and checksum; readers require it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CacheError
from . import files
from .plan import Plan
from .schema import FORMAT
from .shard import Shard

NAME = "manifest.json"


@dataclass(frozen=True)
class ShardEntry:
    """One shard as the manifest lists it."""

    file: str
    rows: tuple[int, ...]
    bytes: int
    sha256: str | None
    """None for a shard that no manifest lists yet."""

    def as_dict(self) -> dict[str, Any]:
        """The entry as it stands in the manifest."""
        return {
            "file": self.file,
            "count": len(self.rows),
            "rows": to_ranges(self.rows),
            "bytes": self.bytes,
            "sha256": self.sha256,
        }


def to_ranges(rows: Iterable[int]) -> str:
    """Ascending row numbers as text: `0-9,12,14-20`."""
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def from_ranges(text: str) -> tuple[int, ...]:
    """The inverse of `to_ranges`."""
    rows: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        rows.extend(range(int(first), int(last or first) + 1))
    return tuple(rows)


def shard_path(folder: Path, block: int, piece: int) -> Path:
    """The file of one piece of a block: mostly a block has just one, `shard-00012.h5`, and then `shard-00012-1.h5`."""
    return folder / (f"shard-{block:05d}-{piece}.h5" if piece else f"shard-{block:05d}.h5")


def block_and_piece(path: Path) -> tuple[int, int]:
    """The inverse of `shard_path`."""
    block, _, piece = path.stem.removeprefix("shard-").partition("-")
    return int(block), int(piece or 0)


def shard_files(folder: Path) -> list[Path]:
    """All committed shards, in order of block and piece."""
    return sorted(folder.glob("shard-*.h5"), key=block_and_piece)


def shard_entries(folder: Path, fingerprint: str, paths: Iterable[Path] | None = None) -> list[ShardEntry]:
    """What each committed shard holds; shards that the manifest lists already are not opened.

    Raises:
        CacheError: a shard that cannot be read.
    """
    wanted = shard_files(folder) if paths is None else list(paths)
    listed = {}
    if wanted and (folder / NAME).exists():
        manifest = files.read_json(folder / NAME, fingerprint)
        listed = {entry["file"]: entry for entry in manifest["shards"]}
    entries = []
    for path in wanted:
        size = path.stat().st_size
        known = listed.get(path.name)
        if known is not None and known["bytes"] == size:
            entries.append(ShardEntry(path.name, from_ranges(known["rows"]), size, known["sha256"]))
        else:
            rows = tuple(int(row) for row in Shard(path, fingerprint).rows)
            entries.append(ShardEntry(path.name, rows, size, None))
    return entries


def write_manifest(plan: Plan, quarantined: Mapping[int, str], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the manifest of a store, again until it lists every shard that is there, and returns it."""
    while True:
        entries = [_hashed(plan.folder, entry) for entry in shard_entries(plan.folder, plan.fingerprint)]
        done = {row for entry in entries for row in entry.rows}
        left = {row: reason for row, reason in quarantined.items() if row not in done}
        manifest = {
            "format": FORMAT,
            "fingerprint": plan.fingerprint,
            "kind": plan.identity["kind"],
            "identity": plan.identity,
            "planned": len(plan.rows),
            "rows": len(done),
            "quarantined": [
                {"row": row, "id": plan.rows[row][0], "reason": reason} for row, reason in sorted(left.items())
            ],
            "complete": len(done) + len(left) == len(plan.rows),
            "bytes": sum(entry.bytes for entry in entries),
            "provenance": dict(provenance),
            "shards": [entry.as_dict() for entry in entries],
        }
        if (plan.folder / NAME).exists():
            old = files.read_json(plan.folder / NAME, plan.fingerprint)
            if {**manifest, "provenance": None} == {**old, "provenance": None}:
                return old
        files.replace(plan.folder / NAME, files.to_json(manifest))
        if [path.name for path in shard_files(plan.folder)] == [entry.file for entry in entries]:
            return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads a store's manifest.

    Raises:
        CacheError: the folder is no store, or its extraction never came to an end.
    """
    if not (folder / NAME).exists():
        if not (folder / "plan.json").exists():
            raise CacheError(f"{folder} is not a feature store", expected="plan.json and manifest.json in it")
        raise CacheError(
            f"{folder} has no manifest.json: its extraction has not come to an end yet",
            found=f"{len(shard_files(folder))} committed shards",
            next_step="run the same `itin extract` again: it makes what is missing and writes the manifest",
        )
    return files.read_json(folder / NAME)


def _hashed(folder: Path, entry: ShardEntry) -> ShardEntry:
    if entry.sha256 is not None:
        return entry
    with (folder / entry.file).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return ShardEntry(entry.file, entry.rows, entry.bytes, digest.hexdigest())
