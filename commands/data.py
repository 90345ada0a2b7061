"""`itin data`: what a data set holds, and the splits that others published for it; one module a command."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {"check": "data_check", "fetch": "data_fetch"}
"""Command -> module in `itin.commands`."""


class Commands(click.Group):
    """A group whose commands live in modules of their own, loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f".{COMMANDS[cmd_name]}", __package__).command
        return found


@click.command("data", cls=Commands, short_help="Check a data set; fetch published splits.")
def command() -> None:
    """Check a data set; fetch published splits."""
