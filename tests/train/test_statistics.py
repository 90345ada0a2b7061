"""Statistics, against SciPy, scikit-learn and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from itin.train import statistics
from itin.train.statistics import (
    accuracy_of,
    bootstrap,
    calibration,
    difference,
    holm,
    interval,
    mcnemar,
    over_seeds,
    weighted_f1_of,
    wilson,
)


def draw(seeds: int = 4, n: int = 200, skill: float = 0.7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and predictions (seeds, n) that are right with so much probability."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=n, p=[0.6, 0.1, 0.3])
    guess = rng.integers(3, size=(seeds, n))
    return labels, np.where(rng.random((seeds, n)) < skill, labels, guess)


# Intervals -----------------------------------------------------------------------------------------------------------


def test_over_seeds_is_the_t_interval() -> None:
    values = [0.70, 0.72, 0.71, 0.74, 0.68]
    found = over_seeds(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.std) == (pytest.approx(0.71), pytest.approx(np.std(values, ddof=1)))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    # By hand: the mean is 0.71, the deviation sqrt(0.002 / 4), and t with four degrees of freedom is 2.776.
    assert found.high - found.value == pytest.approx(2.776 * np.sqrt(0.0005 / 5), abs=1e-5)


def test_one_seed_has_no_interval() -> None:
    found = over_seeds([0.7])
    assert found.value == 0.7
    assert np.isnan([found.std, found.low, found.high]).all()
    with pytest.raises(
        ValueError, match=r"values: expected one dimension and at least one value, got the shape \(0,\)"
    ):
        over_seeds([])


def test_wilson() -> None:
    """The closed form, and the known case 81 of 263 (Newcombe 1998): 0.2553 to 0.3662."""
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    k, n, z = 330, 450, stats.norm.ppf(0.975)
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    assert wilson(k, n) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert wilson(0, 10)[0] == 0


# McNemar -------------------------------------------------------------------------------------------------------------


def test_mcnemar_of_one_seed_is_exact() -> None:
    """Eight pairs that only the first gets right, two that only the second does: 2 * (1 + 10 + 45) / 2^10."""
    a = np.array([1] * 8 + [0] * 2 + [1] * 30 + [0] * 5, bool)
    b = np.array([0] * 8 + [1] * 2 + [1] * 30 + [0] * 5, bool)
    assert mcnemar(a, b) == (8, 2, pytest.approx(112 / 1024))
    assert mcnemar(b, a) == (2, 8, pytest.approx(112 / 1024))
    assert mcnemar(a, a) == (0, 0, 1.0)


def test_mcnemar_of_seeds_treats_a_pair_as_one() -> None:
    """Seeds that all say the same are one seed: more of them make nothing surer."""
    a = np.array([1] * 20 + [0] * 8 + [1] * 30, bool)
    b = np.array([0] * 20 + [1] * 8 + [1] * 30, bool)
    twice, often = (mcnemar(np.tile(a, (s, 1)), np.tile(b, (s, 1))) for s in (2, 9))
    assert twice[:2] == (40, 16)
    assert twice[2] == pytest.approx(often[2]) == pytest.approx(stats.chi2.sf((20 - 8) ** 2 / (20 + 8), 1))


def test_mcnemar_of_seeds_by_hand() -> None:
    """Three pairs, two seeds: differences by pair 2, 1 and -1, so chi-squared is (2 + 1 - 1)^2 / (4 + 1 + 1)."""
    a = np.array([[1, 1, 0], [1, 0, 1]], bool)
    b = np.array([[0, 0, 1], [0, 0, 1]], bool)
    assert mcnemar(a, b) == (3, 1, pytest.approx(stats.chi2.sf(4 / 6, 1)))
    only_swaps = np.array([[1], [0]], bool)
    assert mcnemar(only_swaps, ~only_swaps) == (1, 1, 1.0)


def test_mcnemar_of_seeds_holds_its_level() -> None:
    """Two configurations that are equally good, hard pairs shared by all seeds: about 5% of the tests say otherwise."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        ease = rng.beta(0.6, 0.4, size=(1, 150))
        lean = rng.choice([-0.3, 0.3], size=(1, 150))
        a = rng.random((5, 150)) < np.clip(ease + lean, 0, 1)
        b = rng.random((5, 150)) < np.clip(ease - lean, 0, 1)
        found.append(mcnemar(a, b)[2])
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.085


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"expected two arrays of one shape, got \(1, 3\) and \(1, 4\)"):
        mcnemar(np.zeros(3, bool), np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"arrays of one shape \(S, 3\), got \(1, 3\), \(2, 3\)"):
        bootstrap([0, 1, 2], [[0, 1, 2], [[0, 1, 2]] * 2], 3)
    with pytest.raises(ValueError, match=r"arrays of one shape \(S, 3\), got none"):
        bootstrap([0, 1, 2], [], 3)


