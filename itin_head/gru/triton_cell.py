"""The recurrence of a GRU with each step's cell as one Triton kernel: on CUDA, two launches a step in either direction.

The formulas are those of `recurrence._Recurrence`. Matrix products run in the dtype of the inputs: under autocast to
bfloat16 the cell reads and writes the operands of products in bfloat16, but computes, and passes the states on, in
float32. Numbers that change from step to step are not specialized on: a kernel is compiled once for each d. Without a
GPU the kernels run in Triton's interpreter (TRITON_INTERPRET=1), as their tests do.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return 1 / (1 + tl.exp(-x))


@triton.jit(do_not_specialize=["P", "begin", "last", "b"])  # type: ignore[untyped-decorator]
def _cell(  # type: ignore[no-untyped-def]
    inputs, sums, bias, gates, q, h, h_product,
    P, begin, last, b, d,
    FIRST: tl.constexpr, LOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute one step of `b` texts, whose rows begin at `begin`; those of the previous step begin at `last`."""
    i, g = tl.program_id(0), tl.program_id(1)
    offsets = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < d
    row = (g * P + begin + i).to(tl.int64)
    dtype = h.dtype.element_ty
    r = tl.load(inputs + row * 3 * d + offsets, mask, 0).to(dtype)
    z = tl.load(inputs + row * 3 * d + d + offsets, mask, 0).to(dtype)
    n = tl.load(inputs + row * 3 * d + 2 * d + offsets, mask, 0).to(dtype)
    q_new = tl.load(bias + g * d + offsets, mask, 0).to(dtype)
    h_prev = tl.zeros_like(r)
    if not FIRST:
        sums_offsets = (g * b + i).to(tl.int64) * 3 * d + offsets
        r += tl.load(sums + sums_offsets, mask, 0).to(dtype)
        z += tl.load(sums + sums_offsets + d, mask, 0).to(dtype)
        q_new += tl.load(sums + sums_offsets + 2 * d, mask, 0).to(dtype)
        h_prev = tl.load(h + (g * P + last + i).to(tl.int64) * d + offsets, mask, 0)
    r = _sigmoid(r)
    z = _sigmoid(z)
    n = 2 * _sigmoid(2 * (n + r * q_new)) - 1  # tanh
    h_new = n + z * (h_prev - n)
    out_dtype = gates.dtype.element_ty
    tl.store(gates + row * 3 * d + offsets, r.to(out_dtype), mask)
    tl.store(gates + row * 3 * d + d + offsets, z.to(out_dtype), mask)
    tl.store(gates + row * 3 * d + 2 * d + offsets, n.to(out_dtype), mask)
    tl.store(q + row * d + offsets, q_new.to(out_dtype), mask)
    tl.store(h + row * d + offsets, h_new, mask)
    if LOW:
        tl.store(h_product + row * d + offsets, h_new.to(out_dtype), mask)


