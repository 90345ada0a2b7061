"""Formatting of scores, intervals and p-values."""

from __future__ import annotations

NONE = "–"
"""The placeholder for a missing number."""


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction in per cent; `NONE` for None and NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}%}"


def between(low: float, high: float) -> str:
    """Format the ends of an interval of fractions in per cent, clipped to 0 and 100."""
    return f"({100 * max(0.0, low):.1f} – {100 * min(1.0, high):.1f})"


def plain(value: float | None, digits: int = 3) -> str:
    """Format a number; `NONE` for None and NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")


def ends(low: float, high: float) -> str:
    """Format the ends of an interval of numbers; empty for NaN."""
    return "" if low != low or high != high else f"({plain(low)} – {plain(high)})"


def show_p(p: float, sign: bool = False) -> str:
    """Format a p-value, with `sign` after an "=" as in a sentence; `NONE` for NaN."""
    return NONE if p != p else "< 0.001" if p < 0.001 else f"{'= ' * sign}{p:.3f}"