# Bootstrap -----------------------------------------------------------------------------------------------------------


def test_figures_of_confusion_matrices_are_those_of_scikit_learn() -> None:
    labels, predicted = draw()
    matrices = np.stack([confusion_matrix(labels, one, labels=[0, 1, 2]) for one in predicted]).astype(float)
    assert accuracy_of(matrices) == pytest.approx([accuracy_score(labels, one) for one in predicted])
    assert weighted_f1_of(matrices) == pytest.approx(
        [f1_score(labels, one, labels=[0, 1, 2], average="weighted", zero_division=0) for one in predicted]
    )
    never = np.array([[5.0, 0, 0], [2, 0, 0], [0, 0, 0]])
    truth, said = [0] * 5 + [1] * 2, [0] * 7
    assert weighted_f1_of(never) == pytest.approx(f1_score(truth, said, average="weighted", zero_division=0))


def test_resamples_are_what_resampling_row_by_row_gives() -> None:
    """The same weights, applied by hand to two configurations and three seeds."""
    labels, a = draw(3, 40)
    _, b = draw(3, 40, 0.5, seed=1)
    found = bootstrap(labels, [a, b], 3, resamples=5, seed=7)
    rng = np.random.default_rng(7)
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    drawn = rng.multinomial(3, np.full(3, 1 / 3), size=5)
    for c, predicted in enumerate((a, b)):
        for r in range(5):
            rows = np.repeat(np.arange(40), weights[r])
            seeds = np.repeat(np.arange(3), drawn[r])
            accuracy = np.mean([accuracy_score(labels[rows], predicted[s][rows]) for s in seeds])
            assert found["accuracy"][c, r] == pytest.approx(accuracy)
            for average in ("weighted", "macro"):
                f1 = np.mean([f1_score(labels[rows], predicted[s][rows], average=average, labels=[0, 1, 2],
                                       zero_division=0) for s in seeds])  # fmt: skip
                assert found[f"{average}_f1"][c, r] == pytest.approx(f1)


def test_the_interval_of_one_run_is_that_of_scipy() -> None:
    labels, predicted = draw(1, 450)
    right = (predicted[0] == labels).astype(float)
    found = interval(bootstrap(labels, [predicted], 3)["accuracy"][0])
    known = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=10_000, random_state=3)
    assert found == pytest.approx(tuple(known.confidence_interval), abs=0.004)
    assert found == pytest.approx(wilson(int(right.sum()), 450), abs=0.004)


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    """Two configurations that differ on few pairs: the interval is that of the pairs that differ."""
    labels, a = draw(1, 600, 0.8)
    b = a.copy()
    wrong = np.flatnonzero(a[0] != labels)[:25]
    b[0, wrong] = labels[wrong]
    resampled = bootstrap(labels, [b, a], 3)["accuracy"]
    found = difference(25 / 600, *resampled)
    known = stats.bootstrap(
        ((b[0] == labels) * 1.0 - (a[0] == labels),), np.mean, method="percentile", random_state=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(known), abs=0.002)
    assert found.p == pytest.approx(2 / 10_001)
    assert interval(resampled[0])[0] < interval(resampled[1])[1]  # the parts alone could not tell
    assert difference(0, resampled[0], resampled[0]).p == 1
    up_to_rounding = resampled[0] + np.where(np.arange(resampled.shape[1]) % 3, 1e-16, -1e-16)
    assert difference(0, up_to_rounding, resampled[0]).p == 1


