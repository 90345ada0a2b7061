"""What holds of a data set in a bucket, whatever serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .forms import as_folder, as_parquet, as_tars, pairs
from .test_remote import run, shards
from .test_run import made

FORMS = ("csv", "paths", "bytes", "tars", "tars by name")
"""How the pairs lie in the bucket."""


def check_like_local(form: str, folder: Path, server: Any) -> Any:
    """Extract twelve pairs from a folder and from a bucket: equal stores, and no image is read twice.

    Args:
        form: one of `FORMS`.
        folder: where the pairs and both caches are put, the bucket's in `there`.
        server: `put` copies a folder into its bucket, `sent` counts what it sent by path.

    Returns:
        The summary of the first extraction from the bucket.
    """
    given, local = pairs(12), folder / "data"
    if form.startswith("tars"):
        as_tars(local, given, 2)
    elif form == "csv":
        as_folder(local, given)
    else:
        as_parquet(local, given, "path" if form == "paths" else "struct", 5, 2)
    kind = "webdataset" if form.startswith("tars") else "folder"
    root = server.put(local, "some set")
    here = run(folder / "local", dataset=kind, root=local)
    where = root / "{00000..00001}.tar" if form == "tars by name" else root
    there = run(folder / "there", dataset=kind, root=where)
    assert (there.scan.rejected, there.scan.unread) == ([], [])
    assert made(there) == made(here) == {"regions": 12, "tokens": 12, "context": 12}
    assert shards(folder / "there") == shards(folder / "local") != {}
    server.sent.clear()
    again = run(folder / "there", dataset=kind, root=where)
    assert made(again) == {"regions": 0, "tokens": 0, "context": 0}
    assert not any(path.endswith((".jpg", ".png", ".webp")) for path in server.sent)
    return there
