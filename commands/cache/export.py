"""`itin cache export`: a store as one file for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from ..terminal.options import usage_errors
from .cache_group import one_store, size


@click.command("export", short_help="Write a store to one HDF5, .npz or Parquet file.")
@click.argument("store")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--first", type=int, help="For regions: only the first N of each image.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
def command(store: str, file: Path, first: int | None, cache: Path | None) -> None:
    """Write STORE to FILE, whose name ends in .h5, .npz or .parquet (which needs pyarrow)."""
    from ...cache import open_store
    from ...cache.upkeep.export import export
    from ..terminal.console import Bars, console

    opened = open_store(one_store(store, cache))
    with Bars() as bars, usage_errors():
        bars.start("export", len(opened), 0)
        export(opened, file, first, lambda count: bars.advance("export", count))
    console.print(f"{len(opened)} samples, {size(file.stat().st_size)}: {file}")
