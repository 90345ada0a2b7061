"""Where things are looked for when nothing is said: the cache, the weights, the data sets."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/itin`, by default `~/.cache/itin`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "itin"


def cache_root(given: str | Path | None = None) -> Path:
    """Where feature stores are kept: the given place, else `$ITIN_CACHE`, else the user's cache folder."""
    return Path(given or os.environ.get("ITIN_CACHE") or user_cache() / "features").expanduser()


def weights_root() -> Path:
    """Where detector weights are looked for: `$ITIN_WEIGHTS`, else a place under the user's cache folder."""
    return Path(os.environ.get("ITIN_WEIGHTS") or user_cache() / "weights").expanduser()


def splits_root() -> Path:
    """Where published splits are kept: a place under the user's cache folder."""
    return user_cache() / "splits"
