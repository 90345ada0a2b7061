"""The loss that is minimised, and the choice of the epoch that is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from .config import TrainConfig

SELECTED_BY = "validation accuracy, then lower validation loss, then the earlier epoch"
"""The rule that chooses the epoch to keep; the paper does not name one."""


class Objective:
    """Cross-entropy, eqs. 19-20, with the recipe's class weights and label smoothing.

    Args:
        config: the recipe.
        labels: (N,) labels of the training part, from which balanced weights are computed.
        device: where logits will be.
        classes: how many classes there are.
    """

    def __init__(self, config: TrainConfig, labels: NDArray[np.int64], device: torch.device, classes: int) -> None:
        self.smoothing = config.label_smoothing
        self.weight: Tensor | None = None
        if config.class_weights == "balanced":
            counts = np.bincount(labels, minlength=classes)
            weight = len(labels) / (classes * np.maximum(counts, 1))  # an absent class is never used
            self.weight = torch.from_numpy(weight).float().to(device)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss (J,) of J batches, weighted by class; logits (J, B, classes), labels (J, B)."""
        reduction = "mean" if len(logits) == 1 else "none"
        loss = cross_entropy(
            logits.flatten(0, 1), labels.flatten(), self.weight, reduction=reduction, label_smoothing=self.smoothing
        )
        if len(logits) == 1:
            return loss[None]
        each = loss.view_as(labels)
        return each.mean(1) if self.weight is None else each.sum(1) / self.weight[labels].sum(1)


def clip_side_by_side(parameters: Sequence[Tensor], most: float) -> None:
    """Scale the gradients of J heads, each parameter (J, ...), so that no head's own norm is above `most`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (J,)
    factor = (most / (norms + 1e-6)).clamp(max=1)  # as in torch.nn.utils.clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class EpochSelection:
    """The choice of the epoch to keep (`SELECTED_BY`), and early stopping.

    Args:
        patience: epochs without a better one after which training stops; None for never.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.epoch = 0
        """The best so far, counted from 1."""
        self._best: tuple[float, float] | None = None

    def better(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Record an epoch's validation scores; return whether they are the best so far."""
        if self._best is not None and (accuracy, -loss) <= self._best:
            return False
        self._best, self.epoch = (accuracy, -loss), epoch
        return True

    def ends(self, epoch: int) -> bool:
        """Return whether to stop after this epoch."""
        return self.patience is not None and epoch - self.epoch >= self.patience
