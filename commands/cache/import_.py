"""`itin cache import`: region features made by other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...extract.config import EncoderConfig, ExtractConfig
from ..terminal.options import options_of, usage_errors

if TYPE_CHECKING:
    from ...extract.foreign.regions import ImportSummary

FORMS = ("bua-npz", "bua-tsv")
MAX_LISTED = 10
"""The maximum number of unusable files that are listed."""


@click.command("import", short_help="Import region features made by other tools.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "form",
    type=click.Choice(FORMS),
    required=True,
    help="Their format: one .npz per image, or .tsv with base64 columns.",
)
@click.option("--dataset", help="Their data set in the cache; by default the only one.")
@click.option("--detector", metavar="TEXT", help="Note on the weights that made them, shown by `cache info`.")
@click.option("--max-regions", type=int, help="Regions kept for each image, by score; by default all.")
@options_of(EncoderConfig, "store_dtype")
@options_of(ExtractConfig, "shard_size")
@click.option("--allow-missing", is_flag=True, help="Continue if more than 5% of the pairs get no features.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
def command(
    source: Path,
    form: str,
    dataset: str | None,
    detector: str | None,
    max_regions: int | None,
    store_dtype: str,
    shard_size: int,
    allow_missing: bool,
    cache: Path | None,
) -> None:
    """Import region features from SOURCE, a folder or a file, into a store beside the data set's other features.

    File names (bua-npz) or image ids (bua-tsv) must be ids of a data set that `itin extract` has put into the cache.
    The store is named after the form: `itin train --regions bua-npz` chooses it if there are several.
    """
    from ...extract.foreign.regions import import_regions
    from ...paths import cache_root
    from ...train.features.find import find_table
    from ..terminal.console import Bars

    table = find_table(cache_root(cache), dataset)
    with Bars() as bars, usage_errors():
        done = import_regions(
            source,
            form,
            table,
            detector=detector,
            max_regions=max_regions,
            store_dtype=store_dtype,
            shard_size=shard_size,
            allow_missing=allow_missing,
            progress=bars,
        )
    show(done, form)


def show(done: ImportSummary, form: str) -> None:
    """Print the result of an import."""
    from ...extract.foreign.regions import outside
    from ..terminal.console import console

    stored = done.made + done.reused
    lines = [f"{form}: {done.records} images; {done.made} imported, {done.reused} there before"]
    if done.unscored:
        lines.append(f"{done.unscored} without scores: their regions keep the order of the source")
    if stored > done.unscored:
        lines.append(f"{stored - done.unscored} with scores: their regions are sorted by descending score")
    lines += [f"{count} times {note}" for note, count in done.notes.items()]
    if done.scaled:
        lines.append(f"{done.scaled} made from another size of the image: boxes scaled to the data set's images")
    if done.shares:
        lines.append(f"{done.shares} with boxes between 0 and 1: taken as shares of the image's width and height")
    lines += outside(done.match)
    if done.rejected:
        lines.append(f"{len(done.rejected)} cannot be used:")
        lines += [f"  {row.id}: {row.reason}" for row in done.rejected[:MAX_LISTED]]
        lines += [f"  ... and {len(done.rejected) - MAX_LISTED} more"] if len(done.rejected) > MAX_LISTED else []
    lines.append("Matched by id; it was not checked that they were made from the data set's own images.")
    lines.append(f"Done: {done.path}")
    for line in lines:
        console.print(line)
