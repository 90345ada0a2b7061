"""`itin cache verify`: check every file, and name the command that fixes what is damaged."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..terminal.json_output import json_option, print_json
from .cache_group import located, size

if TYPE_CHECKING:
    from ...cache.upkeep.verify import Verification


@click.command("verify")
@click.argument("path", required=False)
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
@click.option(
    "--repair", "fix", is_flag=True, help="Remove what is damaged, so that the next extraction makes just that."
)
@json_option
def command(path: str | None, cache: Path | None, fix: bool, as_json: bool) -> None:
    """Read every file of PATH and check it: checksums, plan, manifest, quarantine, and their consistency.

    The exit code is 1 if something is damaged and was not fixed, or cannot be read, or was written by a later itin.
    """
    from ...cache.format.manifest import shard_sizes
    from ...cache.format.sealed_json import write_error
    from ...cache.table import damaged_tables
    from ...cache.upkeep.find import datasets_under, is_store, stores_under
    from ...cache.upkeep.repair import repair
    from ...cache.upkeep.verify import verify
    from ...errors import CacheError
    from ..terminal.console import Bars, console, counted, notes

    root = located(path, cache)
    stores = stores_under(root)
    tables = {folder: damaged_tables(folder) for folder in datasets_under(root) if (folder / "dataset.json").exists()}
    with Bars(notes if as_json else console) as bars:
        bars.start("verify", sum(len(shard_sizes(store)) for store in stores), 0)
        reports = [verify(store, lambda count: bars.advance("verify", count)) for store in stores]
    bad = [report for report in reports if report.problems and not report.alone]
    alone = [problem.what for report in reports if report.alone for problem in report.problems]
    for found in tables.values():
        alone += [found.pop(file).what for file, error in list(found.items()) if error.may_be_whole]
    damaged = {file: error.what for found in tables.values() for file, error in found.items()}
    again = _extractions(bad, [folder for folder, found in tables.items() if found])
    commands = again
    if (bad or damaged) and not fix:
        targets = [report.folder for report in bad] or [folder for folder, found in tables.items() if found]
        targets = targets if len(targets) == 1 and not (bad and damaged) else [root]
        commands = [f"itin cache verify --repair {shlex.quote(str(target))}" for target in targets] + again
    say = (lambda line: None) if as_json else click.echo
    for what in [*alone, *damaged.values(), *(problem.what for report in bad for problem in report.problems)]:
        say(what)
    removed: list[Path] = []
    moved: dict[Path, Path] = {}
    left: list[str] = []
    failed: list[CacheError] = []
    if fix:
        damaged = {file: what for file, what in damaged.items() if os.path.lexists(file)}
        for file in damaged:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(file, error) from error
        removed, left = [*damaged], [*alone]
        for report in bad:
            try:
                removed += repair(report, moved.__setitem__)
            except CacheError as error:  # the other stores are repaired all the same
                failed.append(error)
                continue
            if is_store(report.folder):  # one of which nothing was whole is gone now
                left += [problem.what for problem in verify(report.folder).problems]
    if as_json:
        tables_found = [{"path": file, "what": what} for file, what in damaged.items()]
        print_json(
            {
                "stores": reports,
                "tables": tables_found,
                "removed": removed,
                "moved": moved,
                "left": left,
                "commands": commands,
            }
        )
    elif not bad and not damaged and not alone:
        shards, rows = (sum(getattr(report, name) for report in reports) for name in ("shards", "rows"))
        amount = size(sum(report.bytes for report in reports))
        whole = f"{counted(len(stores), 'store')}, {counted(rows, 'row')} in {counted(shards, 'shard')}"
        console.print(f"{whole}, {amount}: all whole")
    for file, home in moved.items():
        say(f"moved {file} to {home.name}")
    for file in removed:
        say(f"removed {file}")
    for what in left:
        say(f"left as it is: {what}")
    if len(bad) > len(failed) or damaged:
        say("Fixed. These commands extract again what is missing now:" if fix else "These commands fix it:")
        for line in commands:
            say(f"  {line}")
    if alone:
        say("What cannot be read may be whole, and is left alone: make it readable, or update itin.")
    for one in failed:
        click.echo(f"Error: {one}", err=True)
    if alone or failed or ((bad or damaged) and not fix):
        raise click.exceptions.Exit(1)


def _extractions(bad: list[Verification], folders: list[Path]) -> list[str]:
    """Return the extractions that make what is missing; call this before anything is removed."""
    from ..terminal.extract_again import extraction_of

    lines = [extraction_of(report.folder.parent, report.folder) for report in bad]
    lines += [extraction_of(folder) for folder in folders if folder not in {report.folder.parent for report in bad}]
    return list(dict.fromkeys(lines))
