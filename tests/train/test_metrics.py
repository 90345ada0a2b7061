"""Scores on cases that can be counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
)

from itin.labels import LABELS
from itin.train.metrics import majority_class, score, score_number, zero_band


def one_hot(predicted: list[int], sure: float = 0.8) -> np.ndarray:
    rest = (1 - sure) / 2
    return np.where(np.arange(3) == np.array(predicted)[:, None], sure, rest)


def test_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = [0, 0, 0, 1, 1, 0, 2, 0]
    scores = score(labels, one_hot(predicted), majority=0, classes=LABELS)
    # positive: 3 right of 4, predicted 5 times; neutral: 1 of 2, twice; negative: 1 of 2, once
    f1 = [2 * 3 / (4 + 5), 2 * 1 / (2 + 2), 2 * 1 / (2 + 1)]
    assert scores["n"] == 8
    assert scores["accuracy"] == 5 / 8
    assert list(scores["f1"]) == ["positive", "neutral", "negative"]
    assert list(scores["f1"].values()) == pytest.approx(f1, rel=1e-12)
    assert scores["macro_f1"] == pytest.approx(sum(f1) / 3, rel=1e-12)
    assert scores["weighted_f1"] == pytest.approx((4 * f1[0] + 2 * f1[1] + 2 * f1[2]) / 8, rel=1e-12)
    assert scores["confusion"] == [[3, 1, 0], [1, 1, 0], [1, 0, 1]]
    assert scores["loss"] == pytest.approx(-(5 * np.log(0.8) + 3 * np.log(0.1)) / 8, rel=1e-12)
    assert scores["majority"]["class"] == "positive"
    assert scores["majority"]["accuracy"] == 0.5
    assert scores["majority"]["weighted_f1"] == pytest.approx(0.5 * 2 * 4 / (4 + 8), rel=1e-12)


def test_class_that_is_not_there_has_no_f1() -> None:
    scores = score(np.array([0, 0, 2]), one_hot([0, 0, 0]), majority=2, classes=LABELS)
    assert scores["f1"] == {"positive": 0.8, "neutral": 0.0, "negative": 0.0}
    assert scores["macro_f1"] == pytest.approx(0.8 / 3, rel=1e-12)
    assert scores["weighted_f1"] == pytest.approx(0.8 * 2 / 3, rel=1e-12)
    assert scores["majority"] == {
        "class": "negative",
        "accuracy": 1 / 3,
        "weighted_f1": pytest.approx(1 / 6, rel=1e-12),
    }


def test_certain_and_wrong_is_finite() -> None:
    scores = score(np.array([0]), np.array([[0.0, 1.0, 0.0]]), majority=0, classes=LABELS)
    assert scores["loss"] == pytest.approx(-np.log(np.finfo(float).tiny))


def test_majority_class() -> None:
    assert majority_class(np.array([2, 1, 2, 0])) == 2
    assert majority_class(np.array([1, 2])) == 1


@pytest.mark.parametrize("classes", [2, 7, 120])
def test_any_number_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    names = [f"class {n}" for n in range(classes)]
    labels = rng.integers(classes, size=400)
    probabilities = rng.dirichlet(np.ones(classes), 400) / 2 + np.eye(classes)[rng.permutation(labels)] / 2
    probabilities[::2] = probabilities[::2] / 2 + np.eye(classes)[labels[::2]] / 2
    predicted = probabilities.argmax(1)
    scores = score(labels, probabilities, majority=1, classes=names)
    numbers = range(classes)
    report = classification_report(
        labels, predicted, labels=numbers, target_names=names, output_dict=True, zero_division=0.0
    )
    assert scores["f1"] == pytest.approx({name: report[name]["f1-score"] for name in names}, rel=1e-12)
    assert scores["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"], rel=1e-12)
    assert scores["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"], rel=1e-12)
    assert scores["accuracy"] == pytest.approx((labels == predicted).mean(), rel=1e-12)
    assert scores["loss"] == pytest.approx(log_loss(labels, probabilities, labels=numbers), rel=1e-9)
    cells = [[int(((labels == true) & (predicted == said)).sum()) for said in numbers] for true in numbers]
    assert scores["confusion"] == cells
    assert scores["majority"]["class"] == "class 1"


# A number ------------------------------------------------------------------------------------------------------------

SPAN = (-1.0, 1.0)


def test_number_by_hand() -> None:
    """Errors 0, 0.5, -0.5 and 1; the means are -0.25 and 0."""
    values, predicted = [-1.0, -1.0, 0.5, 0.5], [-1.0, -0.5, 0.0, 1.5]
    scores = score_number(values, predicted, center=0.25, band=0.25, span=SPAN)
    assert (scores["n"], scores["mae"], scores["band"]) == (4, 0.5, 0.25)
    assert scores["rmse"] == pytest.approx((1.5 / 4) ** 0.5, rel=1e-12)
    products, true, said = 2.25, 2.25, 3.5  # sums about the means
    assert scores["pearson"] == pytest.approx(products / (true * said) ** 0.5, rel=1e-12)
    assert scores["ccc"] == pytest.approx(2 * products / (true + said + 4 * 0.25**2), rel=1e-12)
    # Ranks 1.5, 1.5, 3.5, 3.5 and 1, 2, 3, 4: about 2.5 the products sum to 4, the squares to 4 and 5.
    assert scores["spearman"] == pytest.approx(4 / 20**0.5, rel=1e-12)
    assert scores["baseline"]["value"] == 0.25
    assert scores["baseline"]["mae"] == (1.25 + 1.25 + 0.25 + 0.25) / 4
    assert scores["baseline"]["rmse"] == pytest.approx(((2 * 1.25**2 + 2 * 0.25**2) / 4) ** 0.5, rel=1e-12)


def test_cuts_by_hand() -> None:
    """A band of 0.25: its ends are at 0, true values beyond it are not, a sign alone decides without zeros."""
    values = [-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]
    predicted = [-0.3, 0.1, -0.3, 0.25, -0.25, 0.2, -0.1]
    cut = score_number(values, predicted, center=0.0, band=0.25, span=SPAN)["cut"]
    # Of the true -1, -0.5, 0.5, 1: predicted negative, positive, positive, negative.
    assert cut["nonzero"] == {"n": 4, "accuracy": 0.5, "weighted_f1": 0.5, "macro_f1": 0.5}
    # True: two below; predicted: the first and the third. One of the two below is found.
    assert cut["negative"]["n"] == 7
    assert cut["negative"]["accuracy"] == 5 / 7
    assert cut["negative"]["macro_f1"] == pytest.approx((0.5 + 0.8) / 2, rel=1e-12)
    assert cut["negative"]["weighted_f1"] == pytest.approx((2 * 0.5 + 5 * 0.8) / 7, rel=1e-12)
    # True: below, below, at, at, at, above, above; predicted: below, at, below, at, at, at, at.
    assert cut["three"]["accuracy"] == 3 / 7
    f1 = [2 * 1 / (2 + 2), 2 * 2 / (3 + 5), 0.0]
    assert cut["three"]["macro_f1"] == pytest.approx(sum(f1) / 3, rel=1e-12)
    assert cut["three"]["weighted_f1"] == pytest.approx((2 * f1[0] + 3 * f1[1]) / 7, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_number_scores_are_those_of_scipy_and_scikit_learn(seed: int) -> None:
    """Levels with ties or a continuum, few pairs or many, predictions beyond the span."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 300))
    values = rng.integers(-6, 7, n) / 6 if seed % 2 else rng.uniform(-1, 1, n)
    predicted = rng.normal(values * rng.uniform(-0.5, 1.5), 0.5)
    if seed % 3 == 0:
        predicted = predicted.round(1)
    band = zero_band(values)
    scores = score_number(values, predicted, center=float(values.mean()), band=band, span=SPAN)
    assert scores["mae"] == pytest.approx(mean_absolute_error(values, predicted), rel=1e-12)
    assert scores["rmse"] == pytest.approx(mean_squared_error(values, predicted) ** 0.5, rel=1e-12)
    for name, known in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        assert scores[name] == pytest.approx(known(values, predicted).statistic, rel=1e-9, abs=1e-12)
    cov = np.cov(values, predicted, ddof=0)
    shift = (values.mean() - predicted.mean()) ** 2
    assert scores["ccc"] == pytest.approx(2 * cov[0, 1] / (cov.trace() + shift), rel=1e-9)
    assert scores["baseline"]["rmse"] == pytest.approx(values.std(), rel=1e-9)
    there = np.abs(values) > band
    at = [np.where(np.abs(side) <= band, 0, np.sign(side)) for side in (values, predicted)]
    cases = {
        "nonzero": (values[there] > 0, predicted[there] > 0, [False, True]),
        "negative": (at[0] == -1, at[1] == -1, [False, True]),
        "three": (at[0], at[1], [-1, 0, 1]),
    }
    for name, (true, said, labels) in cases.items():
        assert scores["cut"][name]["n"] == len(true)
        assert scores["cut"][name]["accuracy"] == pytest.approx(accuracy_score(true, said))
        for average in ("weighted", "macro"):
            known = f1_score(true, said, labels=labels, average=average, zero_division=0.0)
            assert scores["cut"][name][f"{average}_f1"] == pytest.approx(known, rel=1e-12)
    json.dumps(scores, allow_nan=False)


