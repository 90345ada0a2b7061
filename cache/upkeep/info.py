"""A description of a store, read from its manifest alone, so that it is quick for a million samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import CacheError
from ..format.manifest import NAME, read_manifest, shard_sizes
from ..format.plan import StorePlan


@dataclass(frozen=True)
class Info:
    """The description of one store."""

    path: Path
    kind: str
    encoder: str
    fingerprint: str
    identity: dict[str, Any]
    rows: int | None
    """The number of rows with features; None while there is no manifest."""
    planned: int
    quarantined: list[dict[str, Any]]
    """The rows in quarantine: `row`, `id`, `reason`."""
    shards: int
    bytes: int
    missing: int
    """The number of shards that the manifest lists and that do not exist."""
    complete: bool
    provenance: dict[str, Any]

    @property
    def weights(self) -> str:
        """The origin of the encoder's weights, in a few words."""
        weights = self.identity["weights"]
        origin = str(weights.get("file", weights.get("imported", "")))
        if "random_init" in weights:
            origin = f"random, seed {weights['random_init']}"
        digest = str(weights.get("sha256", ""))[:12]
        return f"{origin} {digest}".strip()


def info(folder: Path) -> Info:
    """Return the description of a store.

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
        plan = StorePlan.read(folder)
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
    """Return the description of a store, or the error, so that one bad store does not hide the others."""
    try:
        return info(folder)
    except CacheError as error:
        return error
