"""The head `hsan`: words attended with what the image shows as guide."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text, mean_of, mlp
from ..layers.attention import AdditiveAttention


class HSANHead(Head):
    """HSAN (Xu, ISI 2017), inferred from one sentence of the ITIN paper: attention guided by a caption of the image.

        c = mean_i ReLU(W_r f_i + b_r)
        h_t = the words after the GRU (eqs. 2-4)
        a = softmax_t(u^T tanh(W h_t + W_c c + b)),   d = Σ_t a_t h_t
        y = softmax(W_f ReLU(W_m [d; c] + b_m) + b_f)

    c stands for the caption, without the names of objects and attributes, which batches do not hold. The original
    attends to words within sentences and then to sentences; batches do not hold the ends of sentences either, so a text
    is one sentence, whose only weight is 1. Inferred: everything but this hierarchy and its guide.
    """

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d = config.d
        self.W_r = mlp(config.region_dim, d)
        self.attend = AdditiveAttention(d, d, d, bias=True)  # W, b; W_c; u
        self.W_m = mlp(2 * d, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output; `words` is a."""
        if regions is None or region_mask is None or text is None:
            raise ValueError("expected regions and text, got None for one of them")
        c = mean_of(self.W_r(regions), region_mask)
        d, a = self.attend(text.W, text.mask, c)
        F = self.W_m(torch.cat([d, c], -1))
        return HeadOutput(self.W_f(self.drop(F)), fused=F, words=a)
