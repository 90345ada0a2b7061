"""`itin data fetch`: a published split."""

from __future__ import annotations

from pathlib import Path

import click

SPLITS = ("clmlf",)


@click.command("fetch")
@click.argument("split", type=click.Choice(SPLITS), metavar="SPLIT")
@click.option(
    "--dataset",
    type=click.Choice(("mvsa-single", "mvsa-multiple")),
    default="mvsa-single",
    show_default=True,
    help="Data set of the split.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Take train.json, dev.json and test.json from a folder instead of the network.",
)
def command(split: str, dataset: str, source: Path | None) -> None:
    """Fetch a published SPLIT of a data set; there is one, clmlf, which `--protocol clmlf` then finds.

    Every file is compared with its published SHA-256, and the split with its published number of pairs per part.
    """
    from ...train.protocols import clmlf
    from ..terminal.console import console

    path = clmlf.fetch(dataset, source)
    sizes = ", ".join(f"{count} {part}" for part, count in clmlf.SPLITS[dataset].sizes.items())
    console.print(f"{split} of {dataset}: {sizes}")
    console.print(f"Split: {path}")
