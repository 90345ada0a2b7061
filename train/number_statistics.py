"""The uncertainty of a number's scores: bootstrap intervals and paired tests. Pure functions of arrays.

Shapes as in `statistics`: S seeds, N pairs, C configurations, and b resamples of a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import CUTS, EXACT, cut, is_cut
from .statistics import CHUNK, RESAMPLES, PairedDifference, difference, draws

PLAIN = ("mae", "rmse", "pearson", "spearman", "ccc")
"""The scores of a number without a cut."""

CUT_SCORES = ("accuracy", "weighted_f1", "macro_f1")
"""The scores of each cut."""

TINY = 1e-12
"""A variance on a resample that is below this share of the whole part's is that of a constant; the rest is rounding."""


def flat(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the scores of `score_number` by one name each: those of `PLAIN`, and `three_accuracy` and so on."""
    found = {name: scores[name] for name in PLAIN}
    for name, each in (scores["cut"] or {}).items():
        found |= {f"{name}_{score}": each[score] for score in CUT_SCORES}
    return found


def bootstrap_numbers(
    values: ArrayLike,
    predicted: Sequence[ArrayLike],
    *,
    band: float,
    span: tuple[float, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of configurations on resampled parts, the same for all of them.

    Pairs and seeds are drawn as `statistics.bootstrap` draws them.

    Args:
        values: (N,) true values.
        predicted: the predictions (S, N) or (N,) of each configuration.
        band: as in `metrics.score_number`.
        span: the same.
        resamples: how many.
        seed: the generator's seed.

    Returns:
        By the names of `flat`, each (C, resamples); NaN where a score is not defined on a resample, which
        `statistics.interval` and `difference` leave out.
    """
    true, said = _stacked(values, predicted)
    figures: dict[str, list[NDArray[np.float64]]] = {}
    for weights, drawn in draws(len(true), said.shape[1], resamples, seed):
        for name, one in _figures(weights.astype(np.float64), true, said, band, span).items():
            figures.setdefault(name, []).append(np.einsum("bcs,bs->cb", one, drawn))
    return {name: np.concatenate(parts, axis=1) for name, parts in figures.items()}


def number_differences(
    values: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    band: float,
    span: tuple[float, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Return the paired difference of two configurations in each score, by the names of `flat`.

    The intervals are the bootstrap's. So is p, except that of `mae` and `rmse`: these are means over pairs, and
    `sign_flip` tests their absolute and squared errors. A score that is not defined on these pairs is left out.

    Args:
        values: (N,) true values.
        a: the predictions (S, N) or (N,) of the first.
        b: those of the second, by the same seeds.
        band: as in `metrics.score_number`.
        span: the same.
        resamples: how many, and how many flips at most.
        seed: the generator's seed.
    """
    true, said = _stacked(values, [a, b])
    observed = {name: one[0].mean(1) for name, one in _figures(np.ones((1, len(true))), true, said, band, span).items()}
    resampled = bootstrap_numbers(true, list(said), band=band, span=span, resamples=resamples, seed=seed)
    found = {
        name: difference(float(one[0] - one[1]), *resampled[name])
        for name, one in observed.items()
        if not np.isnan(one).any()
    }
    apart = said - true
    for name, errors in (("mae", np.abs(apart)), ("rmse", apart**2)):
        found[name] = replace(found[name], p=sign_flip(errors[0], errors[1], resamples, seed))
    return found


def sign_flip(errors_a: ArrayLike, errors_b: ArrayLike, permutations: int = RESAMPLES, seed: int = 0) -> float:
    """Return the two-sided p-value of the paired permutation test that two configurations err equally.

    Without a difference a pair's two errors could be swapped, which flips the sign of its difference; p is how often
    flipped signs give a mean at least as far from 0. The S differences of a pair are flipped together, as `mcnemar`
    takes them: for errors of 0 and 1 this is its test. All flips are counted where there are at most `permutations` of
    them, else as many are drawn and the observed one is added.

    Args:
        errors_a: (S, N) or (N,) absolute or squared errors of the first.
        errors_b: those of the second on the same pairs and seeds.
        permutations: how many flips, at most.
        seed: the generator's seed.
    """
    a, b = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (errors_a, errors_b))
    if a.shape != b.shape:
        raise ValueError(f"expected two arrays of one shape, got {a.shape} and {b.shape}")
    apart = (a - b).sum(0)
    apart = apart[apart != 0]  # flipping 0 changes nothing
    if not len(apart):
        return 1.0
    least = abs(apart.sum()) * (1 - 1e-9)
    if 2 ** len(apart) <= permutations:
        flips = (np.arange(2 ** len(apart))[:, None] >> np.arange(len(apart))) & 1
        return float(np.mean(np.abs((2 * flips - 1) @ apart) >= least))
    rng = np.random.default_rng(seed)
    far, block = 1, max(1, CHUNK // len(apart))
    for begin in range(0, permutations, block):
        flips = rng.integers(0, 2, (min(block, permutations - begin), len(apart)))
        far += int((np.abs((2 * flips - 1) @ apart) >= least).sum())
    return far / (permutations + 1)


def _stacked(values: ArrayLike, predicted: Sequence[ArrayLike]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the true values (N,) and the predictions (C, S, N)."""
    true = np.asarray(values, dtype=np.float64)
    each = [np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in predicted]
    if true.ndim != 1 or not len(true) or not each or any(one.shape != (len(each[0]), len(true)) for one in each):
        shapes = ", ".join(str(one.shape) for one in each) or "none"
        raise ValueError(f"predicted: expected arrays of one shape (S, {len(true)}), got {shapes}")
    return true, np.stack(each)


def _figures(
    weights: NDArray[np.float64],
    true: NDArray[np.float64],
    said: NDArray[np.float64],
    band: float,
    span: tuple[float, float],
) -> dict[str, NDArray[np.float64]]:
    """Return the scores (b, C, S) of pairs that count so often: weights (b, N), true (N,), said (C, S, N)."""
    n = len(true)

    def total(columns: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weighted sums (b, ...) of columns (..., N)."""
        flattened = columns.reshape(-1, n).astype(np.float64)
        sums: NDArray[np.float64] = weights @ flattened.T
        return sums.reshape(len(weights), *columns.shape[:-1])

    apart = said - true
    x, y, shift = true - true.mean(), said - said.mean(-1, keepdims=True), apart.mean(-1)
    mean_x, mean_y = total(x)[:, None, None] / n, total(y) / n
    var_x, var_y = total(x**2)[:, None, None] / n - mean_x**2, total(y**2) / n - mean_y**2
    cov = total(x * y) / n - mean_x * mean_y
    found = {"mae": total(np.abs(apart)) / n, "rmse": np.sqrt(total(apart**2) / n)}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["pearson"] = _correlation(cov, var_x, var_y, x.var(), y.var(-1))
        found["spearman"] = _rank_correlation(weights, true, said)
        spread = var_x + var_y + (mean_y - mean_x + shift) ** 2
        found["ccc"] = np.where(_spread(spread, x.var() + y.var(-1)), 2 * cov / spread, np.nan)
        for name, classes in CUTS.items() if is_cut(span) else ():
            is_true, is_said, kept = cut(name, true, said, band)
            true_k, said_k, right_k = (
                np.stack([total(kept & one) for one in columns], -1)
                for columns in (
                    [is_true == k for k in range(classes)],
                    [is_said == k for k in range(classes)],
                    [(is_true == k) & (is_said == k) for k in range(classes)],
                )
            )
            true_k = true_k[:, None, None]
            f1 = 2 * right_k / np.maximum(true_k + said_k, 1)
            pairs = true_k.sum(-1)
            found[f"{name}_accuracy"] = right_k.sum(-1) / pairs
            found[f"{name}_weighted_f1"] = (f1 * true_k).sum(-1) / pairs
            found[f"{name}_macro_f1"] = np.where(pairs > 0, f1.mean(-1), np.nan)
    return found


def _rank_correlation(
    weights: NDArray[np.float64], true: NDArray[np.float64], said: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Spearman's correlation (b, C, S); ties share the mean of their ranks."""
    n = len(true)
    x = _ranks(weights, true)
    var_x = np.einsum("bn,bn,bn->b", weights, x, x) / n
    once = np.ones((1, n))
    whole_x = _ranks(once, true).var()
    found = np.empty((len(weights), *said.shape[:2]))
    for c, s in np.ndindex(*said.shape[:2]):
        y = _ranks(weights, said[c, s])
        cov, var_y = (np.einsum("bn,bn,bn->b", weights, one, y) / n for one in (x, y))
        found[:, c, s] = _correlation(cov, var_x, var_y, whole_x, _ranks(once, said[c, s]).var())
    return found


def _ranks(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks (b, N) of values that occur so often, minus their mean (n + 1) / 2."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    begins = np.flatnonzero(np.diff(place[order], prepend=-1))
    often = np.add.reduceat(np.take(weights, order, axis=1), begins, axis=1)
    ranks = often.cumsum(1) - (often - 1) / 2 - (len(values) + 1) / 2
    return np.take(ranks, place, axis=1)


def _correlation(
    cov: NDArray[np.float64],
    var_x: NDArray[np.float64],
    var_y: NDArray[np.float64],
    whole_x: ArrayLike,
    whole_y: ArrayLike,
) -> NDArray[np.float64]:
    """Return cov / sqrt(var var), NaN where a side is constant beside the variance of the whole part."""
    defined = _spread(var_x, whole_x) & _spread(var_y, whole_y)
    return np.where(defined, np.clip(cov / np.sqrt(var_x * var_y), -1, 1), np.nan)


def _spread(variance: NDArray[np.float64], whole: ArrayLike) -> NDArray[np.bool_]:
    """Return which variances are more than rounding."""
    return variance > np.maximum(EXACT**2, TINY * np.asarray(whole))
