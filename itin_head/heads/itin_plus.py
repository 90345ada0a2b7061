"""The head `itin-plus`: ITIN's alignment and gates as a further branch of `pooled`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..extras import Extras
from ..head import HeadOutput, Inputs, Text, mean_of, mlp
from ..itin import Interaction
from .pooled import PooledHead


class ItinPlusHead(PooledHead, Interaction):
    """F = MLP_t(t) ⊕ MLP_v(v) (⊕ MLP_p(p)) ⊕ MLP_a(a), y = softmax(W_f F + b_f).

    t, v, p and the standardised words x̂ are those of `pooled`. Regions are standardised alike, f̂ = (f - μ_r) / σ_r, by
    means and standard deviations over the training part's images, of their mean regions. Without a GRU

        w_j = W_w x̂_j + b_w,  r_i = W_r f̂_i + b_r       w and r in R^k
        a = C of eqs. 5-13, for d = k

    by ITIN's own alignment, gates and pooling of regions, with their readings and the ablations no-align and no-gate.
    An image without regions has a = 0. Dropout is that of `pooled`, and of x̂ and f̂, one mask for all words of a pair
    and one for all its regions. The columns of W_f for MLP_a begin at zero, so that training begins with `pooled`.
    """

    regions_mean: Tensor
    regions_sd: Tensor

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.register_buffer("regions_mean", torch.zeros(config.region_dim))
        self.register_buffer("regions_sd", torch.ones(config.region_dim))
        pooled = self.W_f
        self.W_w = nn.Linear(config.token_dim, config.k)
        self._make_interaction(config.k)
        self.mlp_a = mlp(config.k, config.hidden)
        self.W_f = nn.Linear(pooled.in_features + config.hidden, config.classes)
        with torch.no_grad():
            self.W_f.weight.zero_()[:, : pooled.in_features] = pooled.weight
            self.W_f.bias.copy_(pooled.bias)

    def measured(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the vectors of `pooled`, and the mean regions of images that have any."""
        regions, mask = batch[0], batch[4]
        if regions is None:
            raise ValueError("expected regions, got None")
        if mask is None:
            mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        return super().measured(batch) | {"regions": mean_of(regions, mask)[mask.any(-1)]}

    def join(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the output; alignment, gate and attention are those of ITIN."""
        if regions is None or region_mask is None or text is None:
            raise ValueError("expected regions and text, got None for one of them")
        parts, weights = self.pool(text, context, extras)
        w = self.W_w(self.drop((text.W - self.text_mean) / self.text_sd))  # (B, n, k)
        f = self.drop((regions - self.regions_mean) / self.regions_sd)
        alignment, gate, attention, a = self.interact(f, region_mask, w, text.mask)
        F = torch.cat([*parts, self.mlp_a(a)], -1)
        return HeadOutput(self.W_f(self.drop(F)), alignment, gate, attention, F, weights)
