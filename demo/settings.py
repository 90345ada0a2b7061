"""The settings of the demo's pictures: two scenes each for a cheerful, an everyday and a gloomy mood."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from .pen import SIZE, Pen

W, H = SIZE
HORIZON = 78
"""The height of the ground, on which objects stand, in pixels from the bottom."""


def meadow(pen: Pen, rng: Random) -> None:
    """Draw green hills under the sun."""
    pen.box(0, 0, W, H, "#8fd6ff")
    _sun(pen, rng.uniform(20, W - 20), rng.uniform(160, 175))
    for _ in range(2):
        _cloud(pen, rng.uniform(10, W - 10), rng.uniform(135, 180), rng.uniform(8, 12), "#aee2ff")
    pen.oval(rng.uniform(10, 90), HORIZON - 30, 130, 52, "#a8e05f")
    pen.oval(rng.uniform(170, 250), HORIZON - 34, 150, 50, "#97d84f")
    pen.box(0, 0, W, HORIZON - 6, "#b5e86b")
    for _ in range(16):
        x, y = rng.uniform(4, W - 4), rng.uniform(4, HORIZON - 14)
        pen.disc(x, y, 1.7, rng.choice(("#ffffff", "#fff176")))


def beach(pen: Pen, rng: Random) -> None:
    """Draw sand, the sea and a sail."""
    pen.box(0, 0, W, H, "#aee4fb")
    _sun(pen, rng.uniform(20, W - 20), rng.uniform(160, 178))
    pen.box(0, 0, W, HORIZON + 22, "#6fd3da")
    x = rng.uniform(30, W - 30)
    pen.shape([(x - 9, 103), (x + 9, 103), (x + 5, 98), (x - 5, 98)], "#ffffff")
    pen.shape([(x, 104), (x, 124), (x + 10, 104)], "#ffffff")
    for _ in range(7):
        x, y = rng.uniform(0, W), rng.uniform(HORIZON, HORIZON + 16)
        pen.line([(x, y), (x + 12, y)], "#94e3e8", 1.4)
    pen.box(0, 0, W, HORIZON, "#f8e9bb")
    pen.box(0, HORIZON - 3, W, HORIZON + 1, "#fbf4dc")
    for _ in range(14):
        pen.disc(rng.uniform(4, W - 4), rng.uniform(4, HORIZON - 10), 1.5, "#ecd79b")


def street(pen: Pen, rng: Random) -> None:
    """Draw a street under a grey sky."""
    pen.box(0, 0, W, H, "#d3d8da")
    x = -rng.uniform(0, 30)
    while x < W:
        width, top = rng.uniform(30, 48), rng.uniform(112, 160)
        pen.box(x, HORIZON, x + width, top, rng.choice(("#b4b9bd", "#bfc1bd", "#a9b0b6")))
        for row in range(3):
            for column in range(3):
                left, low = x + (column + 0.6) * width / 4, HORIZON + 8 + row * 13
                if low + 10 < top:
                    pen.box(left, low, left + width / 8, low + 7, "#d9dee0")
        x += width + 1
    pen.box(0, 0, W, HORIZON, "#c6c4bf")
    pen.box(0, 0, W, HORIZON - 10, "#a5a7a8")
    for start in range(-20, W, 44):
        pen.box(start + 10, 10, start + 34, 13, "#e6e6e2")


def field(pen: Pen, rng: Random) -> None:
    """Draw fields in autumn, behind a fence."""
    pen.box(0, 0, W, H, "#dcd9d0")
    for _ in range(3):
        _cloud(pen, rng.uniform(0, W), rng.uniform(140, 182), rng.uniform(12, 17), "#e9e6df")
    pen.oval(rng.uniform(0, 90), HORIZON - 26, 120, 48, "#b3ab97")
    pen.oval(rng.uniform(160, 256), HORIZON - 30, 130, 54, "#bdb39b")
    pen.box(0, 0, W, HORIZON - 4, "#c9bc9a")
    for y in (16, 34, 50):
        pen.line([(0, y - 6), (W / 2, y), (W, y - 4)], "#b8a985", 1.6)
    for start in range(-int(rng.uniform(0, 32)), W, 32):
        pen.box(start, HORIZON - 10, start + 4, HORIZON + 14, "#9d917c", 1)
    for y in (HORIZON - 2, HORIZON + 7):
        pen.box(0, y, W, y + 3, "#a89c86")


def night(pen: Pen, rng: Random) -> None:
    """Draw a clear and lonely night."""
    pen.box(0, 0, W, H, "#1b2340")
    for _ in range(26):
        pen.disc(rng.uniform(0, W), rng.uniform(HORIZON + 20, H), rng.uniform(0.5, 1), "#8f9bc4")
    x, y = rng.uniform(25, W - 25), rng.uniform(160, 172)
    pen.disc(x, y, 12, "#97a0bd")
    pen.disc(x + 6, y + 3, 11, "#1b2340")
    x = -rng.uniform(0, 30)
    while x < W:
        width = rng.uniform(24, 44)
        pen.shape([(x, HORIZON), (x + width / 2, rng.uniform(95, 118)), (x + width, HORIZON)], "#141a30")
        x += width * 0.7
    pen.box(0, 0, W, HORIZON, "#252b45")
    pen.oval(rng.uniform(60, 200), 20, 110, 16, "#2c3351")


def storm(pen: Pen, rng: Random) -> None:
    """Draw rain, clouds and a flash of lightning."""
    pen.box(0, 0, W, H, "#3c434c")
    x = rng.uniform(30, W - 30)
    pen.shape(
        [(x, 165), (x - 11, 133), (x - 2, 133), (x - 9, 106), (x + 11, 141), (x + 2, 141), (x + 11, 165)], "#8f8d74"
    )
    for _ in range(7):
        _cloud(pen, rng.uniform(0, W), rng.uniform(166, 186), rng.uniform(13, 18), rng.choice(("#2b3037", "#32383f")))
    pen.box(0, 0, W, HORIZON, "#2f3a3a")
    for _ in range(4):
        pen.oval(rng.uniform(10, W - 10), rng.uniform(6, HORIZON - 12), rng.uniform(14, 26), 4, "#43545a")
    for _ in range(60):
        x, y = rng.uniform(0, W), rng.uniform(0, H)
        pen.line([(x, y), (x - 2.5, y - 9)], "#5f6d78", 0.8)


SETTINGS: dict[str, tuple[Callable[[Pen, Random], None], ...]] = {
    "cheerful": (meadow, beach),
    "everyday": (street, field),
    "gloomy": (night, storm),
}
"""The scenes of each setting; a scene is a function of a pen in the picture's own pixels, and of a random source."""


def _sun(pen: Pen, x: float, y: float) -> None:
    for ray in range(12):
        angle = ray * math.pi / 6
        near, far = (math.cos(angle), math.sin(angle)), (25 * math.cos(angle), 25 * math.sin(angle))
        pen.line([(x + 18 * near[0], y + 18 * near[1]), (x + far[0], y + far[1])], "#ffeb99", 2.2)
    pen.disc(x, y, 14, "#ffe375")


def _cloud(pen: Pen, x: float, y: float, r: float, fill: str) -> None:
    for dx, dy, share in ((-1.3, -0.2, 0.7), (0, 0.2, 1), (1.3, -0.2, 0.75)):
        pen.oval(x + dx * r, y + dy * r, r * share * 1.25, r * share * 0.8, fill)
