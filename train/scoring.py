"""The scores of a target's predictions, whatever its type."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..itin_head.outputs import scaled
from .features.features import TargetColumn
from .metrics import majority_class, score, score_number, zero_band
from .optimization.objective import number_loss


class Scorer:
    """The scores of one target's predictions.

    Args:
        column: the target with its values for all samples.
        train: (N,) rows of the training part, whose majority class or mean the scores are held against.
        loss: the recipe's loss of numbers.
    """

    def __init__(self, column: TargetColumn, train: NDArray[np.int64], loss: str) -> None:
        self.target, self.column, self._loss = column.target, column, loss
        taught = column.values[train][column.known[train]]
        self._majority, self._center, self._band = 0, 0.0, 0.0
        if self.target.is_number:
            self._center, self._band = float(taught.mean()), zero_band(taught)
        elif len(taught):  # annotators who never agree teach by their shares alone
            self._majority = majority_class(taught.astype(np.int64))

    def __call__(self, rows: NDArray[np.int64], predicted: NDArray[np.float64]) -> dict[str, Any]:
        """Return the scores (`metrics.score` or `metrics.score_number`, with `loss`) of the rows that have a value.

        Args:
            rows: (n,) samples.
            predicted: (n, classes) their probabilities, or (n,) numbers in the target's units.
        """
        known = self.column.known[rows]
        values, predicted = self.column.values[rows][known], predicted[known]
        if not self.target.is_number:
            return score(values.astype(np.int64), predicted, self._majority, self.target.classes)
        units = [torch.from_numpy(scaled(self.target, one.astype(np.float64)))[None] for one in (predicted, values)]
        loss = float(number_loss(self._loss, *units)[0])
        span = self.target.bounds
        found = score_number(values, predicted, center=self._center, band=self._band, span=span)
        return {"n": found["n"], "loss": loss, **found}
