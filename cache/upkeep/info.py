"""What a store is and holds, read from its manifest alone, so that a store of a million samples is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CacheError
from ..format.manifest import NAME, read_manifest, shard_sizes
from ..format.plan import Plan


@dataclass(frozen=True)
class Info:
    """One store."""

    path: Path
    kind: str
    encoder: str
    fingerprint: str
    identity: dict[str, Any]
    rows: int | None
    """Rows with features; None while there is no manifest."""
    planned: int
    quarantined: list[dict[str, Any]]
    """`row`, `id`, `reason`."""
    shards: int
    bytes: int
    missing: int
    """Shards that the manifest lists and that are not there."""
    complete: bool
    provenance: dict[str, Any]

    @property
    def weights(self) -> str:
        """Where the encoder's weights came from, in a few words."""
        weights = self.identity["weights"]
        origin = str(weights.get("file", weights.get("imported", "")))
        if "random_init" in weights:
            origin = f"random, seed {weights['random_init']}"
        digest = str(weights.get("sha256", ""))[:12]
        return f"{origin} {digest}".strip()


def info(folder: Path) -> Info:
    """What a store is and holds.

    Raises:
        CacheError: neither manifest nor plan can be read.
    """
    sizes = shard_sizes(folder)
    if (folder / NAME).exists():
        manifest = read_manifest(folder)
        identity, rows, planned = manifest["identity"], manifest["rows"], manifest["planned"]
        quarantined, complete, provenance = manifest["quarantined"], manifest["complete"], manifest["provenance"]
        fingerprint = manifest["fingerprint"]
        missing = sum(entry["file"] not in sizes for entry in manifest["shards"])
    else:
        plan = Plan.read(folder)
        identity, rows, planned, fingerprint = plan.identity, None, len(plan.rows), plan.fingerprint
        quarantined, complete, provenance, missing = [], False, {}, 0
    return Info(
        path=folder,
        kind=identity["kind"],
        encoder=identity["name"],
        fingerprint=fingerprint,
        identity=identity,
        rows=rows,
        planned=planned,
        quarantined=quarantined,
        shards=len(sizes),
        bytes=sum(sizes.values()),
        missing=missing,
        complete=complete,
        provenance=provenance,
    )


def info_or_error(folder: Path) -> Info | CacheError:
    """What a store is and holds, or why it cannot be told, so that one bad store does not hide the others."""
    try:
        return info(folder)
    except CacheError as error:
        return error
