"""The table of commands that run in parts."""

from __future__ import annotations

from collections.abc import Callable

from .extract_work import Extraction
from .sweep_work import Sweeping
from .work import Work

WORKS: dict[str, Callable[[], Work]] = {"extract": Extraction, "sweep": Sweeping}
"""Command -> its work. Other commands cannot be submitted."""


def work_of(name: str) -> Work:
    """Return the work of a command.

    Raises:
        ValueError: the command cannot run in parts.
    """
    if name not in WORKS:
        raise ValueError(f"`itin {name}` cannot run in parts; what can: {', '.join(WORKS)}")
    return WORKS[name]()
