"""J heads side by side: the same sizes, each with its own weights, λ, gate, ablation, samples and number of regions.

A GPU is almost idle with one head of this size, since its time goes into starting work; J heads are started at once.
Weights that an ablation leaves out are zeros in the stack and get no gradient, so that each head's result and gradient
are those that it has alone, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .config import HeadConfig
from .gru.packing import Words
from .gru.recurrence import PARAMETERS, bigru
from .head import Head, masked_softmax

_MAY_DIFFER = ("lam", "gate", "ablation")
_READING = (
    "head",
    "normalize",
    "self_attention",
    "fusion_bias",
    "pooling_heads",
    "gru_layers",
    "context_gru",
    "mask",
)
_GRU = tuple(f"gru.{name}_l0" for name in PARAMETERS)


class StackedHead(nn.Module):
    """Eqs. 1-19 for J heads at once; each parameter has a leading axis J.

    Args:
        heads: J heads on one device, whose configurations differ in `lam`, `gate` and `ablation` alone. Their weights
            are copied.
        recurrence: how eqs. 2-3 are computed, as for `gru.bigru`.

    Raises:
        ValueError: no head, or heads of different sizes.
    """

    def __init__(self, heads: Sequence[Head], recurrence: str = "packed") -> None:
        super().__init__()
        self.recurrence = recurrence
        if not heads:
            raise ValueError("heads: expected at least one, got none")
        self.configs: list[HeadConfig] = [head.config for head in heads]
        for name in (field.name for field in fields(HeadConfig) if field.name not in _MAY_DIFFER):
            if len(values := {getattr(config, name) for config in self.configs}) > 1:
                raise ValueError(f"heads: expected one {name}, got {', '.join(map(str, sorted(values)))}")
        if not can_mix_ablations(self.configs[0]):
            raise ValueError("heads: expected ITIN as in the equations, got another reading or head")
        states = [dict(head.named_parameters()) for head in heads]
        self.shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
        names = dict.fromkeys(name for state in states for name in state)
        stacked = {name: _stack([state.get(name) for state in states]) for name in names}
        for name in _GRU:  # (J, 2, ...), so that both directions of all heads are one view
            stacked[name] = torch.stack([stacked[name], stacked.pop(f"{name}_reverse")], 1)
        self.weights = nn.ParameterDict({_key(name): nn.Parameter(value) for name, value in stacked.items()})
        like = self.weights[_key("W_f.bias")]
        self.lam = torch.tensor([config.lam for config in self.configs], dtype=like.dtype, device=like.device)
        self._ablation = {
            name: torch.tensor([config.ablation == name for config in self.configs], device=like.device)
            for name in {config.ablation for config in self.configs}
        }
        self._vector = torch.tensor([config.gate == "vector" for config in self.configs], device=like.device)

    def forward(
        self, regions: Tensor | None, words: Words, context: Tensor, region_mask: Tensor | None = None
    ) -> Tensor:
        """Compute the logits (J, B, classes).

        Args:
            regions: (J, B, m, region_dim); None where all heads are `only-context`.
            words: of J batches.
            context: (J, B, context_dim).
            region_mask: (J, B, m) bool, True at a region that this head uses; None means that all are.

        Raises:
            ValueError: no regions where a head needs them.
        """
        W_ih, W_hh, b_ih, b_hh = (self._of(name).flatten(0, 1) for name in _GRU)  # (2J, ...)
        W = bigru(words.x, words.packing, W_ih, W_hh, b_ih, b_hh, self.recurrence)  # eqs. 2-4, (J, B, n, d)
        S = W.sum(2) / words.mask.sum(2, keepdim=True).clamp(min=1)  # eq. 15, (J, B, d)
        local: list[Tensor] = []
        if set(self._ablation) != {"only-context"}:
            if regions is None:
                raise ValueError("regions: expected (J, B, m, region_dim), got None")
            if region_mask is None:
                region_mask = torch.ones(regions.shape[:3], dtype=torch.bool, device=regions.device)
            C = self._interact(regions, region_mask, W, words.mask)
            local = [C.masked_fill(self._is("only-context", 3), 0) if "only-context" in self._ablation else C]
        if set(self._ablation) != {"no-context"}:
            joined = local if self._of("mlp_v.0.weight").shape[2] > context.shape[2] else []  # does a head join C?
            F1 = torch.relu(self._linear("mlp_v.0", torch.cat([context, *joined], -1)))  # eq. 16
            F2 = torch.relu(self._linear("mlp_s.0", torch.cat([S, *joined], -1)))  # eq. 17
            lam = self.lam[:, None, None]
            F = lam * F1 + (1 - lam) * F2  # eq. 18, (J, B, hidden)
        if "no-context" in self._ablation:
            alone = torch.relu(self._linear("mlp_c.0", local[0]))
            F = torch.where(self._is("no-context", 3), alone, F) if len(self._ablation) > 1 else alone
        return self._linear("W_f", F)  # eq. 19

    def state_of(self, j: int) -> dict[str, Tensor]:
        """Return the parameters of head j alone, as `ITINHead` names and shapes them."""
        state = {}
        for name, shape in self.shapes[j].items():
            if name.startswith("gru."):
                value = self._of(name.removesuffix("_reverse")).detach()[j, int(name.endswith("_reverse"))]
            else:
                value = self._of(name).detach()[j]
            state[name] = value[tuple(slice(size) for size in shape)].clone()
        return state

    def _interact(self, regions: Tensor, region_mask: Tensor, W: Tensor, token_mask: Tensor) -> Tensor:
        """Compute eqs. 1 and 5-13: regions (J, B, m, region_dim) and words (J, B, n, d) -> C (J, B, d)."""
        f = regions.masked_fill(~region_mask[..., None], 0)
        r = self._linear("W_r", f)  # eq. 1, (J, B, m, d)
        pairs = region_mask[..., None] & token_mask[:, :, None, :]  # (J, B, m, n)
        if "W_hat_r_weight" in self.weights:
            projected = self._linear("W_hat_r", r).flatten(1, 2) @ self._of("W_hat_t.weight")  # (J, B * m, d)
            A = projected.view_as(r) @ W.mT  # eq. 5
            A_bar = masked_softmax(A / math.sqrt(self.configs[0].k), pairs)  # eq. 6
        if "no-align" in self._ablation:
            mean = pairs.to(W.dtype) / pairs.sum(-1, keepdim=True).clamp(min=1)
            A_bar = torch.where(self._is("no-align", 4), mean, A_bar) if "W_hat_r_weight" in self.weights else mean
        u = A_bar @ W  # eq. 7, (J, B, m, d)
        product = r * u
        g = torch.sigmoid(torch.where(self._vector[:, None, None, None], product, product.sum(-1, keepdim=True)))
        if "no-gate" in self._ablation:
            g = g.masked_fill(self._is("no-gate", 4), 1)
        c = torch.cat([g * r, g * u], -1)  # eqs. 8-9, (J, B, m, 2d)
        z = torch.relu(self._linear("W_o", c)) + r  # eqs. 10-11
        scores = self._linear("Tran_z.2", torch.relu(self._linear("Tran_z.0", z)))
        alpha = masked_softmax(scores.squeeze(-1), region_mask)  # eq. 12, (J, B, m)
        return (alpha[..., None, :] @ z).squeeze(-2)  # eq. 13

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """Apply `nn.Linear` of each head: (J, ..., in) -> (J, ..., out)."""
        weight, rows = self._of(f"{name}.weight").mT, x.flatten(1, -2)
        bias = _key(f"{name}.bias")
        out = torch.baddbmm(self.weights[bias][:, None], rows, weight) if bias in self.weights else rows @ weight
        return out.view(*x.shape[:-1], -1)

    def _of(self, name: str) -> Tensor:
        weight: Tensor = self.weights[_key(name)]
        return weight

    def _is(self, ablation: str, axes: int) -> Tensor:
        return self._ablation[ablation].view(-1, *[1] * (axes - 1))


def can_mix_ablations(config: HeadConfig) -> bool:
    """Return whether gates and ablations may differ in a stack: the head is ITIN exactly as in the equations."""
    plain = HeadConfig()
    return all(getattr(config, name) == getattr(plain, name) for name in _READING)


def _key(name: str) -> str:
    return name.replace(".", "_")


def _stack(values: Sequence[Tensor | None]) -> Tensor:
    """Stack J arrays into one (J, ...), with zeros where a head has none or a smaller one."""
    there = [value.detach() for value in values if value is not None]
    shape = [max(sizes) for sizes in zip(*(value.shape for value in there), strict=True)]
    full = []
    for value in values:
        value = there[0].new_zeros(shape) if value is None else value.detach()
        missing = [want - have for want, have in zip(shape, value.shape, strict=True)]
        full.append(pad(value, [size for most in reversed(missing) for size in (0, most)]))
    return torch.stack(full)
