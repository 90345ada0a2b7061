"""The uncertainty of figures: intervals, paired tests, calibration. Pure functions of arrays, on top of SciPy.

Shapes: S seeds, N pairs; rows of one array and the same row of another are of the same seed, columns of the same pair.
docs/protocols.md says which test answers which question, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
"""The confidence level of every interval."""

RESAMPLES = 10_000
"""The number of resamples of a bootstrap; its p-values are multiples of about 2 / RESAMPLES."""

ROUNDING = 1e-12
"""Differences of figures below this come from rounding."""

CHUNK = 2**22
"""The number of a bootstrap's weights in memory at once."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its uncertainty."""

    value: float
    """The figure itself."""
    std: float
    """Its standard deviation over the seeds; nan for one seed."""
    low: float
    """Lower end of the 95% interval; nan where there is none."""
    high: float
    """Upper end."""


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two configurations on the same pairs and seeds."""

    value: float
    """The first one's figure minus the second's, the mean over the seeds."""
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end."""
    p: float
    """The two-sided p-value: how often chance alone would give a difference at least this far from 0."""


def over_seeds(values: ArrayLike) -> Estimate:
    """Return the mean of one figure a seed, with Student's t interval over seeds on the same pairs.

    Args:
        values: (S,), S at least 1; with one there is neither deviation nor interval.
    """
    one = np.asarray(values, dtype=np.float64)
    _one_dimension("values", one)
    mean = float(one.mean())
    if len(one) == 1:
        return Estimate(mean, np.nan, np.nan, np.nan)
    std = float(one.std(ddof=1))
    from scipy import stats  # takes long to import, and listing runs needs none of it

    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(one) - 1)) * std / np.sqrt(len(one))
    return Estimate(mean, std, mean - half, mean + half)


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of an accuracy: `right` of `n` pairs predicted as labelled, by one run."""
    from scipy import stats

    found = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> tuple[int, int, float]:
    """Return McNemar's test of two configurations on the same pairs.

    One seed: the exact binomial test of the pairs that only one of them gets right. Several seeds: a pair that is hard
    is hard for all seeds, so its S outcomes are not independent; they form one cluster in the test of Durkalski,
    Palesch, Lipsitz and Rust (Statistics in Medicine 22, 2003), which for one seed is McNemar's without correction.

    Args:
        right_a: (S, N) or (N,) bool, whether the first predicts the label.
        right_b: the same of the second.

    Returns:
        How often only the first is right, how often only the second, and the two-sided p-value.
    """
    a, b = _pair(right_a, right_b)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    from scipy import stats

    if len(a) == 1:
        return only_a, only_b, float(stats.binomtest(only_a, only_a + only_b).pvalue)
    by_pair = a.sum(0).astype(np.int64) - b.sum(0)
    spread = float((by_pair**2).sum())
    chi2 = float(by_pair.sum()) ** 2 / spread if spread else 0.0
    return only_a, only_b, float(stats.chi2.sf(chi2, 1))


def bootstrap(
    labels: ArrayLike,
    predicted: Sequence[ArrayLike],
    classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return the figures of configurations on resampled test parts, the same for all of them.

    Each resample draws N pairs with replacement, the same for all configurations and seeds, and S of the seeds with
    replacement, the same for all configurations; its figure is the mean over the drawn seeds. So the spread covers both
    other pairs and other seeds.

    Args:
        labels: (N,) true classes.
        predicted: the predicted classes (S, N) or (N,) of each configuration.
        classes: how many there are.
        resamples: how many.
        seed: the generator's seed; the same seed gives the same resamples.

    Returns:
        `accuracy`, `weighted_f1` and `macro_f1`, each (configurations, resamples); `interval` and `difference` read
        them.
    """
    truth = np.asarray(labels, dtype=np.int64)
    _one_dimension("labels", truth)
    each = [np.atleast_2d(np.asarray(one, dtype=np.int64)) for one in predicted]
    if not each or any(one.shape != (len(each[0]), len(truth)) for one in each):
        shapes = ", ".join(str(one.shape) for one in each) or "none"
        raise ValueError(f"predicted: expected arrays of one shape (S, {len(truth)}), got {shapes}")
    stacked = np.stack(each)  # (C, S, N)
    configurations, seeds, n = stacked.shape
    is_true = (truth[:, None] == np.arange(classes)).astype(np.float32)  # (N, classes)
    is_said = (np.moveaxis(stacked, 2, 0)[..., None] == np.arange(classes)).astype(np.float32)  # (N, C, S, classes)
    is_right = is_said * is_true[:, None, None]
    block = max(1, CHUNK // (configurations * seeds * classes))
    figures: dict[str, list[NDArray[np.float64]]] = {"accuracy": [], "weighted_f1": [], "macro_f1": []}
    for weights, drawn in draws(n, seeds, resamples, seed):
        values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in figures}
        for begin in range(0, len(weights), block):
            some = weights[begin : begin + block].astype(np.float32)
            # Whole numbers: float32 counts them exactly.
            right, said = (
                (some @ cells.reshape(n, -1)).astype(np.float64).reshape(len(some), configurations, seeds, classes)
                for cells in (is_right, is_said)
            )
            true = (some @ is_true).astype(np.float64)[:, None, None]
            values["accuracy"].append(right.sum(-1) / n)
            values["weighted_f1"].append(_weighted_f1(right, true, said))
            values["macro_f1"].append(_f1(right, true, said).mean(-1))
        for name, parts in values.items():
            figures[name].append(np.einsum("bcs,bs->cb", np.concatenate(parts), drawn))
    return {name: np.concatenate(parts, axis=1) for name, parts in figures.items()}


