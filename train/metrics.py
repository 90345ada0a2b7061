"""Scores of predictions. Pure functions on top of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score


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
    numbers = list(range(len(classes)))
    each = f1_score(labels, predicted, labels=numbers, average=None, zero_division=0.0)
    return {
        "n": len(labels),
        "loss": float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean()),
        "accuracy": float(accuracy_score(labels, predicted)),
        "weighted_f1": _mean_f1(labels, predicted, numbers, "weighted"),
        "macro_f1": _mean_f1(labels, predicted, numbers, "macro"),
        "f1": {label: float(value) for label, value in zip(classes, each, strict=True)},
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist(),
        "majority": {
            "class": classes[majority],
            "accuracy": float(np.mean(labels == majority)),
            "weighted_f1": _mean_f1(labels, np.full(len(labels), majority), numbers, "weighted"),
        },
    }


def _mean_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], numbers: list[int], average: str) -> float:
    return float(f1_score(labels, predicted, labels=numbers, average=average, zero_division=0.0))
