"""The scores of a reproduction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...train.config import TrainConfig
from ...train.statistics import Estimate, accuracy_of, weighted_f1_of

SCORES = ("accuracy", "weighted_f1")


@dataclass(frozen=True)
class ConfigurationScores:
    """The scores of one configuration on the test part, over its seeds."""

    config: TrainConfig
    """The recipe; its seed and fold are not meaningful."""
    scores: dict[str, Estimate]
    """For each of `SCORES` the mean over the seeds, their deviation, and the interval over pairs and seeds."""
    by_seed: dict[str, NDArray[np.float64]]
    """For each of `SCORES` the values (S,), all folds of a seed together; (1,) of a head without a seed."""
    resampled: dict[str, NDArray[np.float64]]
    """For each of `SCORES` the values (resamples,); all configurations use the same pairs and seeds."""
    right: NDArray[np.bool_]
    """Whether each pair is predicted correctly, (S, N)."""


def scores_of(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, NDArray[np.float64]]:
    """Return the `SCORES` of predictions (S, N), each (S,)."""
    confusion = np.stack([np.bincount(classes * labels + one, minlength=classes**2) for one in predicted])
    matrices = confusion.reshape(-1, classes, classes).astype(np.float64)
    return {"accuracy": accuracy_of(matrices), "weighted_f1": weighted_f1_of(matrices)}
