"""The image-text interaction network on cached features.

Zhu et al.: Multimodal Sentiment Analysis With Image-Text Interaction Network, IEEE Transactions on Multimedia 25
(2023), doi 10.1109/TMM.2022.3160060. Tensors bear the paper's names; B is the batch, m regions, n words, d hidden, k
projection. Where the paper leaves something open, `HeadConfig` names the reading.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import HeadConfig
from .gru import RECURRENCES, bigru, plain_bigru, weights
from .packing import Words, pack_words


class HeadOutput(NamedTuple):
    """What the head computed. `alignment`, `gate` and `attention` are None for `only-context`; zero at padding."""

    logits: Tensor
    """(B, classes), W_f F + b_f of eq. 19; their softmax is y."""
    alignment: Tensor | None
    """(B, m, n), Ā of eq. 6: each region's weights over the words sum to 1; 1/n each for `no-align`."""
    gate: Tensor | None
    """(B, m) or, for gate `vector`, (B, m, d): g of eq. 8; 1 for `no-gate`."""
    attention: Tensor | None
    """(B, m), α_z of eq. 12: the regions' weights, which sum to 1."""
    fused: Tensor
    """(B, hidden), F of eq. 18."""


class ITINHead(nn.Module):
    """Eqs. 1-19. Submodules exist only where the ablation uses them.

    An image without regions has C = 0, a text without words W, U and S = 0. Padding takes part in nothing: neither its
    values (even NaN) nor its amount nor the order of the batch changes a sample's result or gradient.

    Args:
        config: sizes and readings.
        gru: how eqs. 2-4 are computed, one of `RECURRENCES`: the parameters and, but for rounding, the results are the
            same.
    """

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__()
        if gru not in RECURRENCES:
            raise ValueError(f"gru: expected one of {', '.join(RECURRENCES)}, got {gru!r}")
        self.config = config
        self.recurrence = gru
        d, k = config.d, config.k
        V, S, C = config.context_dim, d, d  # lengths of what eqs. 16-17 join
        self.gru = nn.GRU(config.token_dim, d, batch_first=True, bidirectional=True)  # eqs. 2-3
        if config.ablation == "only-context":
            C = 0
        else:
            self.W_r = nn.Linear(config.region_dim, d)  # eq. 1
            if config.ablation != "no-align":
                self.W_hat_r = nn.Linear(d, k, bias=False)  # eq. 5
                self.W_hat_t = nn.Linear(d, k, bias=False)  # eq. 5
            self.W_o = nn.Linear(2 * d, d)  # eq. 10
            self.Tran_z = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))  # eq. 12
        if config.ablation == "no-context":
            self.mlp_c = nn.Sequential(nn.Linear(C, config.hidden), nn.ReLU())
        else:
            self.mlp_v = nn.Sequential(nn.Linear(V + C, config.hidden), nn.ReLU())  # eq. 16
            self.mlp_s = nn.Sequential(nn.Linear(S + C, config.hidden), nn.ReLU())  # eq. 17
        self.W_f = nn.Linear(config.hidden, config.classes)  # eq. 19

    def forward(
        self,
        regions: Tensor | None,
        tokens: Tensor | Words,
        token_mask: Tensor | None,
        context: Tensor | None,
        region_mask: Tensor | None = None,
    ) -> HeadOutput:
        """Compute logits and what they were made from.

        Args:
            regions: (B, m, region_dim), f_i, by descending score; m may be 0. May be None for `only-context`.
            tokens: (B, n, token_dim), x_i, in the order of the text; n may be 0. Or packed words, without padding.
            token_mask: (B, n) bool, True at a word; words first, padding after them. None for packed words.
            context: (B, context_dim), V. May be None for `no-context`.
            region_mask: (B, m) bool, True at a region; None means that all are.

        Raises:
            ValueError: a shape or dtype is not the one named here, or padding stands before a word.
        """
        words = self._check(regions, tokens, token_mask, context, region_mask)
        W, token_mask = self.words(words), words.mask
        S = W.sum(1) / token_mask.sum(1, keepdim=True).clamp(min=1)  # eq. 15, (B, d)
        if regions is None or self.config.ablation == "only-context":
            alignment, gate, attention, local = None, None, None, []
        else:
            if region_mask is None:
                region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
            alignment, gate, attention, C = self.interact(regions, region_mask, W, token_mask)
            local = [C]
        if context is None or self.config.ablation == "no-context":
            F = self.mlp_c(torch.cat(local, -1))
        else:
            V = context  # eq. 14
            F1 = self.mlp_v(torch.cat([V, *local], -1))  # eq. 16
            F2 = self.mlp_s(torch.cat([S, *local], -1))  # eq. 17
            F = self.config.lam * F1 + (1 - self.config.lam) * F2  # eq. 18
        return HeadOutput(self.W_f(F), alignment, gate, attention, F)  # eq. 19

    def words(self, words: Words) -> Tensor:
        """Eqs. 2-4: packed words -> W (B, n, d), zero at padding."""
        if self.recurrence == "torch":
            return plain_bigru(self.gru, words)
        compiled = self.recurrence == "compiled" and torch.is_grad_enabled()  # figures never depend on a compiler
        return bigru(words.x, words.packing, *weights(self.gru), compiled=compiled)

    def interact(
        self, regions: Tensor, region_mask: Tensor, W: Tensor, token_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Eqs. 1 and 5-13: regions and words -> alignment (B, m, n), gate, attention (B, m) and C (B, d)."""
        f = regions.masked_fill(~region_mask[..., None], 0)
        r = self.W_r(f)  # eq. 1, (B, m, d)
        pairs = region_mask[..., None] & token_mask[:, None, :]  # (B, m, n)
        if self.config.ablation == "no-align":
            A_bar = pairs.to(W.dtype) / pairs.sum(-1, keepdim=True).clamp(min=1)
        else:
            # Eq. 5 with Ŵ_t taken to the side of the regions, of which there are far fewer than words.
            A = self.W_hat_r(r) @ self.W_hat_t.weight @ W.mT
            A_bar = masked_softmax(A / math.sqrt(self.config.k), pairs)  # eq. 6
        u = A_bar @ W  # eq. 7, (B, m, d)

        product = r * u
        if self.config.gate == "scalar":
            product = product.sum(-1, keepdim=True)  # (B, m, 1)
        g = torch.ones_like(product) if self.config.ablation == "no-gate" else torch.sigmoid(product)  # eq. 8
        gates = g if self.config.gate == "scalar" else torch.cat([g, g], -1)
        c = gates * torch.cat([r, u], -1)  # eq. 9, (B, m, 2d)
        o = torch.relu(self.W_o(c))  # eq. 10, (B, m, d)
        z = o + r  # eq. 11

        alpha = masked_softmax(self.Tran_z(z).squeeze(-1), region_mask)  # eq. 12, (B, m)
        C = (alpha[:, None, :] @ z).squeeze(1)  # eq. 13, (B, d)
        g = g.masked_fill(~region_mask[..., None], 0)
        return A_bar, g.squeeze(-1) if self.config.gate == "scalar" else g, alpha, C

    def _check(
        self,
        regions: Tensor | None,
        tokens: Tensor | Words,
        token_mask: Tensor | None,
        context: Tensor | None,
        region_mask: Tensor | None,
    ) -> Words:
        """Return the words, packed; ValueError, with what was expected and got, for a wrong shape, mask or dtype."""
        config = self.config
        if regions is None and config.ablation != "only-context":
            raise ValueError(f"regions: expected (B, m, {config.region_dim}), got None")
        if context is None and config.ablation != "no-context":
            raise ValueError(f"context: expected (B, {config.context_dim}), got None")
        if isinstance(tokens, Words):
            words = tokens
            if token_mask is not None:
                raise ValueError("token_mask: expected None beside packed words, got a tensor")
            expect("tokens.x", words.x, (2, words.packing.rows, config.token_dim))
        else:
            expect("tokens", tokens, ("B", "n", config.token_dim))
            if token_mask is None:
                raise ValueError(f"token_mask: expected {tuple(tokens.shape[:2])}, got None")
            expect("token_mask", token_mask, tuple(tokens.shape[:2]), torch.bool)
            check_words_first(token_mask)
            words = pack_words(tokens, token_mask)
        B = len(words.mask)
        if regions is not None:
            expect("regions", regions, (B, "m", config.region_dim))
        if region_mask is not None:
            expect("region_mask", region_mask, (B, "m" if regions is None else regions.shape[1]), torch.bool)
        if context is not None:
            expect("context", context, (B, config.context_dim))
        return words


def check_words_first(token_mask: Tensor) -> None:
    """Raise ValueError if padding stands before a word."""
    gap = token_mask[:, 1:] & ~token_mask[:, :-1]
    if gap.any():
        row = int(gap.any(1).nonzero()[0])
        raise ValueError(
            f"token_mask: expected words first and padding after them, got padding before a word in row {row}"
        )


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the places where `mask` is True; zero elsewhere, and where there is none at all.

    The smallest finite number instead of -inf keeps a row without any place free of NaN, forward and backward.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0)


def expect(name: str, tensor: Tensor, shape: tuple[int | str, ...], dtype: torch.dtype | None = None) -> None:
    """Raise ValueError unless `tensor` has this shape, where a string stands for any length, and dtype."""
    fits = tensor.ndim == len(shape) and all(
        isinstance(want, str) or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected ({', '.join(map(str, shape))}), got {tuple(tensor.shape)}")
    if dtype is not None and tensor.dtype != dtype:
        raise ValueError(f"{name}: expected {dtype}, got {tensor.dtype}")
