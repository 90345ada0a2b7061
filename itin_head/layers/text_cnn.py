"""A convolution over the words of a text, and the largest value of each map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

WINDOWS = (3, 4, 5)
"""Words that a map sees at once."""


class TextCNN(nn.Module):
    """t = [max_i ReLU(Σ_j K_wj x_{i+j} + b_w)], j = 0 ... w - 1, for windows w of 3, 4 and 5 words (Kim, EMNLP 2014).

    Each word begins a window; zero vectors follow the last word. A text without words gives zeros.

    Args:
        size: the length of a word's vector.
        filters: maps of each window.
    """

    def __init__(self, size: int, filters: int) -> None:
        super().__init__()
        self.windows = nn.ModuleList(nn.Linear(w * size, filters) for w in WINDOWS)
        self.length = filters * len(WINDOWS)
        """The length of t."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return t (B, length); x is (B, n, size), zero at padding, and `mask` (B, n) bool."""
        wide = nn.functional.pad(x, (0, 0, 0, max(WINDOWS) - 1))
        n, maps = x.shape[1], []
        for w, K in zip(WINDOWS, cast(Iterable[nn.Linear], self.windows), strict=True):
            # Each word times each K_j first: the windows themselves would be w times as long as the words.
            products = (
                wide @ K.weight.view(K.out_features, w, -1).transpose(0, 1).flatten(0, 1).mT
            )  # (B, n + 4, w * filters)
            values: Tensor = K.bias
            for j, one in enumerate(products.chunk(w, -1)):
                values = values + one[:, j : j + n]
            values = values.relu().masked_fill(~mask[..., None], 0)
            maps.append(nn.functional.pad(values, (0, 0, 0, 1)).amax(1))  # 0 is the least that ReLU gives
        return torch.cat(maps, -1)
