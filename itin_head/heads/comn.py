"""The head `comn`: words and image attend to each other in several hops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text, masked_softmax, mean_of


class CoMNHead(Head):
    """CoMN (Xu, Mao & Chen, SIGIR 2018), inferred from its abstract and the same authors' later memory network.

        M_t = the words after the GRU (eqs. 2-4),   M_v = tanh(W_v f + b_v)
        t_0 = mean M_t,   v_0 = mean M_v
        t_i = W_t t_{i-1} + Att_t(M_t; v_{i-1}),   v_i = W_x v_{i-1} + Att_v(M_v; t_{i-1}),   i = 1 ... hops
        Att(M; q) = P Σ_j softmax_j(tanh(w^T [W_k m_j; W_q q])) W_k m_j
        y = softmax(W_f [t; v] + b_f)

    All weights are shared by all hops. Inferred: both memories of length d, weights for words and image each of their
    own, the projections' length k (both 100 in the original's recipe), and both hops of a round from those before it.
    """

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d = config.d
        self.hops = config.hops or 1
        self.W_v = nn.Linear(config.region_dim, d)
        self.W_t = nn.Linear(d, d, bias=False)
        self.W_x = nn.Linear(d, d, bias=False)
        self.att_t = MemoryAttention(d, config.k)
        self.att_v = MemoryAttention(d, config.k)
        self.W_f = nn.Linear(2 * d, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output; `words` and `attention` are the weights of the last hop."""
        if regions is None or region_mask is None or text is None:
            raise ValueError("expected regions and text, got None for one of them")
        M_t, M_v = text.W, torch.tanh(self.W_v(regions))
        t, v = mean_of(M_t, text.mask), mean_of(M_v, region_mask)
        words = attention = None
        for _ in range(self.hops):
            read_t, words = self.att_t(M_t, text.mask, v)
            read_v, attention = self.att_v(M_v, region_mask, t)
            t, v = self.W_t(t) + read_t, self.W_x(v) + read_v
        F = torch.cat([t, v], -1)
        return HeadOutput(self.W_f(self.drop(F)), attention=attention, fused=F, words=words)


class MemoryAttention(nn.Module):
    """Att(M; q) = P Σ_j a_j W_k m_j,   a = softmax_j(tanh(w^T [W_k m_j; W_q q]))."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.W_k = nn.Linear(d, k, bias=False)
        self.W_q = nn.Linear(d, k, bias=False)
        self.w = nn.Linear(2 * k, 1, bias=False)
        self.P = nn.Linear(k, d, bias=False)

    def forward(self, M: Tensor, mask: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is read (B, d) and the weights a (B, n); M is (B, n, d), `mask` (B, n) bool, q (B, d)."""
        keys = self.W_k(M)  # (B, n, k)
        query = self.W_q(q)[:, None].expand_as(keys)
        a = masked_softmax(torch.tanh(self.w(torch.cat([keys, query], -1)).squeeze(-1)), mask)
        return self.P((a[:, None] @ keys).squeeze(1)), a
