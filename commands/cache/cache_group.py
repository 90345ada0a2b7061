"""`itin cache`: inspect, check and change the feature cache; one file per subcommand."""

from __future__ import annotations

from pathlib import Path

import click

from ..terminal.lazy_group import LazyGroup

COMMANDS = {
    "info": ("cache.info", "List stores: kinds, encoders, weights, rows, bytes, provenance."),
    "verify": ("cache.verify", "Check every byte; name what is damaged and the command that fixes it."),
    "diff": ("cache.diff", "Show how two stores differ."),
    "merge": ("cache.merge", "Combine stores of the same features from several places."),
    "import": ("cache.import_", "Import features made by other tools."),
    "export": ("cache.export", "Write a store in the form of another tool."),
    "rm": ("cache.rm", "Remove stores, after showing them and asking."),
}
"""Command -> module in `itin.commands`, and its line in the help."""


@click.command("cache", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Inspect, check, merge, import, export and remove stores of features.

    A PATH is a store, a data set's folder or a whole cache: a path, or a name within the cache folder
    (`mvsa-single`, `mvsa-single/regions-vg-frcnn-0123456789ab`). The default is everything in the cache folder.
    """


def located(path: str | None, cache: Path | None) -> Path:
    """Return the path of a PATH argument: the cache folder, a name within it, or a path."""
    from ...paths import cache_root

    root = cache_root(cache)
    if path is None:
        return root
    inside = root / path
    return inside if inside.exists() and not path.startswith(".") else Path(path)


def one_store(path: str, cache: Path | None) -> Path:
    """Return the one store that a PATH argument names."""
    from ...cache.upkeep.find import stores_under

    found = stores_under(located(path, cache))
    if len(found) > 1:
        raise click.UsageError(f"{path} holds several stores, name one: " + ", ".join(store.name for store in found))
    return found[0]


def size(count: int) -> str:
    """Return a number of bytes as text: `72.3 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
