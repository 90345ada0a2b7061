"""The table of a folder behind a protocol."""

from __future__ import annotations

from pathlib import Path

from ....errors import DataError
from ..places.remote import is_remote, listing, scrub, url
from ..reading import retrying
from ..tables import SUFFIXES


def remote_table(root: Path, given: str | None) -> Path:
    """Return the place of the table.

    Args:
        root: the folder.
        given: the name that `--table` gives it, from the root on; the path of a local file where it is absolute.

    Raises:
        DataError: there is not exactly one, the root cannot be listed, or the name is a URL.
        TransientError: it could not be listed this time.
    """
    if given is not None:
        if is_remote(given) or "::" in given:
            raise DataError(f"the table {scrub(given)} names a protocol", expected="a name below --root")
        return root / given
    try:
        files = retrying(lambda: listing(root), root)
    except OSError as error:
        raise DataError(f"{url(root)} is missing", next_step="name another with --root") from error
    tables = [one for one in files if one.suffix.lower() in SUFFIXES]
    shards = [one for one in files if one.suffix.lower() == ".parquet"] if not tables else []
    if len(shards) > 1:
        return root / "*.parquet"
    if len(tables or shards) != 1:
        raise DataError(
            f"{url(root)} holds {'more than one table' if tables else 'no table'}",
            expected=f"one file whose name ends in {', '.join(SUFFIXES)}, or Parquet files",
            found=", ".join(one.name for one in (tables or files)[:8]) or "no file",
            next_step="name the table with --table FILE",
        )
    return (tables or shards)[0]
