"""`itin cache rm`: remove stores, never by accident."""

from __future__ import annotations

from pathlib import Path

import click

from .cache_group import located, size


@click.command("rm")
@click.argument("paths", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
def command(paths: tuple[str, ...], yes: bool, cache: Path | None) -> None:
    """Remove PATHS: stores, or data sets' folders with all their stores.

    Only files that the cache itself writes are removed, never a whole cache at once.
    """
    from ...cache.upkeep.find import is_dataset, is_store, stores_of
    from ...cache.upkeep.info import info_or_error
    from ...cache.upkeep.remove import files_of, remove, table_of
    from ...errors import CacheError

    doomed: dict[Path, list[Path]] = {}
    for name in paths:
        place = located(name, cache)
        if not is_store(place) and not is_dataset(place):
            raise CacheError(
                f"{place} is neither a store nor a data set's folder: nothing was removed",
                next_step="`itin cache info` lists the stores; name those to remove one by one",
            )
        for store in [place] if is_store(place) else stores_of(place):
            doomed[store] = files_of(store)
            one = info_or_error(store)
            rows = "cannot be read" if isinstance(one, CacheError) else f"{one.rows or 0} rows"
            amount = sum(file.stat().st_size for file in doomed[store])
            click.echo(f"{store}: {rows}, {len(doomed[store])} files, {size(amount)}")
        if not is_store(place):
            doomed[place] = table_of(place)
            click.echo(f"{place}: the table of the data set, {len(doomed[place])} files")
    if not yes and not click.confirm("Remove this? Only another extraction restores it", default=False):
        click.echo("Nothing was removed.")
        raise click.exceptions.Exit(1)
    left = remove([file for files in doomed.values() for file in files], list(doomed))
    click.echo(f"Removed {sum(map(len, doomed.values()))} files.")
    for folder in left:
        click.echo(f"{folder} holds files that are not the cache's own: it was not removed.")
