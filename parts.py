"""Splitting work: over the cores here, and over processes that know nothing of each other, part i of N of them."""

from __future__ import annotations

import os
from dataclasses import dataclass


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return how many threads decode images: one a core, at most 16."""
    return min(cores(), 16)


@dataclass(frozen=True)
class Part:
    """One part of N, counted from 0, takes every N-th piece; who takes what follows from the two numbers alone."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"part: expected i/N with 0 <= i < N, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Reads `3/16`."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise ValueError(f"part: expected i/N, such as 0/16, got {text!r}")
        return cls(int(index), int(count))

    def has(self, piece: int) -> bool:
        """Whether a piece of work, by its number, is this part's."""
        return piece % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
