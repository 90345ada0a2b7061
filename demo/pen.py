"""A pen for flat shapes with smooth edges."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageDraw

SIZE = (256, 192)
"""Width and height of a picture."""

OVERSAMPLING = 2
"""The factor by which pictures are drawn larger before they are reduced, for smooth edges."""

Color = str
Point = tuple[float, float]


class Pen:
    """A pen with its own units: the origin at an object's foot, y upwards.

    Args:
        draw: the image to draw on.
        x: x of the origin, in pixels of the picture.
        y: y of the origin.
        unit: pixels per unit.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, unit: float) -> None:
        self._draw, self._x, self._y, self._unit = draw, x * OVERSAMPLING, y * OVERSAMPLING, unit * OVERSAMPLING

    def _at(self, x: float, y: float) -> Point:
        return self._x + x * self._unit, self._y - y * self._unit

    def _box(self, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        return (*self._at(x - rx, y + ry), *self._at(x + rx, y - ry))

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        """Draw an ellipse around (x, y)."""
        self._draw.ellipse(self._box(x, y, rx, ry), fill=fill)

    def disc(self, x: float, y: float, r: float, fill: Color) -> None:
        """Draw a circle around (x, y)."""
        self.oval(x, y, r, r, fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Color, round: float = 0) -> None:
        """Draw a rectangle from its lower left to its upper right corner."""
        corners = (*self._at(x0, y1), *self._at(x1, y0))
        self._draw.rounded_rectangle(corners, radius=round * self._unit, fill=fill)

    def shape(self, points: Sequence[Point], fill: Color) -> None:
        """Draw a polygon."""
        self._draw.polygon([self._at(*point) for point in points], fill=fill)

    def line(self, points: Sequence[Point], fill: Color, width: float) -> None:
        """Draw a stroke through the points."""
        pixels = max(1, round(width * self._unit))
        self._draw.line([self._at(*point) for point in points], fill=fill, width=pixels, joint="curve")

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Color, w: float) -> None:
        """Draw a part of an ellipse's outline; angles in degrees, clockwise from the right."""
        width = max(1, round(w * self._unit))
        self._draw.arc(self._box(x, y, rx, ry), start, end, fill=fill, width=width)
