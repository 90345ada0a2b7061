"""Splitting work: over the cores of this machine, and over N independent processes, of which each does part i."""

from __future__ import annotations

import os
from dataclasses import dataclass


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return how many threads decode images: one per core, at most 16."""
    return min(cores(), 16)


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, counted from 0: every N-th piece of work, as the two numbers alone decide."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"part: expected i/N with 0 <= i < N, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part that a text such as `3/16` names."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise ValueError(f"part: expected i/N, such as 0/16, got {text!r}")
        return cls(int(index), int(count))

    def has(self, piece: int) -> bool:
        """Return whether a piece of work, by its number, belongs to this part."""
        return piece % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
