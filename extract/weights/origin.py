"""Where a file of weights came from, by its place: the hub's cache, or a packed folder with its record of digests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ...errors import WeightsError
from ...paths import weights_root
from ...weights_file import UnsoundFile, file_sha256, read_object

RECORD = "weights.json"
"""The record of a packed folder: files -> their digest, model, commit and licence."""

CARD = "README.md"


@dataclass(frozen=True)
class Origin:
    """What is known of a file without a network."""

    repo: str | None = None
    """The model's name on the hub."""
    commit: str | None = None
    """The commit that the hub resolved."""
    sha256: str | None = None
    """The SHA-256 that the hub or the record gives."""
    licence: str | None = None
    """The licence that the model's card states."""


def origin_of(path: Path) -> Origin:
    """Return what the place of a file tells of it.

    Raises:
        WeightsError: the record of a packed folder cannot be read.
    """
    parts = path.absolute().parts
    place = next((at for at, part in enumerate(parts) if part == "snapshots" and "--" in parts[at - 1]), None)
    if place is not None and len(parts) > place + 2:
        blob = path.resolve().name
        sha256 = blob if re.fullmatch("[0-9a-f]{64}", blob) else None
        repo = "/".join(parts[place - 1].split("--")[1:])
        return Origin(repo, parts[place + 1], sha256, _licence(Path(*parts[: place + 2]) / CARD))
    root = weights_root().absolute()
    if path.absolute().is_relative_to(root):
        entry = read_record(root).get(path.absolute().relative_to(root).as_posix(), {})
        return Origin(*(entry.get(name) for name in ("repo", "commit", "sha256", "licence")))
    return Origin(licence=_licence(path.parent / CARD))


def described(path: Path) -> dict[str, str | None]:
    """Return what a store's provenance holds of a file: its name and SHA-256, and the model and commit if known."""
    origin = origin_of(path)
    sha256 = _sha256(path, path.stat().st_mtime_ns, path.stat().st_size)
    return {"file": path.name, "sha256": sha256, "repo": origin.repo, "commit": origin.commit}


def check_digest(path: Path) -> None:
    """Check a file against the SHA-256 that the hub or a packed folder's record gives, where there is one.

    Raises:
        WeightsError: it is another file.
    """
    origin = origin_of(path)
    found = _sha256(path, path.stat().st_mtime_ns, path.stat().st_size) if origin.sha256 is not None else None
    if found == origin.sha256:
        return
    packed = path.absolute().is_relative_to(weights_root().absolute())
    raise WeightsError(
        f"{path}: not the file that {RECORD if packed else 'the hub'} names",
        expected=f"SHA-256 {origin.sha256}",
        found=f"SHA-256 {found}",
        next_step="copy the folder again, or pack it again: `itin weights pack`"
        if packed
        else f"remove {path.resolve()}: it is downloaded again when it is needed",
    )


def read_record(root: Path) -> dict[str, dict[str, Any]]:
    """Return the record of a packed folder: path in it -> what is known of the file; empty where there is none.

    Raises:
        WeightsError: it cannot be read.
    """
    path = root / RECORD
    if not path.exists():
        return {}
    try:
        files = read_object(path).get("files")
        if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
            raise UnsoundFile("no such object")
    except UnsoundFile as fault:
        raise WeightsError(
            f"{path}: the record of a packed folder cannot be read",
            expected="a JSON object whose `files` names the digest of each",
            found=fault.found,
            next_step="copy the folder again, or pack it again: `itin weights pack`",
        ) from fault
    return files


@lru_cache
def _sha256(path: Path, changed: int, size: int) -> str:
    """Return the digest of a file; it is computed once for each of its states."""
    return file_sha256(path)


def _licence(card: Path) -> str | None:
    """Return the licence in the header of a model's card."""
    try:
        head = re.match(r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
        stated = yaml.safe_load(head.group(1)) if head else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    if not isinstance(stated, dict):
        return None
    named = stated.get("license_name") if stated.get("license") == "other" else None
    value = named or stated.get("license")
    return ", ".join(map(str, value)) if isinstance(value, list) else None if value is None else str(value)
