"""`itin cache diff`: the differences between two stores."""

from __future__ import annotations

import math
from pathlib import Path

import click

from ..terminal.json_output import json_option, print_json
from .cache_group import one_store

MAX_LISTED = 10
"""The maximum number of samples that are listed."""


@click.command("diff")
@click.argument("first")
@click.argument("second")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
@json_option
def command(first: str, second: str, cache: Path | None, as_json: bool) -> None:
    """Show which field of the identity differs, or which samples, or which values.

    The exit code is 1 if the stores differ.
    """
    from ...cache import open_store
    from ...cache.upkeep.diff import diff

    stores = one_store(first, cache), one_store(second, cache)
    found = diff(open_store(stores[0]), open_store(stores[1]))
    if as_json:
        named = {
            "identity": [dict(zip(("field", "first", "second"), one, strict=True)) for one in found.identity],
            "other_values": [dict(zip(("sample", "array", "largest"), one, strict=True)) for one in found.other_values],
        }
        print_json({"first": stores[0], "second": stores[1], "same": found.same, **vars(found), **named})
        raise click.exceptions.Exit(0 if found.same else 1)
    for name, a, b in found.identity:
        click.echo(f"{name}: {a} here, {b} there")
    _samples(f"only in {first}", found.only_first)
    _samples(f"only in {second}", found.only_second)
    _samples("made from other inputs", found.other_input)
    _samples(
        "with other values",
        [f"{sample} ({array}, {_by(largest)})" for sample, array, largest in found.other_values],
    )
    if found.same:
        click.echo(f"The same: {found.compared} samples with equal values.")
        return
    if not found.identity:
        click.echo(f"{found.compared} samples compared.")
    raise click.exceptions.Exit(1)


def _by(largest: float) -> str:
    return "of another length" if math.isnan(largest) else f"by at most {largest:.3g}"


def _samples(what: str, names: list[str]) -> None:
    if names:
        more = f", ... and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        click.echo(f"{len(names)} {what}: {', '.join(names[:MAX_LISTED])}{more}")
