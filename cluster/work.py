"""What every command is that runs in parts: how a part is called, and what of the whole is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .submission import Submission


@dataclass(frozen=True)
class Prepared:
    """A command that is ready to be submitted."""

    folder: Path
    """What is filled: a data set's folder in the cache, or a sweep's; the submission's folder is made in it."""
    stores: tuple[str, ...]
    """Of an extraction: the names of its stores."""
    words: tuple[str, ...]
    """The command's arguments, as `Submission.words`."""
    limit: int | None = None
    """Of an extraction: so many samples are wanted."""
    config: dict[str, Any] = field(default_factory=dict)
    """Of an extraction: its configuration, with paths that mean the same from everywhere."""
    note: str | None = None
    """One line for whoever submits."""


@dataclass(frozen=True)
class Missing:
    """What a submission still lacks."""

    parts: Mapping[int, int]
    """Part -> pieces of work that it lacks; parts that lack none are left out."""
    wanted: int
    """Pieces of all parts."""
    given_up: int
    """Pieces that count as done because they cannot be done: in quarantine, or failed."""

    @property
    def pieces(self) -> int:
        """How many pieces are lacking."""
        return sum(self.parts.values())


class Work(Protocol):
    """A command that runs in parts. One part, `--part i/N`, coordinates with nobody."""

    name: str
    pieces: str
    """What is counted: features, runs."""

    def part(self, submission: Submission) -> list[str]:
        """Arguments of itin for a part; which one, `i/N`, is to be put behind them."""

    def consolidate(self, submission: Submission) -> list[str]:
        """Arguments of itin for the last step."""

    def missing(self, submission: Submission) -> Missing:
        """What is not committed yet. Imports no torch: light jobs ask."""

    def made_since(self, submission: Submission, begin: float) -> int:
        """Pieces that were committed at `begin`, in seconds since 1970, or later."""

    def consolidated(self, submission: Submission) -> bool:
        """Whether the last step is done."""
