"""Scores on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import classification_report, log_loss

from itin.labels import LABELS
from itin.train.metrics import majority_class, score


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
