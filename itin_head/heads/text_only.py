"""The head `text-only`: the text without its image."""

from __future__ import annotations

from torch import Tensor, nn

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text, mlp


class TextOnlyHead(Head):
    """F = MLP(S), y = softmax(W_f F + b_f), S of eq. 15."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.mlp = mlp(config.d, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output from the text."""
        if text is None:
            raise ValueError("text: expected words, got None")
        F = self.mlp(text.S)
        return HeadOutput(self.W_f(self.drop(F)), fused=F)
