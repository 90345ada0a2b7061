"""Scores of predictions: pure functions, equal to scikit-learn's, which takes longer to import than a small run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CUTS = {"nonzero": 2, "negative": 2, "three": 3}
"""The cuts of a number at 0 (`cut` says what they are), and how many classes each has."""

EXACT = 1e-9
"""A number closer to 0 than this is 0; the rest is rounding."""


def majority_class(labels: NDArray[np.int64]) -> int:
    """Return the most frequent class of a training part; of equally frequent ones the first."""
    return int(np.bincount(labels).argmax())


def score(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], majority: int, classes: Sequence[str]
) -> dict[str, Any]:
    """Return the scores of one part.

    Args:
        labels: (N,), N at least 1.
        probabilities: (N, classes), rows that sum to 1; the greatest is the prediction.
        majority: the most frequent class of the training part; the scores of always predicting it are returned too.
        classes: the names of the classes.

    Returns:
        `n`; `loss`, the mean cross-entropy; `accuracy`; `weighted_f1`, the mean of the classes' F1 by their frequency,
        which is the F1 of our tables; `macro_f1`, their plain mean; `f1` of each class; `confusion`, whose row is the
        true class; and `majority`. A class that neither occurs nor is predicted has F1 = 0 and takes part in the mean.
    """
    predicted = probabilities.argmax(1)
    own = probabilities[np.arange(len(labels)), labels]
    counts = confusion(labels, predicted, len(classes))
    each = f1(counts)
    return {
        "n": len(labels),
        "loss": float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean()),
        **means(counts),
        "f1": {label: float(value) for label, value in zip(classes, each, strict=True)},
        "confusion": counts.tolist(),
        "majority": {
            "class": classes[majority],
            "accuracy": float(np.mean(labels == majority)),
            "weighted_f1": means(confusion(labels, np.full(len(labels), majority), len(classes)))["weighted_f1"],
        },
    }


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how many of (N,) pairs are of each class and taken for each: (classes, classes), rows the true ones."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the F1 of each class, 2 TP / (2 TP + FP + FN), 0 for one that neither occurs nor is predicted."""
    right, met = 2.0 * confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    each: NDArray[np.float64] = np.divide(right, met, out=np.zeros(len(confusion)), where=met > 0)
    return each


def means(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Return `accuracy`, `weighted_f1` and `macro_f1` as `score` says."""
    each = f1(confusion)
    return {
        "accuracy": float(confusion.trace() / confusion.sum()),
        "weighted_f1": float(np.average(each, weights=confusion.sum(1))),
        "macro_f1": float(each.mean()),
    }


def score_number(
    values: ArrayLike, predicted: ArrayLike, *, center: float, band: float, span: tuple[float, float]
) -> dict[str, Any]:
    """Return the scores of one part for a target that is a number.

    Args:
        values: (N,) true values, N at least 1.
        predicted: (N,) predictions; one outside the span counts as it is.
        center: the mean of the training part; the errors of always predicting it are returned too.
        band: how far from 0 a value or a prediction may be to count as 0, as `zero_band` returns it.
        span: the least and the greatest value of the target.

    Returns:
        `n`; `mae` and `rmse`; `pearson` and `spearman` (ties share the mean of their ranks), None if a side is constant
        or there are fewer than two pairs; `ccc`, Lin's concordance correlation 2 cov / (var + var + (mean - mean)^2)
        with variances over N (Biometrics 45, 1989), 0 if one side is constant, None if both are the same constant or
        there are fewer than two pairs; `cut`, by the names of `CUTS`, each with `n`, `accuracy`, `weighted_f1` and
        `macro_f1`; `band`; and `baseline` with `value`, `mae` and `rmse`. The scores of a cut without a pair are None.
        `cut` itself is None unless 0 lies inside the span: 1 to 5 stars have no values below 0, and no other middle is
        chosen. Everything is JSON: no NaN.

    Raises:
        ValueError: the sides differ in length, there is no pair, or a number is not finite.
    """
    true, said = (np.asarray(side, dtype=np.float64) for side in (values, predicted))
    if true.ndim != 1 or true.shape != said.shape or not len(true):
        raise ValueError(f"expected values and predictions of one shape (N,), got {true.shape} and {said.shape}")
    if not (np.isfinite(true).all() and np.isfinite(said).all()):
        raise ValueError("expected values and predictions that are finite numbers")
    from scipy.stats import rankdata  # takes long to import, and classes need none of it

    return {
        "n": len(true),
        **errors(true, said),
        "pearson": _correlation(true, said),
        "spearman": _correlation(rankdata(true), rankdata(said)),
        "ccc": _concordance(true, said),
        "cut": {name: _cut_scores(*cut(name, true, said, band), CUTS[name]) for name in CUTS} if is_cut(span) else None,
        "band": float(band),
        "baseline": {"value": float(center), **errors(true, np.full(len(true), float(center)))},
    }


def zero_band(values: ArrayLike) -> float:
    """Return how far from 0 a number may be to count as 0: half the least distance from 0 of a value that is not 0.

    So a prediction belongs to 0 if no level of the training part is nearer. It is 0 without such a value.

    Args:
        values: the values of the training part; NaN is no value.
    """
    apart = np.abs(np.asarray(values, dtype=np.float64))
    apart = apart[apart >= EXACT]  # NaN is not
    return float(apart.min()) / 2 if len(apart) else 0.0


def is_cut(span: tuple[float, float]) -> bool:
    """Return whether a number of this span is cut at 0: the span has values on both sides."""
    return span[0] < 0 < span[1]


def cut(
    name: str, values: NDArray[np.float64], predicted: NDArray[np.float64], band: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the classes of true values (N,) and of predictions (..., N) at one cut, and the pairs (N,) that it keeps.

    Args:
        name: `nonzero`, negative (0) against positive (1), which keeps the pairs whose true value is not 0 and takes a
            prediction by its sign alone (0 is not positive); `negative`, below 0 (0) against the rest (1); or `three`,
            below 0 (0), at 0 (1), above 0 (2).
        values: the true values.
        predicted: the predictions.
        band: as in `score_number`; its ends are at 0.
    """
    if name == "nonzero":
        return (values > 0).astype(np.int64), (predicted > 0).astype(np.int64), np.abs(values) > band
    true, said = ((side >= -band).astype(np.int64) for side in (values, predicted))
    if name == "three":
        true, said = true + (values > band), said + (predicted > band)
    return true, said, np.ones(len(values), np.bool_)


def errors(values: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    """Return `mae` and `rmse`, the mean absolute error and the root of the mean squared error."""
    apart = predicted - values
    return {"mae": float(np.abs(apart).mean()), "rmse": float(np.sqrt((apart**2).mean()))}


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Pearson's correlation; None where it is not defined."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if len(a) < 2 or np.ptp(a) < EXACT or np.ptp(b) < EXACT:
        return None
    return float(np.clip(a @ b / norm, -1, 1))


def _concordance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Lin's concordance correlation; None where it is not defined."""
    spread = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    if len(a) < 2 or spread < EXACT**2:
        return None
    return float(2 * ((a - a.mean()) * (b - b.mean())).mean() / spread)


def _cut_scores(
    true: NDArray[np.int64], said: NDArray[np.int64], kept: NDArray[np.bool_], classes: int
) -> dict[str, Any]:
    if not kept.any():
        return {"n": 0, "accuracy": None, "weighted_f1": None, "macro_f1": None}
    return {"n": int(kept.sum()), **means(confusion(true[kept], said[kept], classes))}
