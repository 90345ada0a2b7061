"""Default locations: the feature cache, the weights, the published splits."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return `$XDG_CACHE_HOME/itin`, by default `~/.cache/itin`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "itin"


def cache_root(given: str | Path | None = None) -> Path:
    """Return where feature stores are kept: the given folder, else `$ITIN_CACHE`, else the user's cache folder."""
    return Path(given or os.environ.get("ITIN_CACHE") or user_cache() / "features").expanduser()


def weights_root() -> Path:
    """Return where detector weights are looked for: `$ITIN_WEIGHTS`, else a folder in the user's cache folder."""
    return Path(os.environ.get("ITIN_WEIGHTS") or user_cache() / "weights").expanduser()


def splits_root() -> Path:
    """Return where published splits are kept: a folder in the user's cache folder."""
    return user_cache() / "splits"
