"""What a head may know of a pair beside its features' vectors: lexicon values, a table of vectors that it learns, the
sentences of the words, the names of the regions and the vector of a second image encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding

from .config import HeadConfig
from .dropout import kept


class Extras(NamedTuple):
    """The extras of a batch of pairs; J is the first axis where J batches are side by side."""

    values: Tensor
    """(B, L) float32, the values of lexicons as they are; NaN where a lexicon does not know the text's language."""
    entries: Tensor
    """(B, 2, n) int64: the learned table's entry for each token, and for the pair of it and the next; -1 for none."""
    objects: Tensor | None = None
    """(B, m) int64, the region's object by its id; -1 for none. None where there are no names of regions."""
    attributes: Tensor | None = None
    """(B, m) int64, the region's attribute, likewise."""
    chances: Tensor | None = None
    """(B, m) float32, the probability of the object times that of the attribute, 0 where one is not known."""
    sentences: Tensor | None = None
    """(B, n) int64, the number of the sentence that a word stands in; -1 at padding. None where it is not known."""
    scene: Tensor | None = None
    """(B, scene_dim), P, of a second image encoder. None where the head reads none."""

    def each(self, take: Callable[[Tensor], Any]) -> Extras:
        """Return what `take` gives for each of those that are there."""
        taken: list[Any] = [None if one is None else take(one) for one in self]
        return Extras(*taken)


class ExtraLogits(nn.Module):
    """W_l l + W_e e, which is added to the logits of any head that reads text.

    l are the lexicon values, standardised over the training part; a value that is unknown there or constant is 0. e is
    the mean of the table's vectors for the text's tokens and pairs of neighbours, those that the table has; zero where
    it has none. W_l and the table begin at zero, so that training begins with the head alone.

    Args:
        config: of the head.
    """

    mean: Tensor
    scale: Tensor
    keys: Tensor

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.word_dropout, self.max_words = config.word_dropout, config.max_words
        self.lexicon_values, self.entries = config.lexicon_values, config.entries
        if config.lexicon_values:
            self.W_l = nn.Linear(config.lexicon_values, config.classes, bias=False)
            nn.init.zeros_(self.W_l.weight)
            self.register_buffer("mean", torch.zeros(config.lexicon_values))
            self.register_buffer("scale", torch.zeros(config.lexicon_values))
        if config.lexical:
            self.W_e = nn.Linear(config.lexical, config.classes, bias=False)
            self.table = nn.Parameter(torch.zeros(max(config.entries, 1), config.lexical))
            self.register_buffer("keys", torch.zeros(config.entries, dtype=torch.int64))

    def begin(self, values: Tensor, keys: Tensor | None) -> None:
        """Take what is needed from the training part.

        Args:
            values: (N, L), the lexicon values of its texts.
            keys: (entries,) int64, ascending: what the entries of the table stand for.
        """
        if self.lexicon_values:
            mean, scale = standard_of_known(values)
            self.mean.copy_(mean)
            self.scale.copy_(scale)
        if keys is not None:
            self.keys.copy_(keys)

    def known_keys(self) -> NDArray[np.int64] | None:
        """Return the keys of the table's entries, by which tokens are looked up; None without a table."""
        return self.keys.cpu().numpy() if hasattr(self, "W_e") else None

    def forward(self, extras: Extras, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """Return what is added to the logits, (B, classes).

        Args:
            extras: of the batch.
            generators: what dropout is drawn from, as for `dropout.dropped`.
        """
        parts: list[Tensor] = []
        if self.lexicon_values:
            scaled = (extras.values.to(self.mean.dtype) - self.mean) * self.scale
            parts.append(self.W_l(scaled.nan_to_num(0)))
        if hasattr(self, "W_e"):
            there = extras.entries >= 0  # (B, 2, n)
            if self.training and self.word_dropout:
                drawn = kept((len(there), self.max_words), self.word_dropout, self.table, generators)
                seen = drawn[:, : there.shape[2]] > 0  # (B, n), whatever n is in other batches
                pairs = seen & torch.cat([seen[:, 1:], seen[:, :1]], 1)  # the last token begins no pair
                there = there & torch.stack([seen, pairs], 1)
            weights = there.to(self.table.dtype) / there.sum((1, 2), keepdim=True).clamp(min=1)
            vectors = embedding(extras.entries.clamp(min=0), self.table)  # (B, 2, n, D)
            parts.append(self.W_e((weights[..., None] * vectors).sum((1, 2))))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def standard_of_known(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale (L,) float64 of values (N, L), NaN where one is unknown.

    The scale is one over the standard deviation, and 0 for a value that is constant or always unknown.
    """
    wide = values.double()
    known = ~wide.isnan()
    count = known.sum(0).clamp(min=1)
    mean = wide.nan_to_num(0).sum(0) / count
    sd = ((wide - mean).nan_to_num(0).square().sum(0) / count).sqrt()
    return mean, torch.where(sd > 1e-6 * mean.abs(), 1 / sd, 0)
