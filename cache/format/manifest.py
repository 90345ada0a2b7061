"""The manifest: written last, it lists every shard with its rows, bytes and checksum; readers require it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...errors import CacheError
from ...parts import cores
from .plan import StorePlan
from .ranges import check_count, from_ranges
from .schema import FORMAT, canonical, fingerprint_of
from .sealed_json import DamagedError, described, read_bytes, read_error, read_json, repair_advice, write_json
from .shard_header import Header
from .shard_read import Shard

NAME = "manifest.json"

ADDED = ("names", "sentence_ends")
"""What an encoder knows of its ids, which is added to the provenance of a store whose features are older than it."""

FIELDS = {
    "fingerprint": str,
    "identity": dict,
    "planned": int,
    "rows": int,
    "complete": bool,
    "provenance": dict,
    "plan": list,
    "quarantined": list,
}
"""The fields of a manifest that a reader asks for, beside its shards."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ShardEntry:
    """One shard as listed in the manifest."""

    file: str
    count: int
    rows: str
    """Its rows in the plan, as ranges."""
    bytes: int
    checksum: str
    """The checksum of its header."""
    sha256: str
    """The digest of the whole file; empty for a shard that no manifest lists yet."""

    def numbers(self) -> np.ndarray:
        """Return its rows in the plan (N,) int64."""
        return from_ranges(self.rows)


def shard_path(folder: Path, block: int, piece: int) -> Path:
    """Return the file of a piece of a block: `shard-00012.h5`, mostly the only one, then `shard-00012-1.h5`, ..."""
    return folder / (f"shard-{block:05d}-{piece}.h5" if piece else f"shard-{block:05d}.h5")


def block_and_piece(name: str) -> tuple[int, int]:
    """Return the block and the piece of a shard by its file name, or (-1, 0) for a file that is no shard."""
    block, _, piece = name.removeprefix("shard-").removesuffix(".h5").partition("-")
    try:
        numbers = int(block), int(piece or 0)
    except ValueError:
        return -1, 0
    return numbers if shard_path(Path(), *numbers).name == name else (-1, 0)


def shard_sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each committed shard by file name, by block and piece; lists the folder once."""
    try:
        with os.scandir(folder) as entries:
            found = [(block_and_piece(entry.name), entry) for entry in entries if entry.name.startswith("shard-")]
        return {entry.name: entry.stat().st_size for key, entry in sorted(found, key=lambda one: one[0]) if key[0] >= 0}
    except OSError as error:
        raise read_error(folder, error) from error


def listed_shards(manifest: Mapping[str, Any]) -> dict[str, ShardEntry]:
    """Return the shards of a manifest by file name."""
    return {entry["file"]: ShardEntry(**entry) for entry in manifest["shards"]}


def read_listed(folder: Path, fingerprint: str) -> dict[str, ShardEntry]:
    """Return the shards that a store's manifest lists, by file name; none while there is no manifest."""
    return listed_shards(_read(folder, fingerprint)) if (folder / NAME).exists() else {}


def entry_of(path: Path, head: Header, sha256: str = "") -> ShardEntry:
    """Return the manifest's entry for a shard."""
    return ShardEntry(path.name, head.count, head.rows, head.bytes, head.checksum, sha256)


def committed_rows(folder: Path, fingerprint: str) -> dict[str, np.ndarray]:
    """Return the rows of each committed shard by file name; shards that the manifest lists are not opened.

    Raises:
        CacheError: a shard that cannot be read.
    """
    listed = read_listed(folder, fingerprint)
    found = {}
    for name, size in shard_sizes(folder).items():
        known = listed.get(name)
        if known is not None and known.bytes == size:
            found[name] = known.numbers()
        else:
            found[name] = Shard(folder / name, fingerprint).rows
    return found


