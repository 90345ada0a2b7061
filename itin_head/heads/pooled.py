"""The head `pooled`: one vector of the words and one of the image, without a GRU; small, fast and hard to beat."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..extras import Extras
from ..gru.packing import Words
from ..head import Head, HeadOutput, Inputs, Text, masked_softmax, mlp, standard
from ..layers.scene import given_scene


class PooledHead(Head):
    """F = MLP_t(t) ⊕ MLP_v(v), y = softmax(W_f F + b_f), with dropout of t, v and F.

    x and V are standardised: x̂ = (x - μ_t) / σ_t, v = (V - μ_v) / σ_v, with means and standard deviations over the
    training part, of its texts' mean words and of V. t is the mean of x̂; for `attention` Σ α_j x̂_j, α = softmax(q x̂ᵀ /
    √token_dim), where q is learned from zero on, so that training begins with the mean. A text without words has t = 0.
    With `scene` F = MLP_t(t) ⊕ MLP_v(v) ⊕ MLP_p(p), p the scene's features, standardised and dropped as v is.
    """

    recurrent = False
    takes_extras = True
    own_dropout = True

    text_mean: Tensor
    text_sd: Tensor
    context_mean: Tensor
    context_sd: Tensor
    scene_mean: Tensor
    scene_sd: Tensor

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(replace(config, mask=True), gru)  # padding is never read
        sizes = {"text": config.token_dim, "context": config.context_dim}
        if config.reads_scene:
            sizes["scene"] = config.scene_dim
        for name, size in sizes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_sd", torch.ones(size))
        if config.pooling == "attention":
            self.q = nn.Parameter(torch.zeros(config.token_dim))
        self.mlp_t = mlp(config.token_dim, config.hidden)
        self.mlp_v = mlp(config.context_dim, config.hidden)
        if config.reads_scene:
            self.mlp_p = mlp(config.scene_dim, config.hidden)
        self.W_f = nn.Linear(len(sizes) * config.hidden, config.classes)

    def scale(self, batches: Iterable[Inputs]) -> None:
        """Measure μ and σ, those of a text over the texts that have words."""
        found: dict[str, list[Tensor]] = {}
        for batch in batches:
            for name, vectors in self.measured(batch).items():
                found.setdefault(name, []).append(vectors.cpu())
        for name, each in found.items():
            mean, sd = standard(torch.cat(each))
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_sd").copy_(sd)

    def measured(self, batch: Inputs) -> dict[str, Tensor]:
        """Return by name the vectors of a batch over which μ and σ are measured."""
        _, words, _, context, *_, extras = batch
        if not isinstance(words, Words) or context is None:
            raise ValueError("expected packed words and context, got others")
        text = self.read(words)
        found = {"text": text.S[text.mask.any(-1)], "context": context}
        return found | ({"scene": given_scene(self.config, extras)} if self.config.reads_scene else {})

    def join(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the output from words and context, and from the scene where it is read."""
        parts, weights = self.pool(text, context, extras)
        F = torch.cat(parts, -1)
        return HeadOutput(self.W_f(self.drop(F)), fused=F, words=weights)

    def pool(
        self, text: Text | None, context: Tensor | None, extras: Extras | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """Compute the parts of F, each (B, hidden), and the words' weights (B, n) where there are any."""
        if text is None or context is None:
            raise ValueError("expected text and context, got None for one of them")
        weights, t = None, text.S
        if self.config.pooling == "attention":  # a softmax does not see q · μ / σ, the same for each word
            weights = masked_softmax(text.W @ (self.q / self.text_sd) / math.sqrt(len(self.q)), text.mask)  # (B, n)
            t = (weights[..., None] * text.W).sum(-2)
        t = ((t - self.text_mean) / self.text_sd).masked_fill(~text.mask.any(-1, keepdim=True), 0)
        v = (context - self.context_mean) / self.context_sd
        parts = [self.mlp_t(self.drop(t)), self.mlp_v(self.drop(v))]
        if self.config.reads_scene:
            p = (given_scene(self.config, extras) - self.scene_mean) / self.scene_sd
            parts.append(self.mlp_p(self.drop(p)))
        return parts, weights
