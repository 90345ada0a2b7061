"""The head `image-only`: the image without its text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text, mean_of, mlp


class ImageOnlyHead(Head):
    """F = MLP(mean of f ⊕ V), y = softmax(W_f F + b_f)."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.mlp = mlp(config.region_dim + config.context_dim, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output from regions and context."""
        if regions is None or region_mask is None or context is None:
            raise ValueError("expected regions and context, got None for one of them")
        F = self.mlp(torch.cat([mean_of(regions, region_mask), context], -1))
        return HeadOutput(self.W_f(self.drop(F)), fused=F)
