"""The head `global-local`: the paper's future work, interaction at the global and the local level at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..head import HeadOutput, Text, masked_softmax, mlp
from ..itin import ITINHead, gated


class GlobalLocalHead(ITINHead):
    """ITIN, and beside it the visual context V with the words, the text's S with the regions.

    A pair whose text does not describe the regions ("finally weekend", over a beach) still interacts through V, and one
    whose words are of little help one by one through S. Each global side is treated as eqs. 1 and 5-11 treat a region:

        v = W_v V + b_v                              v in R^d
        u_v = softmax((Ŵ_v v)(Ŵ_t W)^T / sqrt(k)) W      over the words; Ŵ_t is that of eq. 5
        u_s = softmax((Ŵ_s S)(Ŵ_r R)^T / sqrt(k)) R      over the regions; Ŵ_r is that of eq. 5
        G_v = ReLU(W_ov g_v [v, u_v] + b_ov) + v,    g_v = sigmoid(v · u_v)
        G_s = ReLU(W_os g_s [S, u_s] + b_os) + S,    g_s = sigmoid(S · u_s)
        F1 = MLP(V ⊕ C ⊕ G_v),   F2 = MLP(S ⊕ C ⊕ G_s),   F = λ F1 + (1 - λ) F2

    C is ITIN's, eqs. 5-13. `gate` is read as in eq. 8.
    """

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d, k, V = config.d, config.k, config.context_dim
        self.W_v = nn.Linear(V, d)
        self.W_hat_v = nn.Linear(d, k, bias=False)
        self.W_hat_s = nn.Linear(d, k, bias=False)
        self.W_ov = nn.Linear(2 * d, d, bias=config.fusion_bias)
        self.W_os = nn.Linear(2 * d, d, bias=config.fusion_bias)
        self.mlp_v = mlp(V + 2 * d, config.hidden)
        self.mlp_s = mlp(3 * d, config.hidden)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output; alignment, gate and attention are those of the local level."""
        if regions is None or region_mask is None or text is None or context is None:
            raise ValueError("expected regions, text and context, got None for one of them")
        W, S, token_mask = text
        alignment, gate, attention, C = self.interact(regions, region_mask, W, token_mask)
        v = self.W_v(context)  # (B, d)
        _, G_v = gated(v, self.attend(self.W_hat_v(v), W, token_mask, self.W_hat_t), self.config.gate, self.W_ov)
        R = self.W_r(regions)  # eq. 1, (B, m, d)
        _, G_s = gated(S, self.attend(self.W_hat_s(S), R, region_mask, self.W_hat_r), self.config.gate, self.W_os)
        F1 = self.mlp_v(torch.cat([context, C, G_v], -1))
        F2 = self.mlp_s(torch.cat([S, C, G_s], -1))
        F = self.lam * F1 + (1 - self.lam) * F2
        return HeadOutput(self.W_f(self.drop(F)), alignment, gate, attention, F)

    def attend(self, query: Tensor, values: Tensor, mask: Tensor, key: nn.Linear) -> Tensor:
        """Return the mean (B, d) of values (B, n, d), weighted by a query (B, k) as in eqs. 5-7."""
        scores = (query @ key.weight)[:, None, :] @ values.mT / math.sqrt(self.config.k)  # (B, 1, n)
        return (masked_softmax(scores, mask[:, None, :]) @ values).squeeze(1)
