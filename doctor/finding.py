"""What a check finds, and what it is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["good", "doubtful", "bad"]

STATES: tuple[State, ...] = ("good", "doubtful", "bad")
"""From the best to the worst; `doubtful` works, but not for everything or not as one may expect."""


@dataclass(frozen=True)
class Finding:
    """One fact about this machine."""

    state: State
    found: str
    """What is there, in one line."""
    next_step: str | None = None
    """What to do about it; for a good finding, what more there could be."""


@dataclass(frozen=True)
class Asked:
    """What the user wants to use on this machine; None: what `itin extract` would take."""

    cache: Path | None = None
    dataset: str | None = None
    root: Path | None = None
    encoders: Mapping[str, str] = field(default_factory=dict)
    """By field of `EncoderConfig`."""
    scheduler: str | None = None
    """The address of a Dask scheduler."""


def good(found: str, next_step: str | None = None) -> Finding:
    """Return a good finding."""
    return Finding("good", found, next_step)


def doubtful(found: str, next_step: str) -> Finding:
    """Return a doubtful finding."""
    return Finding("doubtful", found, next_step)


def bad(found: str, next_step: str) -> Finding:
    """Return a bad finding."""
    return Finding("bad", found, next_step)


def gigabytes(size: float) -> str:
    """Return a number of bytes in GB."""
    return f"{size / 1e9:.1f} GB"
