"""The interface of a command that runs in parts: how to call a part, and what is missing."""

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
    """The folder to fill: a data set's folder in the cache, or a sweep's; it will hold the submission's folder."""
    stores: tuple[str, ...]
    """For an extraction: the names of its stores."""
    words: tuple[str, ...]
    """The command's arguments, see `Submission.words`."""
    limit: int | None = None
    """For an extraction: the maximum number of samples."""
    config: dict[str, Any] = field(default_factory=dict)
    """For an extraction: its configuration with absolute paths."""
    allow: tuple[str, ...] = ()
    """For an extraction: the encoders of a user's own that were named, see `extract.run.load_encoders`."""
    note: str | None = None
    """A line to show at submission."""


@dataclass(frozen=True)
class Missing:
    """The pieces that a submission still lacks."""

    parts: Mapping[int, int]
    """Part -> number of missing pieces; complete parts are left out."""
    wanted: int
    """The number of pieces of all parts."""
    given_up: int
    """The number of pieces that count as done because they cannot be done: in quarantine, or failed."""

    @property
    def pieces(self) -> int:
        """The number of missing pieces."""
        return sum(self.parts.values())


class Work(Protocol):
    """A command that runs in parts. A part, `--part i/N`, needs no coordination with others."""

    name: str
    pieces: str
    """The unit of work: features or runs."""

    def part(self, submission: Submission) -> list[str]:
        """Return the arguments of itin for a part, to be followed by its `i/N`."""

    def consolidate(self, submission: Submission) -> list[str]:
        """Return the arguments of itin for the last step."""

    def missing(self, submission: Submission) -> Missing:
        """Return what is not committed yet, without importing torch: light jobs call this."""

    def made_since(self, submission: Submission, begin: float) -> int:
        """Return the number of pieces committed at `begin` (seconds since 1970) or later."""

    def consolidated(self, submission: Submission) -> bool:
        """Return whether the last step is done."""
