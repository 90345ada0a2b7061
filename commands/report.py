"""`itin report`: one page with the results of runs and sweeps."""

from __future__ import annotations

from pathlib import Path

import click

OUT = Path("itin-report")


@click.command("report")
@click.argument("paths", nargs=-1, required=True, metavar="RUN-OR-SWEEP...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Folder to write into.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images, if they have moved.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder, if the stores have moved since training.")
@click.option(
    "--figures",
    type=click.Choice(["pdf", "png", "svg", "none"]),
    default="pdf",
    show_default=True,
    help="Kind of file that each figure is also written to.",
)
@click.option("--title", help="Title of the page; by default it names the data set.")
def command(
    paths: tuple[Path, ...], out: Path, images: Path | None, cache: Path | None, figures: str, title: str | None
) -> None:
    """Write OUT/report.html, a self-contained page: it opens from disk and contacts no host.

    Give run folders, sweep folders, or folders with runs below them. The page has scores with their intervals,
    confusion matrices, calibration, learning curves, comparisons of any two runs, provenance, and every pair with its
    image: the regions outlined, the words shaded by their weight for the region under the pointer, gate and attention.
    The tables are also written to OUT/tables as CSV and LaTeX, the figures to OUT/figures.
    """
    from ..errors import DataError
    from ..report.report import report
    from .terminal.console import console
    from .train import short

    if images is not None and not images.is_dir():
        raise DataError(
            f"{images} is not a folder", expected="the folder with the images", next_step="name another --images"
        )
    made = report(paths, images=images, cache=cache, title=title)
    page = made.write(out, None if figures == "none" else figures)
    for line in made.missing:
        console.print(line, style="yellow")
    if made.banner:
        console.print(made.banner, style="yellow")
    tables = sum(section.table is not None for section in made.sections)
    console.print(f"{short(page)}  ({page.stat().st_size / 2**20:.1f} MB; {tables} tables and the figures beside it)")
