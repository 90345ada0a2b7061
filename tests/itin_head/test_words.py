"""Words on their way through a head: the layers of the GRU, texts filled up, means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from itin.itin_head.gru.packing import Words, fill_up, pack_words
from itin.itin_head.gru.recurrence import deep_bigru, plain_bigru, weights
from itin.itin_head.head import mean_of

from ..head_cases import SAMPLES
from ..head_reference import batch_of, close


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_are_those_of_torch(layers: int) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(5, 4, layers, batch_first=True, bidirectional=True).double()
    _, tokens, mask, *_ = batch_of(SAMPLES, 7, 3)
    words = pack_words(tokens, mask)
    own = deep_bigru(words, [weights(gru, layer) for layer in range(layers)])
    plain = plain_bigru(gru, words)
    close(own, plain, 1e-12)
    mark = torch.randn(own.shape, dtype=torch.float64)
    gradients = []
    for out in (own, plain):
        gru.zero_grad()
        (out * mark).sum().backward()
        gradients.append([p.grad.clone() for p in gru.parameters()])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-12)


def test_filling_up() -> None:
    _, tokens, mask, *_ = batch_of(SAMPLES, 7, 3, rubbish=float("nan"))
    words = fill_up(pack_words(tokens, mask), 9)
    assert isinstance(words, Words)
    assert words.mask.shape == (5, 9)
    assert words.mask.all()
    rows = torch.zeros(45, 5, dtype=torch.float64)
    rows[words.packing.padded] = words.x.flatten(0, 1)[words.packing.forward]
    want = torch.zeros(5, 9, 5, dtype=torch.float64)
    want[:, :7] = tokens.masked_fill(~mask[..., None], 0)
    assert torch.equal(rows.view(5, 9, 5), want)
    with pytest.raises(ValueError, match="words: expected texts of at most 6 words, got one of 7"):
        fill_up(pack_words(tokens, mask), 6)
    assert fill_up(pack_words(tokens[:1], mask[:1]), 6).mask.shape == (1, 6)  # padding beyond it is no word


def test_mean_of_nothing_is_zero() -> None:
    values = torch.full((2, 3, 4), float("nan"))
    values[0, 0] = 2.0
    mask = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(mean_of(values, mask), torch.tensor([[2.0] * 4, [0.0] * 4]))
