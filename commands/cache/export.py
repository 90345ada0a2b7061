"""`itin cache export`: a store in the forms of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from ..terminal.options import usage_errors
from .cache_group import one_store, size

FORMS = (
    *("hdf5", "npz", "parquet", "arrow", "safetensors", "bua-tsv", "mmsa-fet", "hdf5-groups", "multisentinet"),
    *("npz-files", "bua-npz", "lmdb", "datasets"),
)


@click.command("export")
@click.argument("store")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(FORMS),
    metavar="FORM",
    help="The form (docs/features.md), by default what TARGET ends in says: " + ", ".join(FORMS) + ".",
)
@click.option("--first", type=int, metavar="N", help="For regions: only the first N of each image.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
def command(store: str, target: Path, to: str | None, first: int | None, cache: Path | None) -> None:
    """Write STORE to TARGET, a new file or folder.

    The ending of a file says the form: .h5, .npz, .parquet, .arrow, .safetensors, .tsv, .pkl. Folders need --to:
    npz-files, bua-npz, lmdb, datasets. `itin cache import` reads all of them back.
    """
    from ...cache import open_store
    from ...cache.export.export import export
    from ..terminal.console import Bars, console

    opened = open_store(one_store(store, cache))
    with Bars() as bars, usage_errors():
        bars.start("export", len(opened), 0)
        export(opened, target, first, lambda count: bars.advance("export", count), to)
    written = sum(path.stat().st_size for path in [target, *target.rglob("*")] if path.is_file())
    console.print(f"{len(opened)} samples, {size(written)}: {target}")