def test_it_finds_no_difference_where_there_is_none() -> None:
    """Two configurations of equal skill, five seeds: the test says otherwise in about 5% of the cases, not more."""
    found = []
    for trial in range(120):
        labels, a = draw(5, 120, 0.6, seed=2 * trial)
        rng = np.random.default_rng(2 * trial + 1)
        b = np.where(rng.random((5, 120)) < 0.6, labels, rng.integers(3, size=(5, 120)))
        gap = float((a == labels).mean() - (b == labels).mean())
        found.append(difference(gap, *bootstrap(labels, [a, b], 3, resamples=400, seed=trial)["accuracy"]).p)
    assert np.mean(np.array(found) < 0.05) < 0.1


def test_resamples_depend_on_the_seed_alone() -> None:
    labels, predicted = draw()
    first, again, other = (bootstrap(labels, [predicted], 3, 50, seed)["weighted_f1"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# Several comparisons, calibration ------------------------------------------------------------------------------------


def test_holm() -> None:
    """Holm 1979's step-down, worked out: 0.01 * 4, 0.02 * 3, max(0.06, 0.03 * 2), 0.9."""
    assert holm([0.03, 0.01, 0.9, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([0.04]).tolist() == [0.04]


def test_calibration_by_hand() -> None:
    """Two at confidence 0.9 with one right, two at 0.6 with both right: (2 * 0.4 + 2 * 0.4) / 4."""
    probabilities = [[0.9, 0.1, 0], [0.9, 0.05, 0.05], [0.2, 0.6, 0.2], [0.3, 0.1, 0.6]]
    error, table = calibration([0, 1, 1, 2], probabilities, bins=5)
    assert error == pytest.approx(0.4)
    assert table["n"].tolist() == [0, 0, 2, 0, 2]
    assert table["accuracy"].tolist()[2::2] == [1.0, 0.5]
    assert table["confidence"].tolist()[2::2] == pytest.approx([0.6, 0.9])
    assert table["low"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_calibration_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=500)
    labels = np.array([rng.choice(3, p=row) for row in probabilities])
    error, table = calibration(labels, probabilities, bins=10)
    right = probabilities.argmax(1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(1), n_bins=10)
    held = table[table["n"] > 0]
    assert held["accuracy"].tolist() == pytest.approx(accuracy)
    assert held["confidence"].tolist() == pytest.approx(confidence)
    assert error == pytest.approx((held["n"] / 500 * (accuracy - confidence).__abs__()).sum())
    assert error < 0.1


@pytest.mark.parametrize("classes", [2, 3, 7, 120])
def test_resamples_of_any_number_of_classes(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resample against scikit-learn, with the times that each pair is drawn as weights."""
    monkeypatch.setattr(statistics, "CHUNK", 3 * 2 * 3 * classes)  # blocks smaller than the resamples
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=90)
    predicted = [
        np.where(rng.random((2, 90)) < skill, labels, rng.integers(classes, size=(2, 90))) for skill in (0.4, 0.7)
    ]
    found = bootstrap(labels, predicted, classes, resamples=7, seed=5)
    again = np.random.default_rng(5)
    size = max(1, statistics.CHUNK // 90)
    drawn = []
    for begin in range(0, 7, size):
        number = min(size, 7 - begin)
        pairs = again.multinomial(90, np.full(90, 1 / 90), size=number)
        drawn += list(zip(pairs, again.multinomial(2, np.full(2, 1 / 2), size=number) / 2, strict=True))
    for row, (pairs, seeds) in enumerate(drawn):
        for number, one in enumerate(predicted):
            f1 = [f1_score(labels, each, average="weighted", sample_weight=pairs, zero_division=0.0) for each in one]
            accuracy = [accuracy_score(labels, each, sample_weight=pairs) for each in one]
            assert found["weighted_f1"][number, row] == pytest.approx(seeds @ f1, rel=1e-9)
            assert found["accuracy"][number, row] == pytest.approx(seeds @ accuracy, rel=1e-9)
