"""Ascending row numbers as text, `0-9,12,14-20`, as in headers and manifests."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def to_ranges(rows: Iterable[int]) -> str:
    """Return ascending row numbers as text: `0-9,12,14-20`."""
    numbers = np.fromiter(rows, dtype=np.int64)
    if not len(numbers):
        return ""
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    firsts = numbers[np.concatenate([[0], breaks + 1])].tolist()
    lasts = numbers[np.concatenate([breaks, [len(numbers) - 1]])].tolist()
    return ",".join(
        f"{first}-{last}" if last > first else f"{first}" for first, last in zip(firsts, lasts, strict=True)
    )


def check_count(text: str, count: int) -> None:
    """Raise ValueError unless a text from `to_ranges` names so many rows; they are not made."""
    spans = [part.partition("-") for part in text.split(",")] if text else []
    if (named := sum(int(last or first) + 1 - int(first) for first, _, last in spans)) != count:
        raise ValueError(f"the rows {text[:40]} are {named}, not {count}")


def from_ranges(text: str) -> np.ndarray:
    """Return the row numbers (N,) int64 of a text from `to_ranges`."""
    spans = [part.partition("-") for part in text.split(",")] if text else []
    numbers = [np.arange(int(first), int(last or first) + 1, dtype=np.int64) for first, _, last in spans]
    return np.concatenate(numbers) if numbers else np.zeros(0, dtype=np.int64)
