"""`itin data`: the contents of a data set and its published splits; one file per subcommand."""

from __future__ import annotations

import click

from ..terminal.lazy_group import LazyGroup

COMMANDS = {"check": "data.check", "fetch": "data.fetch"}
"""Command -> module in `itin.commands`."""


@click.command("data", cls=LazyGroup, modules=COMMANDS, short_help="Check a data set; fetch published splits.")
def command() -> None:
    """Check a data set; fetch published splits."""
