"""The head `cnn-multi`: a convolution across a text's vector and an image's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..head import Head, HeadOutput, Text, mlp
from ..layers.text_cnn import TextCNN

WIDTH, POOL = 3, 2
"""Places that a map of the joint convolution sees, and neighbours of which the largest is kept."""


class CNNMultiHead(Head):
    """CNN-Multi (Cai & Xia, NLPCC 2015), inferred from its abstract.

        t = TextCNN(x),   v = ReLU(W_v V + b_v), as long as t
        c_i = ReLU(Σ_j K_j [t_{i+j}; v_{i+j}] + b),   j = 0 ... 2
        F = [max(c_1, c_2); max(c_3, c_4); ...]
        y = softmax(W_f dropout(F) + b_f)

    `layers.text_cnn` is the text's part, with `filters` maps of each window (100 in the original), as many as the joint
    convolution has. V stands for the original's image network. Inferred: the shape of the joint convolution, 2 x 3,
    and of its pooling.
    """

    recurrent = False
    own_dropout = True

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.text_cnn = TextCNN(config.token_dim, config.filters)
        length = self.text_cnn.length
        self.W_v = mlp(config.context_dim, length)
        self.joint = nn.Linear(2 * WIDTH, config.filters)  # K_0 ... K_2 and b: all t of a place, then all v
        self.W_f = nn.Linear((length - WIDTH + 1) // POOL * config.filters, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output from text and context."""
        if text is None or context is None:
            raise ValueError("expected text and context, got None for one of them")
        both = torch.stack([self.text_cnn(text.W, text.mask), self.W_v(context)], 1)  # (B, 2, length)
        count = both.shape[2] - WIDTH + 1
        seen = torch.stack([both[..., j : j + count] for j in range(WIDTH)], 2)  # (B, 2, 3, count)
        c = self.joint(seen.flatten(1, 2).mT).relu()[:, : count // POOL * POOL]  # (B, count, filters)
        F = c.unflatten(1, (-1, POOL)).amax(2).flatten(1)
        return HeadOutput(self.W_f(self.drop(F)), fused=F)
