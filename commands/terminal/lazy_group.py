"""A group whose commands live in modules of their own, loaded on demand."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports the module of a command only for that command; its own help imports none.

    Args:
        modules: command -> module in `itin.commands`, which defines `command`, and its line in the help.
    """

    def __init__(self, *args: Any, modules: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands, in the order of the help."""
        return list(self._modules)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names; of a wrong one the error says which are near, or which are."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._modules)
            more = f"Did you mean {' or '.join(near)}?" if near else f"Expected {', '.join(self._modules)}."
            raise click.UsageError(f"{error.message} {more}", ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load and return the command of that name; None if there is none."""
        if cmd_name not in self._modules:
            return None
        module, line = self._modules[cmd_name]
        found: click.Command = import_module(f"..{module}", __package__).command
        found.short_help = line
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._modules.items()])
