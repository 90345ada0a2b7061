"""Eqs. 2-4 on packed batches: the bidirectional GRU of `torch.nn.GRU`'s parameters, with an implementation of our own.

`nn.GRU` adds to a gradient of W_hh (3 MB at d = 512) in every time step. Here the steps keep their gate gradients, and
each weight gradient is one matrix product over all steps in the end. Both directions run together, and so do J heads:
a leading axis G = 2 or 2J.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

from . import compiled
from .packing import Packing, Words

RECURRENCES = ("packed", "compiled", "fused", "torch")
"""Ways to compute the recurrence: here, here with the steps in C++ or with cells in Triton, or by `torch.nn.GRU`."""


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The parameters of a layer of `nn.GRU`; their names end in `_l0` and so on, of one direction in `BACKWARD` too."""

BACKWARD = "_reverse"

Directions = Sequence[Tensor] | Tensor
"""An array for each of G directions, together in one tensor or not."""

Layer = tuple[Directions, Directions, Directions, Directions]
"""W_ih (G, 3d, E), W_hh (G, 3d, d), b_ih and b_hh (G, 3d)."""


def weights(gru: nn.GRU, layer: int = 0) -> Layer:
    """Return the weights of a layer of a bidirectional GRU, G = 2."""
    names = [f"{name}_l{layer}" for name in PARAMETERS]
    W_ih, W_hh, b_ih, b_hh = ([getattr(gru, name), getattr(gru, name + BACKWARD)] for name in names)
    return W_ih, W_hh, b_ih, b_hh


def deep_bigru(
    words: Words,
    layers: Sequence[Layer],
    dropout: float = 0.0,
    recurrence: str = "packed",
    generators: Sequence[torch.Generator] | None = None,
) -> Tensor:
    """Compute eqs. 2-4 with one layer or more: packed words -> W (B, n, d) or (J, B, n, d), zero at padding.

    Args:
        words: of a batch, or of J batches side by side.
        layers: the weights of each; from the second on, E = 2d, the forward state before the backward one.
        dropout: between layers, on both states of a word.
        recurrence: as for `bigru`.
        generators: what each of the J batches draws dropout from; None for torch's global generator.
    """
    x, packing = words.x, words.packing
    for layer in layers[:-1]:
        h = _states(x, packing, *layer, recurrence).flatten(0, 1)
        both = torch.cat([h.index_select(0, packing.forward), h.index_select(0, packing.backward)], -1)  # (T, 2d)
        if dropout:
            both = both * _kept(both, dropout, words, generators)
        if packing.words is not None:
            both = both * packing.words
        # Each direction of the next layer reads a word's both states in its own order.
        x = both.new_zeros(len(h), both.shape[1])
        x = x.index_copy(0, packing.forward, both).index_copy(0, packing.backward, both)
        x = x.view(len(layer[0]), packing.rows, both.shape[1])
    return bigru(x, packing, *layers[-1], recurrence=recurrence)


