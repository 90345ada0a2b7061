"""The `itin extract` command that makes what a store lacks, from the records of the store and its data set."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any


def extraction_of(folder: Path, store: Path | None = None) -> str:
    """Return the command as one line.

    Args:
        folder: the data set's folder in the cache.
        store: one of its stores, for its kind and options; None: all that the data set needs.
    """
    words = ["itin", "extract", *_dataset(folder), "--cache", str(folder.resolve().parent)]
    if store is not None:
        words += ["--only", store.name.partition("-")[0], *_options(store)]
    return shlex.join(words)


def _dataset(folder: Path) -> list[str]:
    from ...cache.format.sealed_json import read_json
    from ...cache.table import options_of
    from ...errors import CacheError

    try:
        return options_of(read_json(folder / "dataset.json"))
    except CacheError:
        return options_of({})


def _options(store: Path) -> list[str]:
    """Return the options that differ from the defaults."""
    from ...cache.format.manifest import read_manifest
    from ...errors import CacheError
    from ...extract.config import EncoderConfig

    try:
        options: dict[str, Any] = read_manifest(store)["provenance"].get("options") or {}
    except (CacheError, KeyError):
        return []
    defaults = vars(EncoderConfig())
    changed = {name: value for name, value in options.items() if name in defaults and value != defaults[name]}
    return [word for name, value in changed.items() for word in (f"--{name.replace('_', '-')}", str(value))]
