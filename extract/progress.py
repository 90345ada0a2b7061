"""The progress that an extraction reports while it runs."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A receiver of an extraction's progress."""

    def start(self, kind: str, total: int, done: int) -> None:
        """Begin a kind of feature: `total` samples, of which `done` are there already."""

    def advance(self, kind: str, count: int) -> None:
        """Count so many more samples as done, committed or quarantined."""


class SilentProgress:
    """A receiver that ignores all progress."""

    def start(self, kind: str, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, kind: str, count: int) -> None:
        """Do nothing."""
