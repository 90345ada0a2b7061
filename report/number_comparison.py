"""Comparisons of two runs whose target is a number, on the same pairs: which errs less, and whether by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from ..tabular.matching import Match
from ..train.config import SCORE_TITLES
from ..train.number_statistics import number_differences
from ..train.runs.folder import Run
from ..train.statistics import PairedDifference, holm
from .page.numbers import NONE, ends, plain, show_p
from .page.section import Section

SHOWN = ("mae", "rmse", "pearson", "ccc")
"""The scores whose differences are shown."""


@dataclass(frozen=True)
class NumberComparison:
    """A comparison of two runs of the same number on the pairs that both predicted."""

    a: str
    b: str
    n: int
    nearer_a: int
    """Number of pairs that the first run's prediction is nearer to."""
    nearer_b: int
    differences: Mapping[str, PairedDifference]
    """The first one's score minus the second's, by the names of `number_statistics.flat`."""
    match: Match = field(default_factory=Match)
    """The match of the pairs of the two runs; pairs of one run alone are not compared."""
    test: ClassVar[str] = "Sign-flip test of the absolute errors"

    @property
    def p(self) -> float:
        """The two-sided p-value of the sign-flip test of the absolute errors."""
        return self.differences["mae"].p


def compare_numbers(run: Run, part: str, both: pd.DataFrame, names: tuple[str, str], met: Match) -> NumberComparison:
    """Compare two runs.

    Args:
        run: the first of them.
        part: the part that they are compared on.
        both: one row per pair that both predicted: `label`, `predicted` and `predicted_b`.
        names: the names of the two runs.
        met: the match of their pairs.
    """
    true, a, b = (both[column].to_numpy(np.float64) for column in ("label", "predicted", "predicted_b"))
    away_a, away_b = np.abs(a - true), np.abs(b - true)
    found = number_differences(true, a, b, band=run.metrics[part]["band"], span=run.target.bounds)
    return NumberComparison(*names, len(true), int((away_a < away_b).sum()), int((away_b < away_a).sum()), found, met)


def number_comparison(compared: Sequence[NumberComparison], most: int) -> Section:
    """Return the section on comparisons of numbers; of more than `most` comparisons the first are listed."""
    adjusted = holm([one.p for one in compared])
    rows = []
    for one, value in zip(compared, adjusted, strict=True):
        scores = {}
        for name in SHOWN:
            there = one.differences.get(name)
            scores[f"{SCORE_TITLES[name]} A − B"] = (
                NONE if there is None else f"{plain(there.value)} {ends(there.low, there.high)}".rstrip()
            )
        near = {"A nearer": one.nearer_a, "B nearer": one.nearer_b}
        chance = {"p": show_p(one.p), "p (Holm)": show_p(value)}
        rows.append({"A": one.a, "B": one.b, "pairs": one.n, **near, **chance, **scores})
    text = [
        "In brackets the bootstrap's 95% interval of the difference over the pairs, the same resamples for both. p is"
        " that of the sign-flip test of the absolute errors: how often swapping the two runs at random, pair by pair,"
        " would make a difference in MAE as large. p (Holm) is adjusted for the number of comparisons. Each run counts"
        " as it is: what other seeds would give is not in these figures."
    ]
    notes = [f"The first {most} of {len(rows)} comparisons are listed."] if len(rows) > most else []
    return Section(
        "comparison-numbers",
        "Comparison",
        text,
        pd.DataFrame(rows[:most]),
        "Every two runs on the same pairs.",
        notes=notes,
    )
