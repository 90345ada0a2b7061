"""The head `dnn-lr`: a text network and an image network, and a logistic regression on what both say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..dropout import kept
from ..head import Head, HeadOutput, Text, mlp
from ..layers.text_cnn import TextCNN


class DNNLRHead(Head):
    """DNN-LR (Yu et al., Algorithms 2016), inferred from its abstract and introduction.

        z_T = W_T TextCNN(x) + b_T
        z_I = DropConnect(W_2) ReLU(W_1 V + b_1) + b_2
        y = softmax(W stopgrad[log softmax z_T; log softmax z_I] + b)

    z_T and z_I have the loss that y has, and the three are added; that of y teaches W and b alone. `layers.text_cnn` is
    the text's part, with `filters` maps of each window; W_1 has `hidden` rows; DropConnect drops each weight of W_2 by
    `dropout`, for each pair anew. V stands for the original's image network. Inferred: all sizes, and that the three
    are trained at once. A head of one output has no softmax: its z enter W as they are.
    """

    recurrent = False
    own_dropout = True

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.text_cnn = TextCNN(config.token_dim, config.filters)
        self.W_T = nn.Linear(self.text_cnn.length, config.classes)
        self.W_1 = mlp(config.context_dim, config.hidden)
        self.W_2 = nn.Linear(config.hidden, config.classes)
        self.W = nn.Linear(2 * config.classes, config.classes)

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output; `further` is z_T and z_I."""
        if text is None or context is None:
            raise ValueError("expected text and context, got None for one of them")
        z_T = self.W_T(self.text_cnn(text.W, text.mask))
        W_2 = self.W_2.weight.expand(context.shape[0], -1, -1)  # (B, classes, hidden)
        if self.training and self.config.dropout:
            share = self.config.dropout
            W_2 = W_2 * kept(tuple(W_2.shape), share, W_2, self.generators) / (1 - share)
        z_I = (W_2 @ self.W_1(context)[..., None]).squeeze(-1) + self.W_2.bias
        z = torch.stack([z_T, z_I], 1)
        said = (z.log_softmax(-1) if self.config.classes > 1 else z).flatten(1).detach()
        return HeadOutput(self.W(said), fused=said, further=z)
