"""The sizes of effects that pages name in prose, computed in closed form."""

from __future__ import annotations

import re

import numpy as np
from scipy.integrate import quad
from scipy.stats import binom, norm

from .doc_pages import DOCS


def named(page: str, pattern: str) -> list[float]:
    """The numbers that a sentence of a page names."""
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    found = re.search(pattern, text)
    assert found, f"{page}: no {pattern}"
    return [float(one) for one in found.groups()]


def test_the_best_of_a_hundred_configurations() -> None:
    """Of n that are right on B(open, 1/2) pairs, the best is expected at the sum over k of P(max > k)."""
    count, pairs, opened = 100, 450, 90
    best = sum(1 - binom.cdf(k, opened, 0.5) ** count for k in range(opened))
    points = 100 * (best - opened / 2) / pairs
    assert named("guides/sweeps.md", r"360 of the 450 pairs .* on the other (\d+) each") == [opened]
    assert named("guides/sweeps.md", r"The best is ([\d.]+) points above") == [round(points, 1)]
    assert named("concepts/leakage.md", r"([\d.]+) points on (\d+) pairs for the best of (\d+) that") == [
        round(points, 1), pairs, count,
    ]  # fmt: skip
    assert 2 * 0.5 * 0.5 * opened / pairs == 0.1  # two of them disagree on every tenth pair


def test_the_best_of_twenty_epochs() -> None:
    """The expected largest of n standard normal numbers is n times the integral of x φ(x) Φ(x)^(n - 1)."""
    largest = quad(lambda x: 20 * x * norm.pdf(x) * norm.cdf(x) ** 19, -np.inf, np.inf)[0]
    assert named("concepts/leakage.md", r"([\d.]+) points, where twenty epochs scatter by one") == [round(largest, 1)]
    assert named("guides/fair.md", r"\(standard deviation\), the best is ([\d.]+) points above") == [round(largest, 1)]
    scatter = 100 * np.sqrt(0.75 * 0.25 / 450)
    assert round(scatter) == 2  # "Twenty independent ones on 450 pairs scatter by two"
    mean, best = named("guides/fair.md", r"mean ([\d.]+)%, best of 20 epochs ([\d.]+)%")
    assert abs(best - mean - largest * scatter) < 0.15


def test_the_seeds_of_the_sweep_differ_by_points() -> None:
    first, second = named("guides/sweeps.md", r"seed 0 +240 +([\d.]+).*seed 1 +240 +([\d.]+)")
    assert abs(first - second) > 0.02
