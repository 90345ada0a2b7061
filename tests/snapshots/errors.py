"""How errors are held: what provokes one, and what the command then says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ..keeper import Book
from ..own_encoders import forget
from .world import EXPECTED, Step, shown, tell

Change = Callable[[], object]
"""What is done to the world before, in its folder."""

Case = Sequence[Step | Change]
"""Changes and commands, in their order; the commands are held."""


def wrote(path: str, data: str | bytes = "") -> Change:
    """A file, with the folders that it lies in."""

    def change() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data.encode() if isinstance(data, str) else data)

    return change


def removed(pattern: str) -> Change:
    """Files or folders that are gone."""

    def change() -> None:
        found = sorted(Path().glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def copied(source: str, target: str) -> Change:
    """A folder that is there twice."""
    return lambda: shutil.copytree(source, target)


def emptied(variable: str, value: str = "nowhere") -> Change:
    """An environment variable that leads nowhere; the test's own patch takes it back."""
    return lambda: os.environ.__setitem__(variable, value)


def held(book: str, cases: Mapping[str, Case], title: str, server: str = "") -> None:
    """Assert that a case's commands say what a book holds.

    Args:
        book: its name.
        cases: all that are in it.
        title: the case's.
        server: what `SERVER` stands for in commands.
    """
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PATH", "ITIN_CACHE", "ITIN_DATA", "ITIN_WEIGHTS"):
            if variable in os.environ:
                patch.setenv(variable, os.environ[variable])  # is put back
            else:
                patch.delenv(variable, raising=False)
        for one in cases[title]:
            if callable(one):
                one()
                forget(Path.cwd())  # code that was imported before the change
            else:
                words = [str(word).replace("SERVER", server) for word in one]
                said[shown(one) + ", again" * (shown(one) in said)] = tell(*words)
    assert said, title
    assert not list(said.values())[-1].startswith("exit code 0"), said
    Book(EXPECTED / f"{book}.txt", list(cases)).check(title, said)
