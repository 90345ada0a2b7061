"""`itin cache verify`: check every file, and name the command that fixes what is damaged."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..terminal.json_output import json_option, print_json
from .cache_group import located, size

if TYPE_CHECKING:
    from rich.console import Console

    from ...cache.upkeep.verify import Verification
    from ...errors import CacheError


@dataclass(frozen=True)
class Found:
    """What was checked."""

    root: Path
    stores: list[Verification]
    tables: dict[Path, dict[Path, CacheError]]
    """By data set's folder the files of its table that cannot be used, with why."""

    @property
    def bad(self) -> list[Verification]:
        """The stores that `--repair` is for."""
        return [report for report in self.stores if report.problems and not report.alone]

    @property
    def damaged(self) -> dict[Path, str]:
        """The files of tables that `--repair` removes."""
        errors = {file: error for found in self.tables.values() for file, error in found.items()}
        return {file: error.what for file, error in errors.items() if not error.may_be_whole}

    @property
    def alone(self) -> list[str]:
        """What is said of stores and tables that may be whole though a file cannot be read."""
        problems = [problem.what for report in self.stores if report.alone for problem in report.problems]
        tables = [error.what for found in self.tables.values() for error in found.values() if error.may_be_whole]
        return problems + tables

    @property
    def bad_tables(self) -> list[Path]:
        """The folders of data sets whose table is damaged."""
        return [folder for folder, found in self.tables.items() if self.damaged.keys() & found.keys()]


@dataclass
class Fixed:
    """What a repair has done."""

    removed: list[Path] = field(default_factory=list)
    moved: dict[Path, Path] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    """What is said of all that is as it was, or that an extraction alone can do."""
    failed: list[CacheError] = field(default_factory=list)


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
    from ..terminal.console import console, notes

    found = _check(located(path, cache), notes if as_json else console)
    commands = _commands(found, fix)  # before anything is removed
    say = (lambda line: None) if as_json else click.echo
    problems = [problem.what for report in found.bad for problem in report.problems]
    for what in [*found.alone, *found.damaged.values(), *problems]:
        say(what)
    fixed = _repair(found) if fix else Fixed()
    if as_json:
        tables = [{"path": file, "what": what} for file, what in found.damaged.items()]
        done = {"removed": fixed.removed, "moved": fixed.moved, "left": fixed.left}
        print_json({"stores": found.stores, "tables": tables, **done, "commands": commands})
    elif not found.bad and not found.damaged and not found.alone:
        console.print(_whole(found.stores))
    _tell(found, fixed, commands, fix, say)
    for one in fixed.failed:
        click.echo(f"Error: {one}", err=True)
    if found.alone or fixed.failed or ((found.bad or found.damaged) and not fix):
        raise click.exceptions.Exit(1)


def _check(root: Path, shown: Console) -> Found:
    """Read every file of the stores and tables below a folder."""
    from ...cache.format.manifest import shard_sizes
    from ...cache.table import damaged_tables
    from ...cache.upkeep.find import datasets_under, stores_under
    from ...cache.upkeep.verify import verify
    from ..terminal.console import Bars

    stores = stores_under(root)
    tables = {folder: damaged_tables(folder) for folder in datasets_under(root) if (folder / "dataset.json").exists()}
    with Bars(shown) as bars:
        bars.start("verify", sum(len(shard_sizes(store)) for store in stores), 0)
        return Found(root, [verify(store, lambda count: bars.advance("verify", count)) for store in stores], tables)


def _commands(found: Found, fix: bool) -> list[str]:
    """Return the commands that fix what is damaged, or that follow where this one does."""
    again = _extractions(found.bad, found.bad_tables)
    if fix or not (found.bad or found.damaged):
        return again
    targets = [report.folder for report in found.bad] or found.bad_tables
    targets = targets if len(targets) == 1 and not (found.bad and found.damaged) else [found.root]
    return [f"itin cache verify --repair {shlex.quote(str(target))}" for target in targets] + again


def _repair(found: Found) -> Fixed:
    """Remove or rewrite what is damaged; a store that cannot be repaired does not keep the others from it."""
    from ...cache.format.sealed_json import write_error
    from ...cache.upkeep.find import is_store
    from ...cache.upkeep.repair import repair
    from ...cache.upkeep.verify import verify
    from ...errors import CacheError

    done = Fixed(left=found.alone)
    for file in filter(os.path.lexists, found.damaged):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(file, error) from error
        done.removed.append(file)
    for report in found.bad:
        folder = report.folder
        try:
            done.removed += repair(report, done.moved.__setitem__)
        except CacheError as error:
            done.failed.append(error)
            continue
        if is_store(folder) and not (folder / "plan.json").exists():
            done.left.append(f"{folder} has shards and no plan: an extraction by the same encoder plans them again")
        elif is_store(folder):  # one of which nothing was whole is gone now
            done.left += [problem.what for problem in verify(folder).problems]
    return done


def _tell(found: Found, fixed: Fixed, commands: list[str], fix: bool, say: Callable[[str], None]) -> None:
    """Say what was done, and what comes next."""
    for file, home in fixed.moved.items():
        say(f"moved {file} to {home.name}")
    for file in fixed.removed:
        say(f"removed {file}")
    for what in fixed.left:
        say(f"left as it is: {what}")
    if len(found.bad) > len(fixed.failed) or found.damaged:
        say("Fixed. These commands extract again what is missing now:" if fix else "These commands fix it:")
        for line in commands:
            say(f"  {line}")
    if found.alone:
        say("What cannot be read may be whole, and is left alone: make it readable, or update itin.")


def _whole(stores: list[Verification]) -> str:
    """Return the line about stores of which nothing is damaged."""
    from ..terminal.console import counted

    shards, rows = (sum(getattr(report, name) for report in stores) for name in ("shards", "rows"))
    whole = f"{counted(len(stores), 'store')}, {counted(rows, 'row')} in {counted(shards, 'shard')}"
    return f"{whole}, {size(sum(report.bytes for report in stores))}: all whole"


def _extractions(bad: list[Verification], folders: list[Path]) -> list[str]:
    """Return the extractions that make what is missing; call this before anything is removed."""
    from ..terminal.extract_again import extraction_of

    lines = [extraction_of(report.folder.parent, report.folder) for report in bad]
    lines += [extraction_of(folder) for folder in folders if folder not in {report.folder.parent for report in bad}]
    return list(dict.fromkeys(lines))
