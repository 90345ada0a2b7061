"""Whether the image that a table names lies below the data set's folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ..places.remote import cell_url, is_remote
from ..reading import retrying


def containment_check(root: Path) -> Callable[[Path], bool]:
    """Return a function that says whether a file, all links followed, lies below `root` (which is resolved)."""

    @lru_cache(maxsize=4096)
    def inside(real: str) -> bool:
        return Path(os.path.realpath(real)).is_relative_to(root)

    def check(path: Path) -> bool:
        if is_remote(path) or is_remote(root):
            return path.is_relative_to(root) and ".." not in path.parts
        try:
            link = stat.S_ISLNK(retrying(path.lstat, path).st_mode)
        except OSError:
            link = False  # nothing there
        # Most images are plain files in few folders: each folder is resolved once.
        return inside(str(path)) if link or path.name == ".." else inside(str(path.parent))

    return check


def image_path(image: str, root: Path, inside: Callable[[Path], bool]) -> Path:
    """Return the place of the image that a cell names, by a path from the root or by a URL.

    Args:
        image: the cell, without white space at its ends.
        root: the folder that paths start from.
        inside: tells whether a place is acceptable.

    Raises:
        ValueError: the cell is empty, the place is not acceptable, or the URL is of a kind that is refused.
    """
    if not image or "\0" in image:
        raise ValueError("no image path" if not image else "the image path holds a NUL character")
    path = cell_url(image) or root / image
    if not inside(path):
        raise ValueError(f"the image {image!r} lies outside the root (--allow-outside accepts it)")
    if is_remote(root) and not is_remote(path):
        raise ValueError(f"the image {image!r} is a file of this machine, and the root is not")
    return path
