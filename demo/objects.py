"""The objects of the demo's pictures, about two units wide and high."""

from __future__ import annotations

from collections.abc import Callable

from .pen import Pen


def cat(pen: Pen) -> None:
    """Draw a smiling ginger cat."""
    fur, belly, dark = "#f28c28", "#ffe3bd", "#27313a"
    pen.arc(0.55, 0.55, 0.55, 0.5, -80, 130, fur, 0.17)
    pen.oval(0, 0.55, 0.58, 0.58, fur)
    pen.oval(0, 0.45, 0.32, 0.4, belly)
    for side in (-1, 1):
        pen.shape([(side * 0.5, 1.3), (side * 0.52, 2.05), (side * 0.13, 1.62)], fur)
        pen.shape([(side * 0.45, 1.45), (side * 0.47, 1.88), (side * 0.24, 1.64)], "#ffb199")
        pen.oval(side * 0.27, 0.08, 0.2, 0.1, belly)
    pen.oval(0, 1.28, 0.58, 0.47, fur)
    for side in (-1, 1):
        pen.oval(side * 0.23, 1.35, 0.085, 0.12, dark)
        pen.disc(side * 0.23 + 0.03, 1.4, 0.03, "#ffffff")
        pen.line([(side * 0.3, 1.17), (side * 0.75, 1.22)], belly, 0.03)
    pen.shape([(-0.07, 1.21), (0.07, 1.21), (0, 1.13)], "#d9536a")
    pen.arc(0, 1.08, 0.14, 0.11, 20, 160, dark, 0.05)


def house(pen: Pen) -> None:
    """Draw a house with flowers and lit windows."""
    pen.box(0.4, 1.3, 0.64, 2.05, "#c7694a")
    pen.box(-0.85, 0, 0.85, 1.15, "#ffd75e")
    pen.shape([(-1.08, 1.1), (0, 1.98), (1.08, 1.1)], "#12b5b0")
    pen.box(-0.18, 0, 0.2, 0.66, "#d9603b", 0.05)
    for side in (-0.54, 0.56):
        pen.box(side - 0.2, 0.5, side + 0.2, 0.9, "#fff9e0")
        pen.line([(side, 0.5), (side, 0.9)], "#ffffff", 0.05)
        pen.line([(side - 0.2, 0.7), (side + 0.2, 0.7)], "#ffffff", 0.05)
        for x in (-0.14, 0, 0.14):
            pen.disc(side + x, 0.44, 0.09, "#e8467c")
    pen.disc(0, 1.48, 0.16, "#fff9e0")
    for x, y, r in ((0.55, 2.2, 0.1), (0.68, 2.36, 0.13)):
        pen.disc(x, y, r, "#ffffff")


def car(pen: Pen) -> None:
    """Draw a shiny red car."""
    pen.shape([(-0.66, 0.75), (-0.42, 1.25), (0.35, 1.25), (0.7, 0.75)], "#e3342f")
    pen.shape([(-0.5, 0.77), (-0.34, 1.14), (-0.04, 1.14), (-0.04, 0.77)], "#cfeefc")
    pen.shape([(0.07, 0.77), (0.07, 1.14), (0.29, 1.14), (0.53, 0.77)], "#cfeefc")
    pen.box(-1.05, 0.26, 1.08, 0.8, "#e3342f", 0.16)
    for x in (-0.58, 0.6):
        pen.disc(x, 0.26, 0.27, "#2b2f36")
        pen.disc(x, 0.26, 0.11, "#e8edf0")
    pen.box(-0.9, 0.6, -0.12, 0.66, "#ff8a80", 0.02)
    pen.oval(1.0, 0.6, 0.1, 0.12, "#fff2a8")


def flower(pen: Pen) -> None:
    """Draw a blooming flower in a pot."""
    stem = "#2f9e44"
    pen.shape([(-0.42, 0.55), (0.42, 0.55), (0.3, 0), (-0.3, 0)], "#c8643b")
    pen.box(-0.48, 0.48, 0.48, 0.64, "#dd7a4e", 0.04)
    pen.line([(0, 0.6), (0.02, 1.3)], stem, 0.1)
    pen.oval(-0.26, 0.88, 0.26, 0.11, stem)
    pen.oval(0.28, 0.98, 0.26, 0.11, stem)
    for x, y in ((0, 0.42), (0.4, 0.13), (0.25, -0.34), (-0.25, -0.34), (-0.4, 0.13)):
        pen.disc(x, 1.5 + y, 0.31, "#e83e9b")
    for x, y in ((0, 0.3), (0.28, 0.09), (0.18, -0.25), (-0.18, -0.25), (-0.28, 0.09)):
        pen.disc(x, 1.5 + y, 0.12, "#ff8cc6")
    pen.disc(0, 1.5, 0.22, "#ffd43b")


OBJECTS: dict[str, Callable[[Pen], None]] = {"cat": cat, "house": house, "car": car, "flower": flower}
"""The objects that a picture can show, by name."""
