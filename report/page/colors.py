"""The colours of regions on the page, in print and in the terminal. The page's style sheet repeats them."""

from __future__ import annotations

import math

REGIONS = ("#e5253f", "#2a7bff", "#f2a100", "#00a878", "#a855f7", "#06a8c9", "#f06bb0", "#9a6a1d")
"""The colours of the regions in order, red first as in Fig. 7; they repeat after the last."""

SHADE = 0.62
"""The opacity of a word of weight 1 on white."""


def region_color(number: int) -> str:
    """Return the colour of a region, counted from 0."""
    return REGIONS[number % len(REGIONS)]


def strength(weight: float) -> float:
    """Return how strongly a word of this weight is shaded, 0 to 1: the square root, so that small weights show."""
    return math.sqrt(min(1.0, max(0.0, weight)))


def over(color: str, paper: str, opacity: float) -> str:
    """Blend a colour over another one, both as `#rrggbb`."""
    mixed = (round(opacity * a + (1 - opacity) * b) for a, b in zip(_rgb(color), _rgb(paper), strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[place : place + 2], 16) for place in (1, 3, 5))