def draws(n: int, seeds: int, resamples: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the resamples of a bootstrap in blocks: how often each pair is drawn, (b, n); each seed's share, (b, S)."""
    rng = np.random.default_rng(seed)
    for size in _chunks(resamples, max(1, CHUNK // n)):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=size)
        yield weights, rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds


def interval(resampled: NDArray[np.float64], level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the percentile interval of a figure's resamples (B,).

    Resamples in which the figure is not defined (NaN) are left out; the ends are NaN if it is defined in none.
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference(value: float, resampled_a: NDArray[np.float64], resampled_b: NDArray[np.float64]) -> PairedDifference:
    """Return the paired difference of two configurations.

    Args:
        value: the observed difference.
        resampled_a: (B,) resamples of the first, of one call of `bootstrap`.
        resampled_b: (B,) those of the second, of the same call.
    """
    apart = resampled_a - resampled_b
    apart = apart[~np.isnan(apart)]
    apart = np.where(np.abs(apart) < ROUNDING, 0, apart)  # equal, summed over the seeds in another order
    below, above = int((apart <= 0).sum()), int((apart >= 0).sum())
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + len(apart)))
    return PairedDifference(value, *interval(apart), p)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (N,) adjusted for N comparisons by Holm's step-down method, in the same order."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, steps)
    return adjusted


def accuracy_of(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the accuracy of confusion matrices (..., classes, classes), rows the true class."""
    right: NDArray[np.float64] = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))
    return right


def weighted_f1_of(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the F1 weighted by class of confusion matrices (..., classes, classes), as scikit-learn computes it."""
    return _weighted_f1(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2))


def _weighted_f1(
    right: NDArray[np.float64], true: NDArray[np.float64], said: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the F1 weighted by class, from counts (..., classes): predicted rightly, true, and predicted."""
    weighted: NDArray[np.float64] = (_f1(right, true, said) * true).sum(-1) / true.sum(-1)
    return weighted


def _f1(right: NDArray[np.float64], true: NDArray[np.float64], said: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the F1 of each class from the same counts; 0 for a class that neither occurs nor is predicted."""
    f1: NDArray[np.float64] = 2 * right / np.maximum(true + said, 1)
    return f1


def calibration(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> tuple[float, pd.DataFrame]:
    """Return the expected calibration error and the reliability diagram's bins.

    Args:
        labels: (N,) true classes.
        probabilities: (N, classes); the greatest is the prediction and its confidence.
        bins: of equal width from 0 to 1; a confidence on an edge belongs to the lower bin.

    Returns:
        The mean over the samples of |accuracy - confidence| of their bin (Guo et al., ICML 2017); and one row a bin:
        `low`, `high`, `n`, `confidence` and `accuracy` (nan where n is 0).
    """
    truth, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    confidence, right = p.max(1), p.argmax(1) == truth
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    mean_confidence, accuracy = (
        np.divide(np.bincount(place, one, bins), n, out=np.full(bins, np.nan), where=n > 0)
        for one in (confidence, right.astype(np.float64))
    )
    error = float((n * np.nan_to_num(np.abs(accuracy - mean_confidence))).sum() / n.sum())
    table = {"low": edges[:-1], "high": edges[1:], "n": n, "confidence": mean_confidence, "accuracy": accuracy}
    return error, pd.DataFrame(table)


def split_conformal(residuals: ArrayLike, coverage: float = 0.9, widest: float = math.inf) -> float:
    """Return half the width of an interval around a prediction that holds the true value with a given probability.

    Split conformal prediction (Lei et al., JASA 113, 2018): the ceil((n + 1) coverage)-th smallest absolute residual of
    n pairs on which nothing was fitted. A new pair of the same kind lies within it with at least that probability, over
    draws of these pairs and of the new one.

    Args:
        residuals: (n,) true value minus prediction on the validation part.
        coverage: the probability.
        widest: what to return if n is too small for that coverage, such as the width of the target's span.
    """
    apart = np.sort(np.abs(np.asarray(residuals, dtype=np.float64)))
    rank = math.ceil((len(apart) + 1) * coverage - 1e-9)  # 30 * 0.9 is a little more than 27
    return float(apart[rank - 1]) if rank <= len(apart) else widest


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = (np.atleast_2d(np.asarray(one, dtype=np.bool_)) for one in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"expected two arrays of one shape, got {first.shape} and {second.shape}")
    return first, second


def _one_dimension(name: str, values: NDArray[np.generic]) -> None:
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: expected one dimension and at least one value, got the shape {values.shape}")


def _chunks(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(size, total)
        total -= size
