"""`itin cache merge`: combine stores of the same features."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click

from .cache_group import located


@click.command("merge")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path),
    help="A data set's folder in a cache, CACHE/<data set>; created if missing.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder, for sources named within it.")
def command(sources: tuple[str, ...], into: Path, cache: Path | None) -> None:
    """Combine SOURCES (stores, or data sets' folders with stores) in the data set's folder INTO.

    Stores of the same features become one; their plans may differ. Sources are not changed.
    """
    from ...cache.upkeep.find import is_store, stores_under
    from ...cache.upkeep.merge import copy_table, merge
    from ..terminal.console import Bars, console, counted

    if is_store(into):
        raise click.UsageError(f"--into takes the data set's folder, {into.parent}, not a store in it")
    groups: dict[str, list[Path]] = defaultdict(list)
    for source in sources:
        for store in stores_under(located(source, cache)):
            groups[store.name].append(store)
    with Bars() as bars:
        results = []
        for stores in groups.values():
            kind = stores[0].name.partition("-")[0]
            seen = [0]

            def advance(done: int, total: int, kind: str = kind, seen: list[int] = seen) -> None:
                if not seen[0]:
                    bars.start(kind, total, 0)
                bars.advance(kind, done - seen[0])
                seen[0] = done

            results.append(merge(stores, into, advance))
    for result in results:
        for source_folder, count in result.taken.items():
            console.print(f"{counted(count, 'row')} from {source_folder}")
        console.print(f"{counted(result.rows, 'row')}, {result.held_before} of them there before: {result.folder}")
    for folder in dict.fromkeys(store.parent for stores in groups.values() for store in stores):
        if copy_table(folder, into):
            console.print(f"the data set's table came from {folder}")
