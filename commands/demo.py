"""`itin demo`: the whole way on a small data set of its own."""

from __future__ import annotations

import click


@click.command("demo", short_help="The whole way on a small data set of its own, in under two minutes.")
def command() -> None:
    """Draw, extract, train, compare."""
