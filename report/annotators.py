"""How well the annotators of a number agree: the ceiling beside a head's scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..labels import VALUES
from ..targets import cells_of
from ..train.metrics import EXACT, score_number, zero_band
from ..train.number_statistics import flat

SOURCES = {"intensity": ("text", "image"), "text-intensity": ("text",), "image-intensity": ("image",)}
"""The labels of each annotator that an intensity is the mean of: those of the text, the image, or both."""


def votes_of(samples: pd.DataFrame, target: str, names: Iterable[str]) -> NDArray[np.float64] | None:
    """Return what each annotator alone says about an intensity, (N, annotators); NaN for no vote.

    Args:
        samples: the data set's table.
        target: the name of the target.
        names: the targets of the data set; `text-label-1`, `image-label-1` and so on are those of the annotators.

    Returns:
        None if the target is no intensity of annotators, or there are fewer than two of them.
    """
    names, sources = set(names), SOURCES.get(target, ())
    annotators: list[NDArray[np.float64]] = []
    while sources and all(f"{source}-label-{len(annotators) + 1}" in names for source in sources):
        cells = [cells_of(samples, f"{source}-label-{len(annotators) + 1}") for source in sources]
        annotators.append(np.mean([[VALUES.get(cell, np.nan) for cell in one] for one in cells], axis=0))
    return np.stack(annotators, axis=1) if len(annotators) > 1 else None


def annotator_ceiling(votes: ArrayLike, span: tuple[float, float] = (-1.0, 1.0)) -> dict[str, Any] | None:
    """Return how well one annotator predicts the mean of the others, the mean over each left out in turn.

    A head is scored against the mean of all, which is steadier than that of all but one, so its scores can come out
    above this.

    Args:
        votes: (N, annotators); NaN for no vote. Pairs with fewer than two votes say nothing and are left out.
        span: the least and the greatest value.

    Returns:
        `annotators`; `n`, the number of pairs with at least two votes; `alpha`, Cronbach's alpha of the pairs that all
        have voted on: the reliability of the mean of all, whose root is the greatest correlation with it to expect of
        anything that does not see the votes; and the scores by the names of `number_statistics.flat`, None where one
        is defined for no annotator. None if no pair has two votes.
    """
    each = np.asarray(votes, dtype=np.float64)
    voted = ~np.isnan(each)
    found = []
    for left_out in range(each.shape[1]):
        others = np.delete(each, left_out, axis=1)
        rows = voted[:, left_out] & (voted.sum(1) > 1)
        if rows.any():
            mean = np.nanmean(others[rows], axis=1)
            scores = score_number(
                mean, each[rows, left_out], center=float(mean.mean()), band=zero_band(mean), span=span
            )
            found.append(flat(scores))
    if not found:
        return None
    defined = {name: [value for one in found if (value := one[name]) is not None] for name in found[0]}
    return {
        "annotators": each.shape[1],
        "n": int((voted.sum(1) > 1).sum()),
        "alpha": _alpha(each[voted.all(1)]),
        **{name: float(np.mean(some)) if some else None for name, some in defined.items()},
    }


def _alpha(votes: NDArray[np.float64]) -> float | None:
    """Return Cronbach's alpha of votes (N, annotators) without gaps; None where all means are equal."""
    if len(votes) < 2 or np.ptp(votes.sum(1)) < EXACT:
        return None
    annotators = votes.shape[1]
    shared = 1 - votes.var(0, ddof=1).sum() / votes.sum(1).var(ddof=1)
    return float(annotators / (annotators - 1) * shared)
