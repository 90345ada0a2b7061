"""The outputs of a head by target: what its logits say about classes, ordered classes and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from ..targets import Target


def cut(logits: Tensor, targets: Sequence[Target]) -> Iterator[tuple[Target, Tensor]]:
    """Yield each target with its outputs (..., `Target.outputs`), cut from all outputs (..., sum of them)."""
    begin = 0
    for target in targets:
        yield target, logits[..., begin : begin + target.outputs]
        begin += target.outputs


def class_logits(target: Target, outputs: Tensor) -> Tensor:
    """Return logits (..., classes), whose softmax are the probabilities of the classes.

    Those of ordered classes are cumulative links: with K classes and outputs o_1 to o_{K-1},
    P(y > k) = sigmoid(η_k), η_1 = o_1, η_k = η_{k-1} - softplus(o_k), which never rises with k (the proportional odds
    of McCullagh, Regression Models for Ordinal Data, 1980, with steps that may depend on the pair). Their logarithms
    are returned.

    Args:
        target: classes or ordered classes.
        outputs: (..., `Target.outputs`).
    """
    if target.kind == "classes":
        return outputs
    steps = softplus(outputs[..., 1:])
    eta = torch.cat([outputs[..., :1], outputs[..., :1] - steps.cumsum(-1)], -1)  # (..., K - 1), falling
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), a > b: nothing cancels in the logarithm.
    tiny = torch.finfo(outputs.dtype).tiny
    between = torch.log((-torch.expm1(-steps)).clamp(min=tiny))
    first, last = logsigmoid(-eta[..., :1]), logsigmoid(eta[..., -1:])
    inner = logsigmoid(eta[..., :-1]) + logsigmoid(-eta[..., 1:]) + between
    return torch.cat([first, inner, last], -1)


def steps_of(logarithms: Tensor) -> Tensor:
    """Return the outputs (..., K - 1) of ordered classes whose probabilities have these logarithms (..., K).

    The inverse of `class_logits`.
    """
    up, down = logarithms.logcumsumexp(-1), logarithms.flip(-1).logcumsumexp(-1).flip(-1)
    eta = down[..., 1:] - up[..., :-1]  # log P(y > k) - log P(y <= k)
    falls = (eta[..., :-1] - eta[..., 1:]).clamp(min=torch.finfo(eta.dtype).tiny)
    return torch.cat([eta[..., :1], falls + torch.log(-torch.expm1(-falls))], -1)  # the inverse of softplus


def mean_outputs(outputs: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the outputs (..., outputs) that say the mean of what K heads say, as `predicted` has it.

    Args:
        outputs: (K, ..., outputs), those of each head.
        targets: the targets in the order of the outputs.
    """
    parts = []
    for target, own in cut(outputs, targets):
        if target.is_number:
            parts.append(own.clamp(-1, 1).mean(0))
        else:
            logarithms = class_logits(target, own).log_softmax(-1).logsumexp(0) - math.log(len(own))
            parts.append(steps_of(logarithms) if target.kind == "ordered" else logarithms)
    return torch.cat(parts, -1)


def scaled(target: Target, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers in units of half the target's span, from -1 to 1, as a head learns them."""
    low, high = target.bounds
    return (np.asarray(values, np.float64) - (low + high) / 2) / ((high - low) / 2)


def in_units(target: Target, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a head's numbers in the target's own units; the inverse of `scaled`."""
    low, high = target.bounds
    return np.asarray(values, np.float64) * ((high - low) / 2) + (low + high) / 2


def prior(target: Target, values: Tensor) -> Tensor:
    """Return the constant outputs (`Target.outputs`,) that fit some values best, for a head that looks at nothing else.

    Args:
        target: the target.
        values: (N,) int64 class numbers, or numbers in units. Half a sample is added to each class, so that none is
            impossible.
    """
    if target.is_number:
        return torch.from_numpy(scaled(target, values.double().numpy())).mean()[None].float()
    counts = torch.bincount(values, minlength=len(target.classes)) + 0.5
    if target.kind == "classes":
        return (counts / counts.sum()).log()
    above = counts.flip(0).cumsum(0).flip(0)[1:]  # of the classes above each step
    eta = (above / (counts.sum() - above)).log()
    return torch.cat([eta[:1], (eta[:-1] - eta[1:]).expm1().log()])


def predicted(logits: Tensor, targets: Sequence[Target]) -> dict[str, NDArray[np.float64]]:
    """Return what a head's outputs say, by target: class probabilities (..., classes), or numbers (...) in units, those
    beyond the span at its end.

    Args:
        logits: (..., outputs), the outputs of all targets.
        targets: the targets in the order of the outputs.
    """
    wide = logits.cpu().double()
    found: dict[str, NDArray[np.float64]] = {}
    for target, own in cut(wide, targets):
        if target.is_number:
            found[target.name] = np.clip(in_units(target, own[..., 0].numpy()), *target.bounds)
        else:
            found[target.name] = class_logits(target, own).softmax(-1).numpy()
    return found
