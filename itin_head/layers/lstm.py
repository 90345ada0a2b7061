"""An LSTM over padded texts, by plain array operations: `nn.LSTM` cannot run under `vmap`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTM(nn.LSTM):
    """One layer of `nn.LSTM`, its parameters and its results, on a padded batch.

        [i; f; g; o] = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g),   h_t = sigmoid(o) tanh(c_t)

    Args:
        input_size: the length of a word's vector.
        hidden_size: the length of a state, in each direction.
        bidirectional: whether each text is read from its end too, by weights of their own.
    """

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Return the states (B, n, d), or (B, n, 2d) with the forward state first; zero at padding.

        Args:
            x: (B, n, input_size), zero at padding.
            mask: (B, n) bool, True at a word; words first.
        """
        B, n, _ = x.shape
        ways = ["", "_reverse"] if self.bidirectional else [""]
        if not n:
            return x.new_zeros(B, 0, len(ways) * self.hidden_size)
        # A text read from its end stays at the beginning of its row, so that no step needs the mask.
        step = torch.arange(n, device=x.device).expand(B, n)
        turned = torch.where(mask, mask.sum(-1, keepdim=True) - 1 - step, step)[..., None]
        inputs = torch.stack(
            [
                nn.functional.linear(
                    x.take_along_dim(turned, 1) if way else x,
                    getattr(self, f"weight_ih_l0{way}"),
                    getattr(self, f"bias_ih_l0{way}") + getattr(self, f"bias_hh_l0{way}"),
                )
                for way in ways
            ]
        )  # (G, B, n, 4d)
        W_hh = torch.stack([getattr(self, f"weight_hh_l0{way}") for way in ways]).mT
        h = c = inputs.new_zeros(len(ways), B, self.hidden_size)
        states = []
        for one in inputs.unbind(2):
            i, f, g, o = torch.baddbmm(one, h, W_hh).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        H = torch.stack(states, 2)  # (G, B, n, d)
        both = [H[way].take_along_dim(turned, 1) if way else H[way] for way in range(len(ways))]
        return torch.cat(both, -1).masked_fill(~mask[..., None], 0)
