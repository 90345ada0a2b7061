"""Additive attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..head import masked_softmax


class AdditiveAttention(nn.Module):
    """Add(K; q) = Σ_j a_j K_j,   a = softmax_j(v^T tanh(W_k K_j + W_q q)); with `bias`, + b within tanh.

    Args:
        keys: the length of K_j.
        query: the length of q.
        size: the length of both projections.
        bias: whether there is b.
    """

    def __init__(self, keys: int, query: int, size: int, bias: bool = False) -> None:
        super().__init__()
        self.W_k = nn.Linear(keys, size, bias=bias)
        self.W_q = nn.Linear(query, size, bias=False)
        self.v = nn.Linear(size, 1, bias=False)

    def forward(self, K: Tensor, mask: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted mean (B, keys) and the weights a (B, n), both zero where `mask` has no True.

        Args:
            K: (B, n, keys), zero at padding.
            mask: (B, n) bool.
            q: (B, query).
        """
        a = masked_softmax(self.scores(K, q), mask)
        return (a[:, None] @ K).squeeze(1), a

    def scores(self, K: Tensor, q: Tensor) -> Tensor:
        """Return what the softmax is taken of, (B, n); the arguments are those of `forward`."""
        scores: Tensor = self.v(torch.tanh(self.W_k(K) + self.W_q(q)[:, None])).squeeze(-1)
        return scores
