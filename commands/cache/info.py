"""`itin cache info`: the stores in a cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..terminal.json_output import json_option, print_json
from .cache_group import located, size

if TYPE_CHECKING:
    from ...cache.upkeep.info import Info

MAX_LISTED = 10
"""The maximum number of quarantined samples that are listed."""


@click.command("info")
@click.argument("path", required=False)
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
@json_option
def command(path: str | None, cache: Path | None, as_json: bool) -> None:
    """List the stores in PATH with kind, encoder, weights, rows, bytes, quarantine and provenance."""
    from ...cache.upkeep.find import stores_under
    from ...cache.upkeep.info import info_or_error
    from ...errors import CacheError

    found = {store: info_or_error(store) for store in stores_under(located(path, cache))}
    if as_json:
        rows = [
            {"path": store, "error": str(one)} if isinstance(one, CacheError) else vars(one)
            for store, one in found.items()
        ]
        print_json(rows)
        return
    _table([one for one in found.values() if not isinstance(one, CacheError)])
    if len(found) == 1:
        for one in found.values():
            if not isinstance(one, CacheError):
                _details(one)
    for one in found.values():
        if isinstance(one, CacheError):
            click.echo(str(one), err=True)


def _table(rows: list[Info]) -> None:
    from ..terminal.console import console, grid

    columns = ("data set", "kind", "encoder", "weights", "rows", "quarantined", "size", "state", "store")
    cells = [
        (
            one.path.resolve().parent.name,
            one.kind,
            one.encoder,
            one.weights,
            "" if one.rows is None else one.rows,
            len(one.quarantined),
            size(one.bytes),
            _state(one),
            one.path.name,
        )
        for one in rows
    ]
    if cells:
        console.print(grid(columns, cells, right=("rows", "quarantined", "size")))


def _state(one: Info) -> str:
    from ..terminal.console import counted

    if one.rows is None:
        return f"no manifest yet, {counted(one.shards, 'shard')}"
    if one.missing:
        return f"{counted(one.missing, 'shard')} missing"
    return "complete" if one.complete else f"{one.planned - one.rows - len(one.quarantined)} to come"


def _details(one: Info) -> None:
    from ..terminal.console import console

    fields = {
        "path": one.path,
        "fingerprint": one.fingerprint,
        "dtype": one.identity["dtype"],
        "dims": json.dumps(one.identity["dims"]),
        "weights": json.dumps(one.identity["weights"]),
        "preprocessing": json.dumps(one.identity["preprocessing"], ensure_ascii=False),
        "shards": one.shards,
        **{name: json.dumps(value, ensure_ascii=False) for name, value in one.provenance.items()},
    }
    if "names" in one.provenance:  # all of them with --json
        fields["names"] = ", ".join(f"{len(each)} {kind}" for kind, each in one.provenance["names"].items())
    for name, value in fields.items():
        console.print(f"  {name:15} {value}")
    for record in one.quarantined[:MAX_LISTED]:
        console.print(f"  in quarantine   {record['id']}: {record['reason']}")
    if len(one.quarantined) > MAX_LISTED:
        console.print(f"  ... and {len(one.quarantined) - MAX_LISTED} more: `itin cache info {one.path} --json`")
