"""Whether the image that a table names lies below the data set's folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ..reading import retrying


def containment_check(root: Path) -> Callable[[Path], bool]:
    """Return a function that says whether a file, all links followed, lies below `root` (which is resolved)."""

    @lru_cache(maxsize=4096)
    def inside(real: str) -> bool:
        return Path(os.path.realpath(real)).is_relative_to(root)

    def check(path: Path) -> bool:
        try:
            link = stat.S_ISLNK(retrying(path.lstat, path).st_mode)
        except OSError:
            link = False  # nothing there
        # Most images are plain files in few folders: each folder is resolved once.
        return inside(str(path)) if link or path.name == ".." else inside(str(path.parent))

    return check
