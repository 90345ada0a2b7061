"""Eq. 4 and the unpacking into the padded form as one Triton kernel in either direction."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from .packing import Packing
from .triton_cell import block_of


@triton.jit  # type: ignore[untyped-decorator]
def _columns(words, i, d, SOME: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the columns of a block, which of them there are, and which are read: at a place without a word none."""
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < d
    return offsets, mask, (offsets < tl.where(tl.load(words + i) != 0, d, 0)) if SOME else mask


@triton.jit  # type: ignore[untyped-decorator]
def _mean(h, W, forward, backward, padded, words, d, SOME: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the mean of both states of a word, or zero at a place without one."""
    i = tl.program_id(0)
    offsets, mask, own = _columns(words, i, d, SOME, BLOCK)
    both = tl.load(h + tl.load(forward + i) * d + offsets, own, 0)
    both += tl.load(h + tl.load(backward + i) * d + offsets, own, 0)
    tl.store(W + tl.load(padded + i) * d + offsets, (0.5 * both).to(W.dtype.element_ty), mask)


@triton.jit  # type: ignore[untyped-decorator]
def _mean_back(grad, grad_h, forward, backward, padded, words, d, SOME: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the gradient of both states of a word, or zero at a place without one."""
    i = tl.program_id(0)
    offsets, mask, own = _columns(words, i, d, SOME, BLOCK)
    half = 0.5 * tl.load(grad + tl.load(padded + i) * d + offsets, own, 0).to(grad_h.dtype.element_ty)
    tl.store(grad_h + tl.load(forward + i) * d + offsets, half, mask)
    tl.store(grad_h + tl.load(backward + i) * d + offsets, half, mask)


class FusedMean(torch.autograd.Function):
    """Eq. 4 and the unpacking: states (G, P, d) -> (B, n, d) or (J, B, n, d) in `dtype`, as `recurrence._Mean`."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, packing: Packing, dtype: torch.dtype) -> Tensor:
        """Return W."""
        d, T = h.shape[2], len(packing.forward)
        ctx.packing, ctx.shape, ctx.dtype = packing, h.shape, h.dtype
        W = h.new_zeros(*packing.batch, packing.n, d, dtype=dtype)
        if T and d:
            _mean[_grid(T, d)](h.contiguous(), W, *_places(packing), d, packing.words is not None, block_of(d))
        return W

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the states."""
        packing: Packing = ctx.packing
        G, P, d = ctx.shape
        T = len(packing.forward)
        # Where words and places without one are listed, each row is written; else the others stay zero.
        made = torch.empty if packing.words is not None and 2 * T == G * P else torch.zeros
        grad_h = made(ctx.shape, dtype=ctx.dtype, device=grad.device)
        if T and d:
            _mean_back[_grid(T, d)](
                grad.contiguous(), grad_h, *_places(packing), d, packing.words is not None, block_of(d)
            )
        return grad_h, None, None


def _places(packing: Packing) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    return packing.forward, packing.backward, packing.padded, packing.words


def _grid(T: int, d: int) -> tuple[int, int]:
    return T, int(triton.cdiv(d, block_of(d)))
