"""The head `mvan`: text, objects and scene as views that read each other in several hops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..extras import Extras
from ..head import Head, HeadOutput, Text, mean_of, mlp
from ..layers.attention import AdditiveAttention
from ..layers.lstm import LSTM
from ..layers.scene import scene_of, scene_size


class MVANHead(Head):
    """MVAN (Yang et al., TMM 2020), inferred from its abstract and an implementation by others.

        H = BiLSTM(x),   O = W_o f + b_o,   S = W_s P + b_s
        M_t = mean H,   M_o = mean O,   M_s = S
        o* = Add_o(O; M_t),   s* = S                                            in each hop
        M_t <- GRUCell_t([Add_t(H; o*); Add_t(H; s*)], M_t)
        M_o <- GRUCell_o(o*, M_o),   M_s <- GRUCell_s(s*, M_s)
        F = ReLU(W_m [t; o; s; t*o; t*s; o*s; |t-o|; |t-s|; |o-s|] + b_m),   t, o, s the three M at the end
        y = softmax(W_f F + b_f)

    Add is additive attention with projections of length k (`layers.attention`). P is one vector (`layers.scene`), so
    that s* = Add(S; M_t) = S. The vectors of all views have length 2d, d for each direction of the LSTM; W_m has
    `hidden` rows (512). Inferred: all sizes, and this MLP in place of the original's stacking-pooling, which could not
    be found.
    """

    recurrent = False
    takes_extras = True

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        D = 2 * config.d
        self.hops = config.hops or 1
        self.lstm = LSTM(config.token_dim, config.d, bidirectional=True)
        self.W_o = nn.Linear(config.region_dim, D)
        self.W_s = nn.Linear(scene_size(config), D)
        self.add_o = AdditiveAttention(D, D, config.k)
        self.add_t = AdditiveAttention(D, D, config.k)
        self.cell_t = nn.GRUCell(2 * D, D)
        self.cell_o = nn.GRUCell(D, D)
        self.cell_s = nn.GRUCell(D, D)
        self.W_m = mlp(9 * D, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the output; `attention` is that of the last hop, and so is `words`, the mean over o* and s*."""
        if regions is None or region_mask is None or text is None:
            raise ValueError("expected regions and text, got None for one of them")
        H, O = self.lstm(text.W, text.mask), self.W_o(regions)  # noqa: E741
        S = self.W_s(scene_of(self.config, extras, regions, region_mask))
        t, o, s = mean_of(H, text.mask), mean_of(O, region_mask), S
        words = attention = None
        for _ in range(self.hops):
            seen, attention = self.add_o(O, region_mask, t)
            by_o, words_o = self.add_t(H, text.mask, seen)
            by_s, words_s = self.add_t(H, text.mask, S)
            words = (words_o + words_s) / 2
            t = gru_cell(self.cell_t, torch.cat([by_o, by_s], -1), t)
            o, s = gru_cell(self.cell_o, seen, o), gru_cell(self.cell_s, S, s)
        views = [t, o, s, t * o, t * s, o * s, (t - o).abs(), (t - s).abs(), (o - s).abs()]
        F = self.W_m(torch.cat(views, -1))
        return HeadOutput(self.W_f(self.drop(F)), attention=attention, fused=F, words=words)


def gru_cell(cell: nn.GRUCell, x: Tensor, h: Tensor) -> Tensor:
    """Return the next state (B, D), by operations that run under `vmap` on every device."""
    r, z, n = nn.functional.linear(x, cell.weight_ih, cell.bias_ih).chunk(3, -1)
    r_h, z_h, n_h = nn.functional.linear(h, cell.weight_hh, cell.bias_hh).chunk(3, -1)
    new, update = torch.tanh(n + torch.sigmoid(r + r_h) * n_h), torch.sigmoid(z + z_h)
    return (1 - update) * new + update * h  # not `lerp`, which takes one dtype alone
