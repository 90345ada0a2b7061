"""The image-text interaction network on cached features.

Zhu et al.: Multimodal Sentiment Analysis With Image-Text Interaction Network, IEEE Transactions on Multimedia 25
(2023), doi 10.1109/TMM.2022.3160060. Tensors have the paper's names; B is the batch, m regions, n words, d hidden, k
projection. Where the paper leaves something open, `HeadConfig` names the reading; eqs. 2-4 and 15 are `Head.read`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .config import HeadConfig
from .head import Head, HeadOutput, Text, masked_softmax, mlp


class Interaction(nn.Module):
    """Eqs. 1 and 5-13, for heads whose regions meet the words as in the paper."""

    config: HeadConfig

    def interact(
        self, f: Tensor, region_mask: Tensor, W: Tensor, token_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute eqs. 1 and 5-13: regions and words -> alignment (B, m, n), gate, attention (B, m) and C (B, d)."""
        config = self.config
        r = self.W_r(f)  # eq. 1, (B, m, d)
        if config.normalize:
            r = normalize(r, dim=-1, eps=1e-8)
        pairs = region_mask[..., None] & token_mask[:, None, :]  # (B, m, n)
        if config.ablation == "no-align":
            A_bar = pairs.to(W.dtype) / pairs.sum(-1, keepdim=True).clamp(min=1)
        else:
            # Eq. 5 with Ŵ_t taken to the side of the regions, of which there are far fewer than words.
            A = self.W_hat_r(r) @ self.W_hat_t.weight @ W.mT
            A_bar = masked_softmax(A / math.sqrt(config.k), pairs)  # eq. 6
        u = A_bar @ W  # eq. 7, (B, m, d)
        if config.self_attention:
            scores = self.W_query(u) @ self.W_key(u).mT / math.sqrt(config.k)
            u = masked_softmax(scores, region_mask[:, :, None] & region_mask[:, None, :]) @ u
        if config.normalize:
            u = normalize(u, dim=-1, eps=1e-8)

        g, z = gated(r, u, config.gate, self.W_o, config.ablation == "no-gate")  # eqs. 8-11

        scores = self.Tran_z(z).mT  # (B, heads, m)
        alpha = masked_softmax(scores, region_mask[:, None, :]).mean(1)  # eq. 12, (B, m)
        C = (alpha[:, None, :] @ z).squeeze(1)  # eq. 13, (B, d)
        if config.normalize:
            C = normalize(C, dim=-1, eps=1e-8)
        g = g.masked_fill(~region_mask[..., None], 0)
        return A_bar, g.squeeze(-1) if config.gate == "scalar" else g, alpha, C

    def _make_interaction(self, d: int) -> None:
        """Make the layers of eqs. 1 and 5-13 for words and regions of length d."""
        config, k = self.config, self.config.k
        self.W_r = nn.Linear(config.region_dim, d)  # eq. 1
        if config.ablation != "no-align":
            self.W_hat_r = nn.Linear(d, k, bias=False)  # eq. 5
            self.W_hat_t = nn.Linear(d, k, bias=False)  # eq. 5
        if config.self_attention:
            self.W_query = nn.Linear(d, k, bias=False)
            self.W_key = nn.Linear(d, k, bias=False)
        self.W_o = nn.Linear(2 * d, d, bias=config.fusion_bias)  # eq. 10
        self.Tran_z = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, config.pooling_heads))  # eq. 12


class ITINHead(Head, Interaction):
    """Eqs. 1-19. Submodules exist only where the ablation and the reading use them.

    An image without regions has C = 0, a text without words W, U and S = 0.
    """

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d = config.d
        V, S, C = config.context_dim, d, d  # lengths of what eqs. 16-17 join
        if config.ablation == "only-context":
            C = 0
        else:
            self._make_interaction(d)
        if config.ablation == "no-context":
            self.mlp_c = mlp(C, config.hidden)
        else:
            self.mlp_v = mlp(V + C, config.hidden)  # eq. 16
            self.mlp_s = mlp(S + C, config.hidden)  # eq. 17
        self.W_f = nn.Linear(config.hidden, config.classes)  # eq. 19

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute eqs. 1 and 5-19."""
        if text is None:
            raise ValueError("text: expected words, got None")
        W, S, token_mask = text
        if regions is None or region_mask is None:
            alignment, gate, attention, local = None, None, None, []
        else:
            alignment, gate, attention, C = self.interact(regions, region_mask, W, token_mask)
            local = [C]
        if context is None:
            F = self.mlp_c(torch.cat(local, -1))
        else:
            V = context  # eq. 14
            F1 = self.mlp_v(torch.cat([V, *local], -1))  # eq. 16
            F2 = self.mlp_s(torch.cat([S, *local], -1))  # eq. 17
            F = self.lam * F1 + (1 - self.lam) * F2  # eq. 18
        return HeadOutput(self.W_f(self.drop(F)), alignment, gate, attention, F)  # eq. 19


def gated(r: Tensor, u: Tensor, reading: str, W_o: nn.Linear, open_gate: bool = False) -> tuple[Tensor, Tensor]:
    """Compute eqs. 8-11: r and u (..., d) -> the gate, (..., 1) or (..., d), and z (..., d).

    Args:
        r: one side.
        u: what it is aligned with.
        reading: the reading of eq. 8, `scalar` or `vector`.
        W_o: the layer of eq. 10.
        open_gate: whether g = 1.
    """
    product = r * u
    if reading == "scalar":
        product = product.sum(-1, keepdim=True)  # (..., 1)
    g = torch.ones_like(product) if open_gate else torch.sigmoid(product)  # eq. 8
    gates = g if reading == "scalar" else torch.cat([g, g], -1)
    c = gates * torch.cat([r, u], -1)  # eq. 9, (..., 2d)
    o = torch.relu(W_o(c))  # eq. 10
    return g, o + r  # eq. 11
