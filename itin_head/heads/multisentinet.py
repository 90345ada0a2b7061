"""The head `multisentinet`: words attended with the image's objects and scene as guides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..extras import Extras
from ..head import Head, HeadOutput, Text, mlp
from ..layers.attention import AdditiveAttention
from ..layers.lstm import LSTM
from ..layers.scene import scene_of, scene_size


class MultiSentiNetHead(Head):
    """MultiSentiNet (Xu & Mao, CIKM 2017), after the authors' code (https://github.com/xunan0812/MultiSentiNet).

        o = ReLU(W_o V + b_o),   s = ReLU(W_s P + b_s)
        h_t = LSTM(x)_t
        a_t = softmax_t(u^T tanh(W h_t + W'_o o + W'_s s + b)),   d = Σ_t a_t h_t
        y = softmax(W_f ReLU(W_m [s; o; d] + b_m) + b_f)

    V are features of objects, P of the scene (`layers.scene`); h, o and s have length d (128 in the original), W_m has
    `hidden` rows (128). In the code padding stands before the words and is read like them; here it is masked.
    The code also removes hashtags, user names and links from the text, which is left to the data set here.
    """

    recurrent = False
    takes_extras = True

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d = config.d
        self.lstm = LSTM(config.token_dim, d)
        self.W_o = mlp(config.context_dim, d)
        self.W_s = mlp(scene_size(config), d)
        self.attend = AdditiveAttention(d, 2 * d, d, bias=True)  # W, b; [W'_o, W'_s]; u
        self.W_m = mlp(3 * d, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the output; `words` is a."""
        if regions is None or region_mask is None or text is None or context is None:
            raise ValueError("expected regions, text and context, got None for one of them")
        o, s = self.W_o(context), self.W_s(scene_of(self.config, extras, regions, region_mask))
        d, a = self.attend(self.lstm(text.W, text.mask), text.mask, torch.cat([o, s], -1))
        F = self.W_m(torch.cat([s, o, d], -1))
        return HeadOutput(self.W_f(self.drop(F)), fused=F, words=a)
