"""The head `majority`: the class frequencies, or the mean of numbers, without any feature."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text


class MajorityHead(Head):
    """y = the frequencies of the classes in the training part, or the mean; there is nothing to learn beside them."""

    log_frequency: Tensor

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.register_buffer("log_frequency", torch.zeros(config.classes))

    def begin(self, prior: Tensor) -> None:
        """Keep the outputs of the training part's frequencies."""
        self.log_frequency.copy_(prior)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Return the same for each pair; only the length of the context is used."""
        if context is None:
            raise ValueError("context: expected (B, context_dim), got None")
        return HeadOutput(self.log_frequency.expand(context.shape[0], -1))
