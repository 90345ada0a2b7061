"""What can be run in parts: its command line, how it is prepared, and what of it is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .submission import Submission

if TYPE_CHECKING:
    from ..extract.lane import Progress


@dataclass(frozen=True)
class Prepared:
    """A command that is ready to be submitted."""

    folder: Path
    """What is filled: a data set's folder in the cache, or a sweep's; the submission's folder is made in it."""
    stores: tuple[str, ...]
    """Of an extraction: the names of its stores."""
    words: tuple[str, ...]
    """The command's arguments, with paths that mean the same from everywhere."""
    limit: int | None
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
    """A command that runs in parts. `itin COMMAND words --part i/N` is one part, it coordinates with nobody."""

    name: str
    pieces: str
    """What is counted: features, runs."""

    def prepare(self, words: Sequence[str], progress: Progress | None = None) -> Prepared:
        """Check the arguments and do once what no part should repeat: scan, plan, download weights.

        Args:
            words: the command's arguments.
            progress: told what is under way; None for nobody.
        """

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


def works() -> dict[str, Callable[[], Work]]:
    """Command -> its work. A command that is not here cannot be submitted."""
    from .extraction import Extraction
    from .sweeping import Sweeping

    return {"extract": Extraction, "sweep": Sweeping}


def work_of(name: str) -> Work:
    """The work of a command.

    Raises:
        ValueError: it cannot run in parts.
    """
    known = works()
    if name not in known:
        raise ValueError(f"`itin {name}` cannot run in parts; what can: {', '.join(known)}")
    return known[name]()
