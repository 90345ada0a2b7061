"""Shared layers against torch's own, and how heads that read words in their own way are given them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from itin.itin_head.config import HeadConfig
from itin.itin_head.gru.packing import pack_words, padded
from itin.itin_head.layers.lstm import LSTM
from itin.itin_head.layers.scene import scene_of

from ..head_reference import batch_of, close, samples_of

SAMPLES = samples_of([4, 1, 7, 3], [2, 0, 1, 3])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_is_that_of_torch(bidirectional: bool) -> None:
    torch.manual_seed(0)
    own = LSTM(5, 4, bidirectional).double()
    plain = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=bidirectional).double()
    plain.load_state_dict(own.state_dict())
    _, tokens, mask, *_ = batch_of(SAMPLES, 9, 3)
    x = tokens.masked_fill(~mask[..., None], 0)
    packed = pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
    want, _ = pad_packed_sequence(plain(packed)[0], batch_first=True, total_length=9)
    got = own(x, mask)
    close(got, want, 1e-12)
    mark = torch.randn(want.shape, dtype=torch.float64)
    (got * mark).sum().backward()
    (want * mark).sum().backward()
    for one, other in zip(own.parameters(), plain.parameters(), strict=True):
        close(one.grad, other.grad, 1e-12)
    assert own(x[:, :0], mask[:, :0]).shape == (4, 0, 8 if bidirectional else 4)


def test_words_come_back_in_their_places() -> None:
    _, tokens, mask, *_ = batch_of(SAMPLES, 9, 3, rubbish=float("nan"))
    there = tokens.masked_fill(~mask[..., None], 0)
    assert torch.equal(padded(pack_words(tokens, mask)), there)
    both, masks = torch.stack([tokens, tokens.flip(0)]), torch.stack([mask, mask.flip(0)])
    assert torch.equal(padded(pack_words(both, masks)), torch.stack([there, there.flip(0)]))


def test_the_scene_is_the_mean_region() -> None:
    regions, *_, mask = batch_of(SAMPLES, 7, 4, rubbish=float("nan"))
    scene = scene_of(HeadConfig(region_dim=7), None, regions, mask)
    for b, (f, _, _) in enumerate(SAMPLES):
        close(scene[b], f.mean(0) if len(f) else torch.zeros(7, dtype=torch.float64))
