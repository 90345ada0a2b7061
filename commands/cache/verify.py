"""`itin cache verify`: whether everything is whole, and the command that mends what is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cache_group import located, size

if TYPE_CHECKING:
    from ...cache.verify import Report


@click.command("verify", short_help="Check every byte; name what is damaged and the command that mends it.")
@click.argument("path", required=False)
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
@click.option("--repair", "mend", is_flag=True, help="Remove what is bad, so that the next extraction makes just that.")
def command(path: str | None, cache: Path | None, mend: bool) -> None:
    """Read every file of PATH and check it: checksums, plan, manifest, quarantine, and that they fit each other.

    Ends with exit code 1 when something is wrong and was not mended.
    """
    from ...cache.find import datasets_under, stores_under
    from ...cache.manifest import shard_sizes
    from ...cache.repair import repair
    from ...cache.table import damaged_tables
    from ...cache.verify import verify
    from ..terminal.console import Bars, console

    place = located(path, cache)
    stores = stores_under(place)
    tables = {folder: damaged_tables(folder) for folder in datasets_under(place) if (folder / "dataset.json").exists()}
    with Bars() as bars:
        bars.start("verify", sum(len(shard_sizes(store)) for store in stores), 0)
        reports = [verify(store, lambda count: bars.advance("verify", count)) for store in stores]
    bad = [report for report in reports if report.problems]
    for what in [what for damaged in tables.values() for what in damaged.values()]:
        click.echo(what)
    for report in bad:
        for problem in report.problems:
            click.echo(problem.what)
    if not bad and not any(tables.values()):
        shards, rows = (sum(getattr(report, name) for report in reports) for name in ("shards", "rows"))
        amount = size(sum(report.bytes for report in reports))
        console.print(f"{len(stores)} stores, {rows} rows in {shards} shards, {amount}: all whole", markup=False)
        return
    again = _extractions(bad, [folder for folder, damaged in tables.items() if damaged])
    if not mend:
        click.echo("This mends it:")
        targets = [report.folder for report in bad] or [folder for folder, damaged in tables.items() if damaged]
        targets = targets if len(targets) == 1 and not (bad and any(tables.values())) else [place]
        for line in [f"itin cache verify --repair {shlex.quote(str(target))}" for target in targets] + again:
            click.echo(f"  {line}")
        raise click.exceptions.Exit(1)
    for file in [file for damaged in tables.values() for file in damaged]:
        file.unlink(missing_ok=True)
        click.echo(f"removed {file}")
    for report in bad:
        for gone in repair(report):
            click.echo(f"removed {gone}")
    left = [problem.what for report in bad for problem in verify(report.folder).problems]
    for what in left:
        click.echo(f"left as it is: {what}")
    click.echo("Mended. This makes what is missing now:")
    for line in again:
        click.echo(f"  {line}")


def _extractions(bad: list[Report], folders: list[Path]) -> list[str]:
    """The extractions that make what is missing; looked up before anything is removed."""
    from ..terminal.extract_again import extraction_of

    lines = [extraction_of(report.folder.parent, report.folder) for report in bad]
    lines += [extraction_of(folder) for folder in folders if folder not in {report.folder.parent for report in bad}]
    return list(dict.fromkeys(lines))
