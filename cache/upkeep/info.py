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
    sizes, missing = shard_sizes(folder), 0
    if (folder / NAME).exists():
        known = read_manifest(folder)
        missing = sum(entry["file"] not in sizes for entry in known["shards"])
    else:
        plan = StorePlan.read(folder)
        known = {"identity": plan.identity, "fingerprint": plan.fingerprint, "rows": None, "planned": len(plan.rows)}
        known |= {"quarantined": [], "complete": False, "provenance": {}}
    same = ("fingerprint", "identity", "rows", "planned", "quarantined", "complete", "provenance")
    return Info(
        path=folder,
        kind=known["identity"]["kind"],
        encoder=known["identity"]["name"],
        shards=len(sizes),
        bytes=sum(sizes.values()),
        missing=missing,
        **{name: known[name] for name in same},
    )


def info_or_error(folder: Path) -> Info | CacheError:
    """Return the description of a store, or the error, so that one bad store does not hide the others."""
    try:
        return info(folder)
    except CacheError as error:
        return error
