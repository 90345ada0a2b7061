"""Ragged sequences to padded batches: values, masks, and what stands at padding."""

from __future__ import annotations

import pytest
import torch

from itin.itin_head.gru.batch import mask_of, pad


def test_mask() -> None:
    assert mask_of(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_pad() -> None:
    padded, mask = pad([torch.tensor([[1.0, 2.0]]), torch.zeros(0, 2), torch.tensor([[3.0, 4.0], [5.0, 6.0]])])
    assert padded.tolist() == [[[1, 2], [0, 0]], [[0, 0], [0, 0]], [[3, 4], [5, 6]]]
    assert mask.tolist() == [[True, False], [False, False], [True, True]]


def test_pad_refuses() -> None:
    with pytest.raises(ValueError, match="sequences: expected at least one, got none"):
        pad([])
    with pytest.raises(ValueError, match=r"sequences\[1\]: expected \(n, 2\), got \(3, 4\)"):
        pad([torch.zeros(1, 2), torch.zeros(3, 4)])
    with pytest.raises(ValueError, match=r"sequences\[0\]: expected \(n, 4\), got \(4,\)"):
        pad([torch.zeros(4)])
