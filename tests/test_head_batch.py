"""Ragged sequences to padded batches: values, masks, and what stands at padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itin.itin_head.batch import gather, mask_of, pad


def test_mask() -> None:
    assert mask_of(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_gather_takes_rows_in_the_order_asked(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    lengths = [3, 0, 1, 5, 2]
    offsets = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]))
    values = torch.tensor(rng.normal(size=(sum(lengths), 4))).to(dtype)
    for rows in ([0], [3, 1, 0, 3], [1, 1], [4, 2, 1]):
        padded, mask = gather(values, offsets, torch.tensor(rows))
        longest = max(lengths[row] for row in rows)
        assert padded.shape == (len(rows), longest, 4)
        assert padded.dtype == dtype
        for b, row in enumerate(rows):
            own = values[offsets[row] : offsets[row + 1]]
            assert torch.equal(padded[b, : lengths[row]], own)
            assert not padded[b, lengths[row] :].any()
            assert mask[b].tolist() == [True] * lengths[row] + [False] * (longest - lengths[row])


def test_gather_of_nothing() -> None:
    padded, mask = gather(torch.zeros(0, 4), torch.zeros(3, dtype=torch.int64), torch.tensor([1, 0]))
    assert padded.shape == (2, 0, 4)
    assert mask.shape == (2, 0)
    padded, mask = gather(torch.ones(5, 4), torch.tensor([0, 2, 5]), torch.tensor([], dtype=torch.int64))
    assert padded.shape == (0, 0, 4)
    assert mask.shape == (0, 0)


def test_gather_leaves_the_packed_array_alone() -> None:
    values = torch.ones(3, 2)
    gather(values, torch.tensor([0, 1, 3]), torch.tensor([0, 1]))
    assert values.tolist() == [[1, 1]] * 3


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
