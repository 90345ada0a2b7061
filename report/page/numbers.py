"""Scores, intervals and p-values as they are read."""

from __future__ import annotations

NONE = "–"
"""What stands for a number that there is none of."""


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 1 in per cent; `NONE` for None and NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}%}"


def between(low: float, high: float) -> str:
    """The ends of an interval; shares of 1 end at 0 and 1."""
    return f"({100 * max(0.0, low):.1f} – {100 * min(1.0, high):.1f})"


def show_p(p: float, sign: bool = False) -> str:
    """A p-value, with "=" before it where it stands in a sentence; `NONE` for NaN."""
    return NONE if p != p else "< 0.001" if p < 0.001 else f"{'= ' * sign}{p:.3f}"
