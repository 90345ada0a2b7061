"""What commands say, as text that is the same at every place and time, and the files that it is kept in."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from itin.cli import main

EXIT_CODES = {0, 1, 2, 75, 130}
"""The documented exit codes."""

UPDATE = "ITIN_UPDATE_TEXT"
"""The variable that, when set, writes the expected text instead of comparing with it."""

Pair = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern, and what stands for it."""


CLICK: tuple[Pair, ...] = (
    (r"^(Try '.*) -h' for help", r"\1 --help' for help"),
    (r"^(Usage: itin weights \[OPTIONS\]) COMMAND", r"\1 [COMMAND]"),
    (r"No such option: (\S+) \(Possible options: (.*)\)$", lambda found: _suggested(found[1], found[2].split(", "))),
)
"""Words of older releases of click, and those of the newest."""


def _suggested(given: str, known: Sequence[str]) -> str:
    return f"No such option '{given}'. (Did you mean one of: {', '.join(f'{one!r}' for one in known)}?)"


def replaced(text: str, pairs: Sequence[Pair]) -> str:
    """The text with words in place of what differs from place to place, line by line."""
    for pattern, word in pairs:
        text = re.sub(pattern, word, text, flags=re.M)
    return text.strip("\n")


def section(code: int, out: str, errors: str, plain: Callable[[str], str]) -> str:
    """Exit code, output and errors of a command as one text. It never ends in a traceback."""
    assert code in EXIT_CODES, out + errors
    assert "Traceback" not in out + errors, out + errors
    said = [f"exit code {code}", plain(out)]
    if shown := plain(replaced(errors, CLICK)):
        said += ["errors:", shown]
    return "\n".join(one for one in said if one)


def runner() -> CliRunner:
    """A runner that keeps output and errors apart, which click before 8.2 does only if asked."""
    asked: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**asked)


def told(words: Sequence[object], plain: Callable[[str], str]) -> str:
    """What a command says, run in this process."""
    done = runner().invoke(main, [str(word) for word in words], "n\n", prog_name="itin")  # the answer to any question
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return section(done.exit_code, done.stdout, done.stderr, plain)


class Book:
    """One file of expected text, a section for each title, in their order.

    Args:
        path: the file.
        titles: of all sections.
    """

    def __init__(self, path: Path, titles: Sequence[str]) -> None:
        self.path, self.titles = path, titles

    def read(self) -> dict[str, str]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        parts = re.split(r"^== (.*) ==$", text, flags=re.M)[1:]
        return {title: body.strip("\n") for title, body in zip(parts[::2], parts[1::2], strict=True)}

    def check(self, title: str, pieces: Mapping[str, str]) -> None:
        """Assert that a section is as written, and that every other one belongs to a title; or write it.

        Args:
            title: the section's.
            pieces: its texts by name.
        """
        body = "\n".join(f"-- {what}\n{text}" for what, text in pieces.items())
        sections = self.read()
        if os.environ.get(UPDATE):
            sections[title] = body
            kept = [title for title in self.titles if title in sections]
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text("\n\n".join(f"== {one} ==\n{sections[one]}" for one in kept) + "\n", encoding="utf-8")
            return
        assert title in sections, f"{self.path} has no section {title!r}: the README.md above it says how to write one"
        assert set(sections) <= set(self.titles), f"{self.path}: sections that no test has any more"
        if body != sections[title]:
            lines = difflib.unified_diff(
                sections[title].splitlines(), body.splitlines(), "expected", "found", lineterm="", n=3
            )
            pytest.fail("\n".join([f"{self.path.name}: {title}", *lines]), pytrace=False)