def write_manifest(
    plan: StorePlan,
    quarantined: Mapping[int, str],
    provenance: Mapping[str, Any],
    known: Iterable[ShardEntry] = (),
) -> dict[str, Any]:
    """Write the manifest of a store, repeatedly until it lists every existing shard, and return it.

    Args:
        plan: the store's plan; it is brought up to date.
        quarantined: row -> reason.
        provenance: when, by what and with which options the store was made.
        known: shards whose digests are known because this process made them.

    Raises:
        CacheError: a shard that is damaged, or the manifest cannot be written.
    """
    folder = plan.folder
    digests = {(entry.file, entry.checksum): entry.sha256 for entry in known}
    digests |= {(entry.file, entry.checksum): entry.sha256 for entry in read_listed(folder, plan.fingerprint).values()}
    while True:
        entries = _entries(folder, plan.fingerprint, digests)
        plan.refresh()  # after the shards were listed: another writer may have planned and made more meanwhile
        planned = len(plan.rows) - plan.rows.sha256.count("")  # rows without a digest were lost with a damaged plan
        digests = {(entry.file, entry.checksum): entry.sha256 for entry in entries}
        done = np.zeros(len(plan.rows), bool)
        for entry in entries:
            numbers = entry.numbers()
            if len(numbers) and numbers[-1] >= len(done):
                raise CacheError(
                    f"{folder / entry.file} holds rows that no plan names", next_step=repair_advice(folder)
                )
            done[numbers] = True
        left = {row: reason for row, reason in sorted(quarantined.items()) if row < len(done) and not done[row]}
        manifest = {
            "format": FORMAT,
            "fingerprint": plan.fingerprint,
            "kind": plan.identity["kind"],
            "identity": plan.identity,
            "planned": planned,
            "rows": int(done.sum()),
            "complete": int(done.sum()) + len(left) == planned,
            "bytes": sum(entry.bytes for entry in entries),
            "provenance": dict(provenance),
            "plan": [
                {"file": segment.file, "rows": segment.count, "checksum": segment.checksum} for segment in plan.segments
            ],
            "quarantined": [{"row": row, "id": plan.rows.ids[row], "reason": reason} for row, reason in left.items()],
            "shards": [dict(vars(entry)) for entry in entries],
        }
        if (folder / NAME).exists():
            old = _read(folder, plan.fingerprint)
            if {**manifest, "provenance": None} == {**old, "provenance": None}:
                more = {
                    name: provenance[name] for name in ADDED if name in provenance.keys() - old["provenance"].keys()
                }
                if not more:
                    return old
                manifest["provenance"] = {**old["provenance"], **more}
        write_json(folder / NAME, manifest)
        if list(shard_sizes(folder)) == [entry.file for entry in entries]:
            return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a store's manifest.

    Raises:
        CacheError: the folder is no store, or its extraction was never finished.
    """
    if not (folder / NAME).exists():
        if not (folder / "plan.json").exists():
            raise CacheError(
                f"{folder} is not a feature store",
                expected="plan.json and manifest.json in it",
                next_step="`itin cache info` lists the existing stores",
            )
        raise CacheError(
            f"{folder} has no manifest.json: its extraction is not finished",
            found=f"{(count := len(shard_sizes(folder)))} committed shard{'s' * (count != 1)}",
            next_step="run the same `itin extract` again: it makes what is missing and writes the manifest",
        )
    return _read(folder)


def _read(folder: Path, fingerprint: str | None = None) -> dict[str, Any]:
    """Read a manifest and check that it has the fields that are asked for."""
    manifest = read_json(folder / NAME, fingerprint)
    with described(folder / NAME):
        for shard in listed_shards(manifest).values():
            for field in fields(ShardEntry):
                if type(value := getattr(shard, field.name)).__name__ != field.type:
                    raise TypeError(f"{field.name} of a shard is {value!r}")
            check_count(shard.rows, shard.count)
        for name, kind in FIELDS.items():
            if not isinstance(manifest[name], kind):
                raise TypeError(f"{name} is {manifest[name]!r}")
        for entry in manifest["plan"]:
            check_types(entry, file=str, checksum=str)
        for entry in manifest["quarantined"]:
            check_types(entry, row=int, id=str, reason=str)
        _ = manifest["identity"]["kind"], manifest["identity"]["name"], fingerprint_of(manifest["identity"])
        canonical([manifest["provenance"], manifest["quarantined"]])  # what is written again must be writable
    return manifest


def check_types(entry: Mapping[str, Any], **kinds: type) -> None:
    """Raise KeyError or TypeError unless an entry has fields of these types."""
    for name, kind in kinds.items():
        if not isinstance(entry[name], kind):
            raise TypeError(f"{name} is {entry[name]!r}")


def _entries(folder: Path, fingerprint: str, digests: Mapping[tuple[str, str], str]) -> list[ShardEntry]:
    """Return all existing shards; those whose digest is unknown are read completely and checked array by array."""
    found = [entry_of(folder / name, Shard(folder / name, fingerprint).header) for name in shard_sizes(folder)]
    unknown = [entry for entry in found if (entry.file, entry.checksum) not in digests]
    digests = {**digests, **dict(in_threads(lambda entry: _hashed(folder, fingerprint, entry), unknown))}
    return [ShardEntry(**{**vars(entry), "sha256": digests[entry.file, entry.checksum]}) for entry in found]


def _hashed(folder: Path, fingerprint: str, entry: ShardEntry) -> tuple[tuple[str, str], str]:
    shard = Shard(folder / entry.file, fingerprint, entry.checksum)
    data = read_bytes(shard.path)
    if damaged := shard.damage(memoryview(data)):
        raise DamagedError(shard.path, f"{', '.join(damaged)} do not match their checksums")
    return (entry.file, entry.checksum), hashlib.sha256(data).hexdigest()


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the results of I/O-bound work on all cores, in order, with few of them held in memory."""
    threads = cores()
    with ThreadPoolExecutor(threads, thread_name_prefix="cache") as pool:
        waiting: list[Any] = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