def test_correlation_of_a_constant_side_is_none() -> None:
    """So the page's JSON holds no NaN. 0.1 has no exact mean: its deviations are rounding, not a spread."""
    constant, values = np.full(7, 0.1), np.linspace(-1, 1, 7)
    for sides in ((constant, values), (values, constant), (constant, constant)):
        scores = score_number(*sides, center=0.1, band=0.0, span=SPAN)
        assert (scores["pearson"], scores["spearman"]) == (None, None)
        json.dumps(scores, allow_nan=False)
    assert score_number(values, constant, center=0.0, band=0.0, span=SPAN)["ccc"] == pytest.approx(0, abs=1e-12)
    assert score_number(constant, constant, center=0.0, band=0.0, span=SPAN)["ccc"] is None
    one = score_number([0.0], [0.5], center=0.0, band=0.0, span=SPAN)
    assert (one["pearson"], one["spearman"], one["ccc"], one["mae"]) == (None, None, None, 0.5)
    assert one["cut"]["nonzero"] == {"n": 0, "accuracy": None, "weighted_f1": None, "macro_f1": None}


@pytest.mark.parametrize("span", [(1.0, 5.0), (0.0, 1.0), (-3.0, 0.0)])
def test_no_cut_where_zero_is_not_inside_the_span(span: tuple[float, float]) -> None:
    assert score_number([span[0], span[1]], [span[1], span[0]], center=0.0, band=0.0, span=span)["cut"] is None


def test_zero_band_is_half_the_way_to_the_nearest_level() -> None:
    assert zero_band([-1, -0.5, 0, 1 / 6, 1]) == pytest.approx(1 / 12)
    assert zero_band([-0.1, 0.2, np.nan]) == 0.05
    assert zero_band([0.1 + 0.2 - 0.3, 0.5]) == 0.25  # 5.6e-17 is 0
    assert zero_band([0.0, 0.0]) == zero_band([]) == 0.0


def test_number_scores_need_finite_pairs() -> None:
    with pytest.raises(ValueError, match=r"of one shape \(N,\), got \(2,\) and \(3,\)"):
        score_number([0, 1], [0, 1, 2], center=0.0, band=0.0, span=SPAN)
    with pytest.raises(ValueError, match=r"got \(0,\) and \(0,\)"):
        score_number([], [], center=0.0, band=0.0, span=SPAN)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite"):
            score_number([0.0, 1.0], [0.0, bad], center=0.0, band=0.0, span=SPAN)
