"""Statistics of a number's scores, against SciPy, scikit-learn and the scores of each resample by themselves."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, inf

import numpy as np
import pytest
from scipy import stats

from itin.train import number_statistics, statistics
from itin.train.metrics import score_number
from itin.train.number_statistics import bootstrap_numbers, flat, number_differences, sign_flip
from itin.train.statistics import interval, mcnemar, split_conformal

SPAN = (-1.0, 1.0)
BAND = 1 / 12


def draw(seeds: int = 3, n: int = 60, noise: float = 0.4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True values (n,) of 13 levels and predictions (seeds, n)."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-6, 7, n) / 6
    return values, (0.7 * values + rng.normal(0.1, noise, (seeds, n))).round(2)


def scores_of(values: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The scores by `score_number`; NaN for None."""
    scores = flat(score_number(values, predicted, center=0.0, band=BAND, span=SPAN))
    return {name: np.nan if one is None else one for name, one in scores.items()}


# Bootstrap -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "seeds", "chunk"), [(60, 3, 2**22), (60, 3, 130), (3, 2, 2**22)])
def test_resamples_are_the_scores_of_the_drawn_pairs(
    n: int, seeds: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each resample, row by row; of three pairs one is often drawn alone, where correlations are not defined."""
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    values, a = draw(seeds, n)
    _, b = draw(seeds, n, 0.9, seed=1)
    found = bootstrap_numbers(values, [a, b], band=BAND, span=SPAN, resamples=12, seed=7)
    resample = 0
    for weights, drawn in statistics.draws(n, seeds, 12, 7):
        for pairs, share in zip(weights, drawn, strict=True):
            rows = np.repeat(np.arange(n), pairs)
            for c, predicted in enumerate((a, b)):
                each = [scores_of(values[rows], one[rows]) for one in predicted]
                for name in each[0]:
                    known = sum(s * one[name] for s, one in zip(share, each, strict=True))
                    assert found[name][c, resample] == pytest.approx(known, rel=1e-9, abs=1e-12, nan_ok=True), name
            resample += 1
    assert resample == 12
    assert np.isnan(found["pearson"]).any() == (n == 3)


def test_no_cut_where_zero_is_not_inside_the_span() -> None:
    values, predicted = draw()
    found = bootstrap_numbers(values + 3, [predicted + 3], band=BAND, span=(1.0, 5.0), resamples=4)
    assert set(found) == {"mae", "rmse", "pearson", "spearman", "ccc"}
    assert found["mae"][0] == pytest.approx(
        bootstrap_numbers(values, [predicted], band=BAND, span=SPAN, resamples=4)["mae"][0]
    )


def test_constant_predictions_have_errors_and_no_correlation() -> None:
    values, _ = draw()
    found = bootstrap_numbers(values, [np.full(60, 0.1)], band=BAND, span=SPAN, resamples=50)
    assert np.isnan(found["pearson"]).all()
    assert np.isnan(found["spearman"]).all()
    assert found["ccc"] == pytest.approx(0, abs=1e-9)
    assert all(np.isnan(interval(found["pearson"][0])))
    low, high = interval(found["mae"][0])
    assert low < np.abs(values - 0.1).mean() < high


def test_intervals_are_those_of_scipy() -> None:
    values, predicted = draw(1, 300)
    found = bootstrap_numbers(values, [predicted], band=BAND, span=SPAN)
    for name, statistic in (
        ("mae", lambda x, y: np.abs(x - y).mean()),
        ("pearson", lambda x, y: stats.pearsonr(x, y).statistic),
        ("spearman", lambda x, y: stats.spearmanr(x, y).statistic),
    ):
        known = stats.bootstrap(
            (values, predicted[0]), statistic, paired=True, vectorized=False, method="percentile", n_resamples=2000,
            random_state=1,
        ).confidence_interval  # fmt: skip
        assert interval(found[name][0]) == pytest.approx(tuple(known), abs=0.01), name


def test_resamples_depend_on_the_seed_alone() -> None:
    values, predicted = draw()
    first, again, other = (
        bootstrap_numbers(values, [predicted], band=BAND, span=SPAN, resamples=20, seed=seed)["ccc"]
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# Paired tests --------------------------------------------------------------------------------------------------------


def test_sign_flips_by_hand() -> None:
    """Differences 1, 2, 3, 0: of the eight flips only all and none are as far from 0; with -1, 2, 3 four are."""
    assert sign_flip([1, 2, 3, 5], [0, 0, 0, 5]) == 2 / 8
    assert sign_flip([0, 2, 3, 5], [1, 0, 0, 5]) == 4 / 8
    assert sign_flip([1, 2], [1, 2]) == 1
    # The seeds of a pair are flipped together: differences by pair 3 and 0.
    assert sign_flip([[1, 1], [2, 0]], [[0, 0], [0, 1]]) == 1


@pytest.mark.parametrize("n", [9, 80])
def test_sign_flips_are_the_permutation_test_of_scipy(n: int) -> None:
    """All flips of nine pairs, drawn ones of eighty."""
    rng = np.random.default_rng(n)
    a, b = rng.gamma(2, 1, n), rng.gamma(2, 1.35, n)
    known = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=0)
    assert 0.001 < known.pvalue < 0.5
    assert sign_flip(a, b) == pytest.approx(known.pvalue, abs=1e-12 if n == 9 else 0.01)


def test_sign_flips_of_right_and_wrong_are_mcnemars_test() -> None:
    a = np.array([1] * 8 + [0] * 2 + [1] * 30 + [0] * 5)
    b = np.array([0] * 8 + [1] * 2 + [1] * 30 + [0] * 5)
    assert sign_flip(1 - a, 1 - b) == pytest.approx(mcnemar(a, b)[2])


def test_sign_flips_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50) + 0.08
    whole = sign_flip(a, b, permutations=999)
    monkeypatch.setattr(number_statistics, "CHUNK", 50 * 100)
    assert sign_flip(a, b, permutations=999) == whole


def test_sign_flips_hold_their_level() -> None:
    """Skewed errors of two configurations that are equally good, five seeds: about 5% of the tests say otherwise."""
    rng = np.random.default_rng(3)
    found = []
    for trial in range(300):
        hard = rng.gamma(1, 1, 60)
        a, b = (np.abs(rng.normal(0, hard + rng.choice([0, 0.8], 60), (5, 60))) for _ in range(2))
        found.append(sign_flip(a, b, permutations=400, seed=trial))
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.085


def test_differences() -> None:
    """A second configuration of half the noise: better in every score, each value that of the two parts."""
    values, a = draw(3, 200, 0.3)
    _, b = draw(3, 200, 0.8)
    found = number_differences(values, a, b, band=BAND, span=SPAN, resamples=2000)
    each = [[scores_of(values, one) for one in side] for side in (a, b)]
    for name, one in found.items():
        means = [np.mean([scores[name] for scores in side]) for side in each]
        assert one.value == pytest.approx(means[0] - means[1]), name
        assert (one.value < 0) == (name in ("mae", "rmse")), name
        assert one.low <= one.value <= one.high
        assert one.p < 0.01, name
    assert found["mae"].p == sign_flip(np.abs(a - values), np.abs(b - values), 2000)
    assert found["rmse"].p == sign_flip((a - values) ** 2, (b - values) ** 2, 2000)
    resampled = bootstrap_numbers(values, [a, b], band=BAND, span=SPAN, resamples=2000)["ccc"]
    assert (found["ccc"].low, found["ccc"].high) == interval(resampled[0] - resampled[1])
    same = number_differences(values, a, a, band=BAND, span=SPAN, resamples=100)
    assert {one.p for one in same.values()} == {1.0}
    constant = number_differences(values, a, np.full((3, 200), 0.1), band=BAND, span=SPAN, resamples=100)
    assert set(found) - set(constant) == {"pearson", "spearman"}


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"arrays of one shape \(S, 3\), got \(1, 3\), \(2, 3\)"):
        bootstrap_numbers([0, 1, 2], [[0, 1, 2], [[0, 1, 2]] * 2], band=0, span=SPAN)
    with pytest.raises(ValueError, match=r"arrays of one shape \(S, 3\), got none"):
        bootstrap_numbers([0, 1, 2], [], band=0, span=SPAN)
    with pytest.raises(ValueError, match=r"two arrays of one shape, got \(1, 3\) and \(1, 4\)"):
        sign_flip(np.zeros(3), np.zeros(4))


# Conformal intervals -------------------------------------------------------------------------------------------------


def test_half_width_by_hand() -> None:
    """Nine residuals, 90%: rank ceil(10 * 0.9) = 9, the greatest; 19: the 18th; eight are too few."""
    assert split_conformal([-9, 1, 2, 3, 4, 5, 6, 7, 8]) == 9
    assert split_conformal(-np.arange(1, 20)) == 18
    assert split_conformal(np.arange(8)) == inf
    assert split_conformal(np.arange(8), widest=2.0) == 2.0
    assert split_conformal([]) == inf
    assert split_conformal(np.arange(1, 4), coverage=0.5) == 2


def test_the_rank_is_exact_for_every_size() -> None:
    """(n + 1) * 0.9 in binary is sometimes a little more than the whole number that it stands for."""
    for n in range(9, 400):
        assert split_conformal(np.arange(1, n + 1)) == ceil((n + 1) * Fraction(9, 10))


@pytest.mark.parametrize("n", [9, 24, 150])
def test_intervals_cover_what_they_promise(n: int) -> None:
    """Over draws of validation part and new pair: at least 90%, and no more than one rank above it."""
    rng = np.random.default_rng(n)
    trials = 8000
    residuals = rng.standard_t(3, (trials, n + 1)) * 0.3 + 0.1
    covered = np.mean([abs(row[-1]) <= split_conformal(row[:-1]) for row in residuals])
    expected = ceil((n + 1) * Fraction(9, 10)) / (n + 1)  # exact for residuals without ties
    assert covered == pytest.approx(expected, abs=4 * (0.09 / trials) ** 0.5)
    assert covered >= 0.9 - 3 * (0.09 / trials) ** 0.5


def test_intervals_of_levels_cover_no_less() -> None:
    """Residuals of few levels, as five levels of a score give: ties only widen the interval."""
    rng = np.random.default_rng(1)
    residuals = rng.integers(-3, 4, (4000, 31)) / 3
    covered = np.mean([abs(row[-1]) <= split_conformal(row[:-1]) for row in residuals])
    assert covered >= 0.9