def _kept(both: Tensor, dropout: float, words: Words, generators: Sequence[torch.Generator] | None) -> Tensor:
    """Return what dropout multiplies the states (T, 2d) of all words by; each batch draws for its own words."""
    batches = words.mask.view(-1, *words.mask.shape[-2:])  # (J, B, n)
    if words.packing.words is not None:  # all batches have as many places
        counts = [len(both) // len(batches)] * len(batches)
    else:
        counts = batches.sum((1, 2)).tolist()
    own: Sequence[torch.Generator | None] = generators or [None] * len(batches)
    noise = torch.empty_like(both)
    for part, generator in zip(torch.split(noise, counts), own, strict=True):
        part.bernoulli_(1 - dropout, generator=generator)
    return noise.div_(1 - dropout)


def bigru(
    x: Tensor,
    packing: Packing,
    W_ih: Directions,
    W_hh: Directions,
    b_ih: Directions,
    b_hh: Directions,
    recurrence: str = "packed",
) -> Tensor:
    """Compute eqs. 2-4: words -> W, zero at padding.

    Args:
        x: (G, P, E), packed words, G = 2 (as they are, and each text reversed) or 2J.
        packing: of these texts.
        W_ih: (G, 3d, E), rows of the reset gate, of the update gate and of the new state, as in `nn.GRU`.
        W_hh: (G, 3d, d).
        b_ih: (G, 3d).
        b_hh: (G, 3d).
        recurrence: one of `RECURRENCES` but `torch`; `compiled` needs what `compiled.load` builds, `fused` Triton.

    Returns:
        (B, n, d), or (J, B, n, d); of `fused` under autocast in its dtype.
    """
    h = _states(x, packing, W_ih, W_hh, b_ih, b_hh, recurrence)
    W: Tensor
    if recurrence == "fused":
        from .triton_mean import FusedMean

        kind = h.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else h.dtype
        W = FusedMean.apply(h, packing, low)  # eq. 4
    else:
        W = _Mean.apply(h, packing)  # eq. 4
    return W


def _states(
    x: Tensor, packing: Packing, W_ih: Directions, W_hh: Directions, b_ih: Directions, b_hh: Directions, recurrence: str
) -> Tensor:
    """Compute eqs. 2-3: words -> the states (G, P, d) of both directions."""
    h: Tensor
    if recurrence == "compiled":
        h = _CompiledStates.apply(x, packing.sizes, *W_ih, *W_hh, *b_ih, *b_hh)
        return h
    W_ih, W_hh, b_ih, b_hh = (
        one if isinstance(one, Tensor) else torch.stack(list(one)) for one in (W_ih, W_hh, b_ih, b_hh)
    )
    d = W_hh.shape[2]
    # Both biases of the gates are added at once; that of the new state stays apart, since it is multiplied by the gate.
    bias = b_ih + nn.functional.pad(b_hh[:, : 2 * d], (0, d))
    inputs = torch.baddbmm(bias[:, None], x, W_ih.mT)  # (G, P, 3d)
    if recurrence == "fused":
        from .triton_cell import FusedRecurrence

        h = FusedRecurrence.apply(inputs, W_hh, b_hh[:, 2 * d :], packing.sizes)
    else:
        # Under autocast the products come in bfloat16; the steps are taken in the dtype of the weights.
        h = _Recurrence.apply(inputs.to(W_hh.dtype), W_hh, b_hh[:, 2 * d :], packing.sizes)
    return h


def plain_bigru(gru: nn.GRU, words: Words) -> Tensor:
    """Compute eqs. 2-4 by `torch.nn.GRU` itself: packed words -> W (B, n, d), zero at padding."""
    packing = words.packing
    W = words.x.new_zeros(*packing.batch, packing.n, gru.hidden_size)
    if packing.rows:
        h, _ = gru(PackedSequence(words.x[0], torch.tensor(packing.sizes)))  # eqs. 2-3, (T, 2d)
        forward, backward = h.data.chunk(2, -1)
        W = W.flatten(0, 1).index_copy(0, packing.padded, (forward + backward) / 2).view_as(W)  # eq. 4
    return W


class _Recurrence(torch.autograd.Function):
    """The recurrence of a GRU over packed steps, G of them side by side."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, W_hh: Tensor, b_hn: Tensor, sizes: list[int]) -> Tensor:
        G, P, _ = inputs.shape
        d = W_hh.shape[2]
        W = W_hh.mT.contiguous()  # (G, d, 3d)
        gates = torch.empty_like(inputs)  # r, z and n of each step
        q, h = inputs.new_empty(2, G, P, d)  # W_hn h + b_hn, which r is multiplied by; the states
        most = max(sizes, default=0)
        s = inputs.new_empty(G * most * 3 * d)
        previous = inputs.new_zeros(G, most, d)
        end = 0
        for t, b in enumerate(sizes):
            step = slice(end, end := end + b)
            sum_ = s[: G * b * 3 * d].view(G, b, 3 * d)  # contiguous: else `bmm` is slow
            sum_ = torch.bmm(previous[:, :b], W, out=sum_) if t else sum_.zero_()
            rz = torch.add(inputs[:, step, : 2 * d], sum_[..., : 2 * d], out=gates[:, step, : 2 * d]).sigmoid_()
            q_t = torch.add(sum_[..., 2 * d :], b_hn[:, None], out=q[:, step])
            n = torch.addcmul(inputs[:, step, 2 * d :], rz[..., :d], q_t, out=gates[:, step, 2 * d :]).tanh_()
            torch.lerp(n, previous[:, :b], rz[..., d:], out=h[:, step])  # (1 - z) n + z h
            previous = h[:, step]
        ctx.save_for_backward(gates, q, h, W_hh)
        ctx.sizes = sizes
        return cast(Tensor, h)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        gates, q, h, W_hh = ctx.saved_tensors
        sizes: list[int] = ctx.sizes
        G, P, d = h.shape
        r, z, n = gates.split(d, -1)
        before = _before(h, sizes)
        # Each gate's gradient is that of the state times a factor known beforehand: (G, P, 3d).
        factor_n = (1 - z).mul_(1 - n * n)
        delta = torch.empty_like(gates)
        torch.mul(factor_n, r, out=delta[..., 2 * d :])
        torch.mul(delta[..., 2 * d :], q, out=delta[..., :d]).mul_(1 - r)
        torch.sub(before, n, out=delta[..., d : 2 * d]).mul_(z).mul_(1 - z)

        grad = grad.clone()
        carried = grad.new_empty(G * max(sizes, default=0) * d)
        end = P
        for t in range(len(sizes) - 1, -1, -1):
            b = sizes[t]
            step = slice(end := end - b, end + b)
            one = delta[:, step]
            one.view(-1, b, 3, d).mul_(grad[:, step, None])
            if t:
                carry = carried[: G * b * d].view(G, b, d)
                torch.mul(grad[:, step], z[:, step], out=carry).baddbmm_(one, W_hh)
                grad[:, end - sizes[t - 1] : end - sizes[t - 1] + b].add_(carry)
        grad_W = torch.bmm(delta.mT, before)  # (G, 3d, d)
        grad_b = delta[..., 2 * d :].sum(1)
        torch.mul(grad, factor_n, out=delta[..., 2 * d :])
        return delta, grad_W, grad_b, None


class _CompiledStates(torch.autograd.Function):
    """Eqs. 2-3 with the steps in C++: texts are distributed among threads, and each cell is one pass.

    The weights of each direction are read, and their gradients made, where they are: nothing is stacked.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int], *weights: Tensor) -> Tensor:
        G = len(x)
        W_ih, W_hh, b_ih, b_hh = (weights[i : i + G] for i in range(0, 4 * G, G))
        d = W_hh[0].shape[1]
        sums = []
        for g in range(G):
            bias = b_ih[g].clone()  # both biases at once, but for that which is multiplied by r
            bias[: 2 * d] += b_hh[g][: 2 * d]
            sums.append(torch.addmm(bias, x[g], W_ih[g].T).to(bias.dtype))  # under autocast in bfloat16
        done = compiled.forward(sums, W_hh, [one[2 * d :] for one in b_hh], sizes)
        ctx.save_for_backward(x, done.h, done.q, *done.gates, *W_ih, *W_hh)
        ctx.sizes = sizes
        return done.h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, h, q, *others = ctx.saved_tensors
        G, d = len(x), h.shape[2]
        gates, W_ih, W_hh = (others[i : i + G] for i in range(0, 3 * G, G))
        found = compiled.backward(grad, compiled.Forward(h, gates, q), W_hh, ctx.sizes)
        grad_x = torch.bmm(found.sums, torch.stack(W_ih)) if ctx.needs_input_grad[0] else None
        grad_W_ih = [found.sums[g].T @ x[g] for g in range(G)]
        grad_b_ih = [found.bias[g, : 3 * d].clone() for g in range(G)]
        grad_b_hh = [torch.cat([found.bias[g, : 2 * d], found.bias[g, 3 * d :]]) for g in range(G)]
        return grad_x, None, *grad_W_ih, *found.W_hh, *grad_b_ih, *grad_b_hh


