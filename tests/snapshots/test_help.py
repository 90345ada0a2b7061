"""The help of every command and subcommand, as text."""

from __future__ import annotations

import pytest

from itin.cli import main

from ..keeper import CLICK, Book, replaced, runner
from .world import EXPECTED, commands

WIDTH = 100
COMMANDS = [name for name, command in commands().items() if not command.hidden]


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    words = command.split()[1:]
    done = runner().invoke(main, [*words, "--help"], prog_name="itin", terminal_width=WIDTH)
    assert (done.exit_code, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= WIDTH
    Book(EXPECTED / "help.txt", COMMANDS).check(command, {"--help": replaced(done.stdout, CLICK).rstrip()})
