"""`itin cache import`: features made by other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...cache.format.schema import FLOATS, KINDS
from ...extract.config import ExtractConfig
from ..terminal.options import options_of, usage_errors

if TYPE_CHECKING:
    from ...extract.foreign.importing import ImportSummary

FORMS = (
    *("bua-npz", "bua-tsv", "npz", "hdf5", "parquet", "arrow", "safetensors", "lmdb"),
    *("mmsa-fet", "multisentinet"),
)
MAX_LISTED = 10
"""The maximum number of unusable files that are listed."""

LOST = {
    "boxes": "without boxes: reports and `itin explain` do not draw these regions",
    "token_ids": "without token ids: a head with a learned table cannot be trained on these features",
    "word_ids": "without a map to words: each vector is taken as one, and reports show numbers in place of words",
}
"""What does not work without an array."""


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "form",
    type=click.Choice(FORMS),
    metavar="FORM",
    help="Their form (docs/features.md), by default what the files' endings say: " + ", ".join(FORMS) + ".",
)
@click.option("--kind", type=click.Choice(tuple(KINDS)), default="regions", show_default=True, help="Their kind.")
@click.option(
    "--map",
    "mapped",
    metavar="NAME=ARRAY",
    multiple=True,
    help="The name that one of the kind's arrays has in SOURCE, such as boxes=coords; may be given several times.",
)
@click.option("--ids", type=click.Path(path_type=Path), help="File with the ids of the rows: one a line, or .npy.")
@click.option("--by", type=click.Choice(("id", "text")), help="What names the pairs in SOURCE; by default ids.")
@click.option("--dataset", metavar="NAME", help="Their data set in the cache; by default the only one.")
@click.option("--name", metavar="NAME", help="Name of the store, for `itin train`; by default that of the form.")
@click.option(
    "--detector",
    "--encoder",
    "encoder",
    metavar="TEXT",
    help="Note on the weights that made them, shown by `cache info`.",
)
@click.option("--max-regions", type=int, metavar="N", help="Regions kept for each image, by score; by default all.")
@click.option(
    "--store-dtype",
    type=click.Choice(FLOATS),
    help="By default float16 for bua-npz and bua-tsv; otherwise float16 where all of SOURCE is, else float32.",
)
@options_of(ExtractConfig, "shard_size")
@click.option("--allow-missing", is_flag=True, help="Continue if more than 5% of the pairs get no features.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
def command(
    source: Path,
    form: str | None,
    kind: str,
    mapped: tuple[str, ...],
    ids: Path | None,
    by: str | None,
    dataset: str | None,
    name: str | None,
    encoder: str | None,
    max_regions: int | None,
    store_dtype: str | None,
    shard_size: int,
    allow_missing: bool,
    cache: Path | None,
) -> None:
    """Import features from SOURCE, a folder or a file, into a store beside the data set's other features.

    File names, image ids or the ids in the file must be ids of a data set that `itin extract` has put into the cache,
    or, for features of images, the images' names. The store is named after the form, or by --name:
    `itin train --regions bua-npz` chooses it if there are several.
    """
    from ...extract.foreign.forms.registry import guessed
    from ...extract.foreign.importing import ImportOptions, import_features
    from ...paths import cache_root
    from ...train.features.find import find_table
    from ..terminal.console import Bars

    if form is None:
        fitting = guessed(source)
        if len(fitting) != 1:
            raise click.UsageError(f"name the form of {source} with --from: {', '.join(fitting or FORMS)}")
        form = fitting[0]
    pairs = [one.partition("=") for one in mapped]
    if wrong := ["".join(pair) for pair in pairs if not all(pair)]:
        raise click.UsageError(f"--map takes NAME=ARRAY, got {', '.join(wrong)}")
    table = find_table(cache_root(cache), dataset)
    with Bars() as bars, usage_errors():
        options = ImportOptions(
            kind=kind,
            map={ours: theirs for ours, _, theirs in pairs},
            ids=ids,
            by=by,
            name=name,
            encoder=encoder,
            max_regions=max_regions,
            store_dtype=store_dtype,
            shard_size=shard_size,
            allow_missing=allow_missing,
        )
        done = import_features(source, form, table, options, bars)
    show(done, form, kind)


def show(done: ImportSummary, form: str, kind: str = "regions") -> None:
    """Print the result of an import."""
    from ...extract.foreign.survey import outside
    from ..terminal.console import console

    stored, noun = done.made + done.reused, "samples"
    regions = kind == "regions"
    if form.startswith("bua-"):
        noun = "images"
    lines = [f"{form}: {done.records} {noun}; {done.made} imported, {done.reused} there before"]
    if done.unscored:
        lines.append(f"{done.unscored} without scores: their regions keep the order of the source")
    if regions and stored > done.unscored:
        lines.append(f"{stored - done.unscored} with scores: their regions are sorted by descending score")
    lines += [f"{count} times {note}" for note, count in done.notes.items()]
    lines += [LOST[name] for name in done.lacks]
    if done.scaled:
        lines.append(f"{done.scaled} made from another size of the image: boxes scaled to the data set's images")
    if done.shares:
        lines.append(f"{done.shares} with boxes between 0 and 1: taken as shares of the image's width and height")
    lines += outside(done.match, kind)
    if done.rejected:
        lines.append(f"{len(done.rejected)} cannot be used:")
        lines += [f"  {row.id}: {row.reason}" for row in done.rejected[:MAX_LISTED]]
        lines += [f"  ... and {len(done.rejected) - MAX_LISTED} more"] if len(done.rejected) > MAX_LISTED else []
    if done.checked == stored:
        lines.append("Matched by id, and by the digest of the image or text that each was made from.")
    else:
        lines.append("Matched by id; it was not checked that they were made from the data set's own images.")
    lines.append(f"Done: {done.path}")
    for line in lines:
        console.print(line)
