"""The scores of a reproduction, and what one configuration came to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...labels import LABELS
from ...train.config import TrainConfig
from ...train.statistics import Estimate, accuracy_of, weighted_f1_of

SCORES = ("accuracy", "weighted_f1")


@dataclass(frozen=True)
class Row:
    """One configuration on the test part, over its seeds."""

    config: TrainConfig
    """Its recipe; seed and fold mean nothing."""
    scores: dict[str, Estimate]
    """By `SCORES`: the mean over the seeds, their deviation, and the interval over pairs and seeds."""
    by_seed: dict[str, NDArray[np.float64]]
    """By `SCORES`: (S,), all folds of a seed together."""
    resampled: dict[str, NDArray[np.float64]]
    """By `SCORES`: (resamples,), those of all rows on the same pairs and seeds."""
    right: NDArray[np.bool_]
    """(S, N), whether each pair is predicted as labelled."""


def scores_of(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """`SCORES` of predictions (S, N), each (S,)."""
    size = len(LABELS)
    confusion = np.stack([np.bincount(size * labels + one, minlength=size**2) for one in predicted])
    matrices = confusion.reshape(-1, size, size).astype(np.float64)
    return {"accuracy": accuracy_of(matrices), "weighted_f1": weighted_f1_of(matrices)}
