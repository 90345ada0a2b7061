"""`itin data`: the contents of a data set and its published splits; one file per subcommand."""

from __future__ import annotations

import click

from ..terminal.lazy_group import LazyGroup

COMMANDS = {
    "check": ("data.check", "Duplicates, conflicting labels, class balance, Table I."),
    "fetch": ("data.fetch", "Fetch a published split."),
}
"""Command -> module in `itin.commands`, and its line in the help."""


@click.command("data", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Check a data set; fetch published splits."""