@triton.jit(do_not_specialize=["P", "begin", "last", "most", "later"])  # type: ignore[untyped-decorator]
def _cell_back(  # type: ignore[no-untyped-def]
    grad, gates, q, h, delta, grad_inputs, before_product, carry, flow,
    P, begin, last, most, later, d,
    FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of one step.

    `carry` (G, most, d) and `flow` (G, later, d) come from the `later` texts of the next step.
    """
    i, g = tl.program_id(0), tl.program_id(1)
    offsets = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < d
    row = (g * P + begin + i).to(tl.int64)
    dtype = h.dtype.element_ty
    grad_h = tl.load(grad + row * d + offsets, mask, 0)
    carry_mask = offsets < tl.where(i < later, d, 0)
    carry_ptrs = carry + (g * most + i).to(tl.int64) * d + offsets
    grad_h += tl.load(carry_ptrs, carry_mask, 0)
    grad_h += tl.load(flow + (g * later + i).to(tl.int64) * d + offsets, carry_mask, 0).to(dtype)
    r = tl.load(gates + row * 3 * d + offsets, mask, 0).to(dtype)
    z = tl.load(gates + row * 3 * d + d + offsets, mask, 0).to(dtype)
    n = tl.load(gates + row * 3 * d + 2 * d + offsets, mask, 0).to(dtype)
    h_prev = tl.zeros_like(grad_h)
    if not FIRST:
        h_prev = tl.load(h + (g * P + last + i).to(tl.int64) * d + offsets, mask, 0)
    grad_n = grad_h * (1 - z) * (1 - n * n)
    grad_r = grad_n * tl.load(q + row * d + offsets, mask, 0).to(dtype) * r * (1 - r)
    grad_z = grad_h * (h_prev - n) * z * (1 - z)
    out_dtype = delta.dtype.element_ty
    tl.store(delta + row * 3 * d + offsets, grad_r.to(out_dtype), mask)
    tl.store(delta + row * 3 * d + d + offsets, grad_z.to(out_dtype), mask)
    tl.store(delta + row * 3 * d + 2 * d + offsets, (grad_n * r).to(out_dtype), mask)
    tl.store(grad_inputs + row * 3 * d + offsets, grad_r.to(out_dtype), mask)
    tl.store(grad_inputs + row * 3 * d + d + offsets, grad_z.to(out_dtype), mask)
    tl.store(grad_inputs + row * 3 * d + 2 * d + offsets, grad_n.to(out_dtype), mask)
    tl.store(before_product + row * d + offsets, h_prev.to(out_dtype), mask)
    tl.store(carry_ptrs, grad_h * z, mask)


class FusedRecurrence(torch.autograd.Function):
    """The recurrence of a GRU over packed steps, G of them side by side; arguments as in `recurrence._Recurrence`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, W_hh: Tensor, b_hn: Tensor, sizes: list[int]) -> Tensor:
        """Return the states (G, P, d), in the dtype of `W_hh`."""
        G, P, _ = inputs.shape
        d = W_hh.shape[2]
        low = inputs.dtype != W_hh.dtype
        inputs, b_hn = inputs.contiguous(), b_hn.contiguous()
        W = W_hh.to(inputs.dtype)
        gates, q = torch.empty_like(inputs), inputs.new_empty(G, P, d)
        h = W_hh.new_empty(G, P, d)
        h_product = inputs.new_empty(G, P, d) if low else h
        begin = last = 0
        for t, b in enumerate(sizes):
            sums = torch.bmm(h_product[:, last : last + b], W.mT) if t else inputs  # not read in the first step
            _cell[_grid(b, G, d)](
                inputs,
                sums,
                b_hn,
                gates,
                q,
                h,
                h_product,
                P,
                begin,
                last,
                b,
                d,
                FIRST=t == 0,
                LOW=low,
                BLOCK=block_of(d),
            )
            begin, last = begin + b, begin
        ctx.save_for_backward(gates, q, h, W)
        ctx.sizes = sizes
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of the inputs, `W_hh` and `b_hn`."""
        gates, q, h, W = ctx.saved_tensors
        sizes: list[int] = ctx.sizes
        G, P, d = h.shape
        grad = grad.contiguous()
        delta, grad_inputs = torch.empty_like(gates), torch.empty_like(gates)
        before = gates.new_empty(G, P, d)
        most = max(sizes, default=0)
        carry = h.new_empty(G, most, d)
        flow, later, begin = gates, 0, P  # the last step receives nothing
        for t in range(len(sizes) - 1, -1, -1):
            b = sizes[t]
            begin -= b
            last = begin - sizes[t - 1] if t else 0
            _cell_back[_grid(b, G, d)](
                grad, gates, q, h, delta, grad_inputs, before, carry, flow,
                P, begin, last, most, later, d, FIRST=t == 0, BLOCK=block_of(d),
            )  # fmt: skip
            if t:
                flow, later = torch.bmm(delta[:, begin : begin + b], W), b
        grad_W = torch.bmm(delta.mT, before).to(h.dtype)  # (G, 3d, d)
        grad_b = delta[..., 2 * d :].sum(1, dtype=h.dtype)
        return grad_inputs, grad_W, grad_b, None


def block_of(d: int) -> int:
    """Return the number of columns, of d, that one program computes."""
    return int(min(1024, max(16, triton.next_power_of_2(d))))


def _grid(b: int, G: int, d: int) -> tuple[int, int, int]:
    return b, G, int(triton.cdiv(d, block_of(d)))
