"""The head `hsan`: words and then sentences attended with what the image shows as guide."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import HeadConfig
from ..extras import Extras
from ..head import Head, HeadOutput, Text, masked_softmax, mean_of, mlp
from ..layers.attention import AdditiveAttention


class HSANHead(Head):
    """HSAN (Xu, ISI 2017), inferred from one sentence of the ITIN paper: attention guided by a caption of the image.

        c = mean_i ReLU(W_r f_i + b_r + E_o[object_i] + E_a[attribute_i])
        h_t = the words after the GRU (eqs. 2-4)
        a_t = softmax(u^T tanh(W h_t + W_c c + b)) among the words of a sentence,      s_k = Σ_(t in k) a_t h_t
        b_k = softmax_k(u_s^T tanh(W_s s_k + W_sc c + b_s)),                             d = Σ_k b_k s_k
        y = softmax(W_f ReLU(W_m [d; c] + b_m) + b_f)

    c stands for the caption: the regions with the names of what they show. E_o and E_a begin at zero. An object or
    attribute that is not known adds nothing, nor do regions of a store without names; where the ends of sentences are
    not known, a text is one. Without `mask` the padding is a sentence of its own. Inferred: everything but this
    hierarchy and its guide.
    """

    takes_extras = True

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        d = config.d
        self.W_r = nn.Linear(config.region_dim, d)
        if config.objects:
            self.E_o = nn.Parameter(torch.zeros(config.objects, d))
        if config.attributes:
            self.E_a = nn.Parameter(torch.zeros(config.attributes, d))
        self.attend = AdditiveAttention(d, d, d, bias=True)  # W, b; W_c; u
        self.attend_s = AdditiveAttention(d, d, d, bias=True)  # W_s, b_s; W_sc; u_s
        self.W_m = mlp(2 * d, config.hidden)
        self.W_f = nn.Linear(config.hidden, config.classes)

    def join(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute the output; `words` is the product of a and the b of a word's sentence, `sentences` that b."""
        if regions is None or region_mask is None or text is None:
            raise ValueError("expected regions and text, got None for one of them")
        seen = self.W_r(regions)
        if self.config.objects:
            seen = seen + _named(self.E_o, None if extras is None else extras.objects, "objects")
        if self.config.attributes:
            seen = seen + _named(self.E_a, None if extras is None else extras.attributes, "attributes")
        c = mean_of(torch.relu(seen), region_mask)
        number = self._numbers(text, extras)
        within = (number[:, :, None] == number[:, None]) & text.mask[:, None] & text.mask[:, :, None]  # (B, n, n)
        A = masked_softmax(self.attend.scores(text.W, c)[:, None].expand(within.shape), within)
        first = text.mask & (number != torch.cat([number[:, :1] - 1, number[:, :-1]], 1))
        d, b = self.attend_s(A @ text.W, first, c)  # each sentence at its first word
        words, sentences = ((b[:, None] @ each).squeeze(1) for each in (A, within.to(b.dtype)))
        F = self.W_m(torch.cat([d, c], -1))
        return HeadOutput(self.W_f(self.drop(F)), fused=F, words=words, sentences=sentences)

    def _numbers(self, text: Text, extras: Extras | None) -> Tensor:
        """Return the number of each word's sentence (B, n), -1 beyond the text."""
        if not self.config.sentence_ends:
            return torch.zeros_like(text.mask, dtype=torch.int64)
        if extras is None or extras.sentences is None:
            raise ValueError("extras: expected the sentences of words, got None")
        missing = text.mask.shape[1] - extras.sentences.shape[1]
        return nn.functional.pad(extras.sentences, (0, missing), value=-1)


def _named(table: Tensor, ids: Tensor | None, kind: str) -> Tensor:
    """Return the vectors of ids (B, m, d), zero for those below 0."""
    if ids is None:
        raise ValueError(f"extras: expected the {kind} of regions, got None")
    return nn.functional.embedding(ids.clamp(min=0), table).masked_fill((ids < 0)[..., None], 0)