def _before(h: Tensor, sizes: list[int]) -> Tensor:
    """Return the state (G, P, d) that each step began with."""
    before = torch.empty_like(h)
    end = 0
    for t, b in enumerate(sizes):
        before[:, end : end + b] = h[:, end - sizes[t - 1] : end - sizes[t - 1] + b] if t else 0
        end += b
    return before


class _Mean(torch.autograd.Function):
    """Eq. 4 and the unpacking into the padded form: (G, P, d) -> (B, n, d) or (J, B, n, d)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, packing: Packing) -> Tensor:
        ctx.packing, ctx.shape = packing, h.shape
        rows = h.flatten(0, 1)
        w = rows.index_select(0, packing.forward).add_(rows.index_select(0, packing.backward)).mul_(0.5)
        if packing.words is not None:
            w.mul_(packing.words)
        *J, B = packing.batch
        W = h.new_zeros(*J, B, packing.n, h.shape[2])
        W.view(-1, h.shape[2]).index_copy_(0, packing.padded, w)
        return W

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        packing: Packing = ctx.packing
        half = grad.flatten(0, -2).index_select(0, packing.padded).mul_(0.5)
        if packing.words is not None:
            half.mul_(packing.words)
        grad_h = grad.new_zeros(ctx.shape)  # places without a word stay zero
        rows = grad_h.flatten(0, 1)
        rows.index_copy_(0, packing.forward, half)
        rows.index_copy_(0, packing.backward, half)
        return grad_h, None
