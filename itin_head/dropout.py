"""Dropout whose masks each head draws from a generator of its own, so that they are the same alone and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def dropped(values: Tensor, share: float, generators: Sequence[torch.Generator] | None) -> Tensor:
    """Return values (B, ..., D) of which a share is 0 and the rest is divided by 1 - share.

    A sample has one mask (D,), which all its words or regions share (Gal & Ghahramani, A Theoretically Grounded
    Application of Dropout in Recurrent Neural Networks, 2016): it depends neither on padding nor on other heads.

    Args:
        values: of a batch; under `vmap` over J heads, of J batches.
        share: the share that is dropped, above 0 and below 1.
        generators: of each head, one of J; None for torch's global one.
    """
    mask = kept((len(values), values.shape[-1]), share, values, generators) / (1 - share)
    return values * mask.view(len(values), *[1] * (values.ndim - 2), -1)


def kept(shape: tuple[int, ...], share: float, like: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
    """Return a mask of this shape: 0 for a share of the places, else 1.

    Args:
        shape: of one head's mask.
        share: the share of zeros.
        like: a tensor of the mask's dtype and device; under `vmap` over J heads, one of theirs.
        generators: as for `dropped`.
    """
    mask: Tensor = _Kept.apply(like, shape, share, generators)
    return mask


class _Kept(torch.autograd.Function):
    """The mask of one head, or under `vmap` those of J heads, each drawn from its own generator."""

    @staticmethod
    def forward(
        like: Tensor, shape: tuple[int, ...], share: float, generators: Sequence[torch.Generator] | None
    ) -> Tensor:
        return _drawn(like, shape, share, generators[0] if generators else None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None, None]:
        return None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        like: Tensor,
        shape: tuple[int, ...],
        share: float,
        generators: Sequence[torch.Generator] | None,
    ) -> tuple[Tensor, int]:
        own: Sequence[torch.Generator | None] = generators or [None] * info.batch_size
        return torch.stack([_drawn(like, shape, share, generator) for generator in own]), 0


def _drawn(like: Tensor, shape: tuple[int, ...], share: float, generator: torch.Generator | None) -> Tensor:
    return like.new_empty(shape).bernoulli_(1 - share, generator=generator)
