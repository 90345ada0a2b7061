"""The loss that is minimised, and the choice of the epoch that is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, huber_loss

from ...itin_head.outputs import class_logits, cut
from ..config import SCORE_TITLES, SELECTS, TrainConfig
from ..features.batches import ABSENT
from ..features.features import TargetColumn

HUBER = 0.1
"""Where Huber's loss turns from quadratic to linear, in units of half the target's span."""


class Objective:
    """The sum of the targets' losses by their weights, each the mean over the samples with a value for it.

    Classes have the cross-entropy of eqs. 19-20 with the recipe's class weights and label smoothing, ordered classes
    that of their cumulative links, numbers the recipe's `loss` in units of half their span.

    Args:
        config: the recipe.
        columns: the targets, with the values of the training part.
        device: where logits will be.
    """

    def __init__(self, config: TrainConfig, columns: Sequence[TargetColumn], device: torch.device) -> None:
        self.config = config
        self.targets = [column.target for column in columns]
        self.complete = [bool(column.known.all()) for column in columns]
        self.class_weights: list[Tensor | None] = [None] * len(columns)
        if config.class_weights == "balanced":
            for place, column in enumerate(columns):
                if not column.target.is_number:
                    classes = len(column.target.classes)
                    labels = column.values[column.known].astype(np.int64)
                    counts = np.bincount(labels, minlength=classes)
                    if column.shares is not None:
                        counts = column.shares.sum(0)
                    # An absent class is never used.
                    weight = counts.sum() / (classes * np.where(counts > 0, counts, 1))
                    self.class_weights[place] = torch.from_numpy(weight).float().to(device)

    def __call__(self, logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """Return the mean loss (J,) of J batches: logits (J, B, outputs), and each target's values (J, B).

        Further logits (`HeadOutput.further`), which stand behind the outputs, get the same loss; the losses are added.
        """
        own, *further = torch.split(logits, sum(target.outputs for target in self.targets), dim=-1)
        loss = self._loss(own, targets)
        for one in further:
            loss = loss + self._loss(one, targets)
        return loss

    def _loss(self, logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
        losses = [
            number_loss(self.config.loss, own[..., 0], values)
            if target.is_number
            else self._cross_entropy(class_logits(target, own), values, place)
            if values.ndim == 2
            else self._cross_entropy_of_shares(class_logits(target, own), values, place)
            for place, ((target, own), values) in enumerate(zip(cut(logits, self.targets), targets, strict=True))
        ]
        if len(losses) == 1 and self.config.target_weights is None:
            return losses[0]
        total: Tensor = torch.stack([weight * loss for weight, loss in zip(self.config.weights, losses, strict=True)])
        return total.sum(0)

    def _cross_entropy(self, logits: Tensor, labels: Tensor, place: int) -> Tensor:
        weight, smoothing = self.class_weights[place], self.config.label_smoothing
        alone = len(logits) == 1 and self.complete[place]
        loss = cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            weight,
            reduction="mean" if alone else "none",
            label_smoothing=smoothing,
        )
        if alone:
            return loss[None]
        each = loss.view_as(labels)
        if self.complete[place]:
            return each.mean(1) if weight is None else each.sum(1) / weight[labels].sum(1)
        known = labels != ABSENT
        share = known.to(each.dtype) if weight is None else weight[labels.clamp(min=0)] * known
        return each.sum(1) / share.sum(1).clamp(min=torch.finfo(each.dtype).tiny)

    def _cross_entropy_of_shares(self, logits: Tensor, shares: Tensor, place: int) -> Tensor:
        """Return the mean over the samples that somebody judged, shares (J, B, classes)."""
        weight = self.class_weights[place]
        rows = shares.flatten(0, 1)
        loss = cross_entropy(
            logits.flatten(0, 1), rows, weight, reduction="none", label_smoothing=self.config.label_smoothing
        )
        judged = rows.any(1)  # smoothing gives the others a loss too
        count = judged.to(loss.dtype) if weight is None else rows @ weight
        each, count = (torch.where(judged, one, 0).view(shares.shape[:2]).sum(1) for one in (loss, count))
        return each / count.clamp(min=torch.finfo(loss.dtype).tiny)


def number_loss(kind: str, predicted: Tensor, values: Tensor) -> Tensor:
    """Return the loss (J,) of predicted numbers (J, B), over the values (J, B) that are not NaN; 0 where none is.

    Args:
        kind: one of `config.LOSSES`. `ccc` is 1 - CCC of the batch (Lin, A Concordance Correlation Coefficient to
            Evaluate Reproducibility, 1989), with moments over its samples.
        predicted: in units of half the target's span.
        values: in the same units.
    """
    known = ~values.isnan()
    count = known.sum(1).clamp(min=1)
    values = values.nan_to_num()
    if kind == "ccc":
        mean_p, mean_v = (torch.where(known, one, 0).sum(1) / count for one in (predicted, values))
        away_p = torch.where(known, predicted - mean_p[:, None], 0)
        away_v = torch.where(known, values - mean_v[:, None], 0)
        spread = ((away_p**2).sum(1) + (away_v**2).sum(1)) / count + (mean_p - mean_v) ** 2
        ccc = 2 * (away_p * away_v).sum(1) / count / spread.clamp(min=1e-12)
        return torch.where(known.any(1), 1 - ccc, 0)
    each = (
        huber_loss(predicted, values, reduction="none", delta=HUBER) if kind == "huber" else (predicted - values) ** 2
    )
    return torch.where(known, each, 0).sum(1) / count


def clip_side_by_side(parameters: Sequence[Tensor], most: float) -> None:
    """Scale the gradients of J heads, each parameter (J, ...), so that no head's own norm is above `most`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # (J,)
    factor = (most / (norms + 1e-6)).clamp(max=1)  # as in torch.nn.utils.clip_grad_norm_
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class EpochSelection:
    """The choice of the epoch to keep (`selected_by`), and early stopping.

    Args:
        score: the score to select by, one of `config.SELECTS`.
        patience: epochs without a better one after which training stops; None for never.
    """

    def __init__(self, score: str, patience: int | None) -> None:
        self.score, self.patience = score, patience
        self.epoch = 0
        """The best so far, counted from 1."""
        self._best: tuple[float, float] | None = None

    def better(self, epoch: int, scores: Mapping[str, Any]) -> bool:
        """Record an epoch's validation scores; return whether they are the best so far."""
        value = scores[self.score]
        # An undefined correlation, of predictions that are all the same, is worse than any other.
        own = -math.inf if value is None else SELECTS[self.score] * float(value), -float(scores["loss"])
        if self._best is not None and own <= self._best:
            return False
        self._best, self.epoch = own, epoch
        return True

    def ends(self, epoch: int) -> bool:
        """Return whether to stop after this epoch."""
        return self.patience is not None and epoch - self.epoch >= self.patience


def selected_by(score: str) -> str:
    """Return the rule that chooses the epoch to keep, in words; the paper does not name one."""
    if score == "loss":
        return "lower validation loss, then the earlier epoch"
    way = "" if SELECTS[score] > 0 else "lower "
    return f"{way}validation {SCORE_TITLES[score]}, then lower validation loss, then the earlier epoch"
