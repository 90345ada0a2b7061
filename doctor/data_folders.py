"""The folders of data sets: that they are there and can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ItinError
from .finding import Asked, Finding, bad, doubtful, good


def data_folders(asked: Asked) -> Iterator[Finding]:
    """Read the tables of the data set that is named, or of all that are below `$ITIN_DATA`; images are not read."""
    from ..extract.data.datasets import DATASETS

    base = os.environ.get("ITIN_DATA")
    if asked.dataset is not None or asked.root is not None:
        yield _one(asked.dataset or "mvsa-single", asked.root, asked.cache)
    elif base is None:
        yield good(
            "no folder named", "`itin doctor --dataset NAME --root DIR` reads one; ITIN_DATA is where they stand"
        )
    elif not Path(base).is_dir():
        yield bad(f"ITIN_DATA is {base}, which is no folder", "set it to the folder that holds data sets, or unset it")
    elif here := [kind for kind in DATASETS if (Path(base) / kind).is_dir()]:
        for kind in here:
            yield _one(kind, Path(base) / kind, asked.cache)
    else:
        names = ", ".join(kind for kind in DATASETS if kind != "folder")
        yield doubtful(f"ITIN_DATA is {base}, which holds no data set by its name", f"name its folders: {names}")


def _one(kind: str, root: Path | None, cache: Path | None) -> Finding:
    from ..extract.data.datasets import open_dataset
    from ..paths import cache_root

    try:
        dataset = open_dataset(kind, root, cache=cache_root(cache))
    except ItinError as error:
        what, *more = str(error).splitlines()
        step = next((line.split("next:", 1)[1].strip() for line in more if "next:" in line), "")
        return bad(f"{kind}: {what}", step or "check that --dataset and --root belong together")
    except ValueError as error:
        return bad(f"{kind}: {error}", "see `itin extract --help`")
    if not dataset.entries:
        return doubtful(f"{kind}: {dataset.root} has no pair", "check that --dataset and --root belong together")
    first = dataset.entries[0].image
    if not os.access(first, os.R_OK):
        why = "may not be read by you" if os.path.lexists(first) else "is not there"
        return doubtful(
            f"{kind}: the first image {why}: {first}", "check the permissions of its folder, or get it again"
        )
    return good(f"{kind}: {len(dataset.entries)} pairs listed in {dataset.root}")
