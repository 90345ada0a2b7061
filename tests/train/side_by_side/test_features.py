"""The features that heads side by side are given: of fewer regions, and shared by processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itin.itin_head.gru.packing import Words
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.shared import open_features, save_features


def test_narrow(features: Features) -> None:
    resident = ResidentFeatures(features, torch.device("cpu"), 3)
    rows = torch.arange(9)
    for one, other in zip(
        resident.narrow(2).batch(rows), ResidentFeatures(features, torch.device("cpu"), 2).batch(rows), strict=True
    ):
        if isinstance(one, Words):
            pairs = [(one.x, other.x), (one.mask, other.mask)]
        else:
            pairs = list(zip(one, other, strict=True)) if isinstance(one, tuple) else [(one, other)]
        assert one is other is None or all(torch.equal(a, b) for a, b in pairs)
    assert resident.m == 3
    with pytest.raises(ValueError, match="m: expected at most 3, got 4"):
        resident.narrow(4)


def test_shared_features_are_the_same(features: Features, tmp_path: Path) -> None:
    without = replace(features, regions=np.zeros((len(features), 0, 0), np.float16))
    for number, one in enumerate((features, without)):
        save_features(one, tmp_path / str(number))
        again = open_features(tmp_path / str(number))
        for name in ("labels", "regions", "counts", "tokens", "offsets", "context"):
            array = getattr(again, name)
            assert np.array_equal(array, getattr(one, name))
            assert array.dtype == getattr(one, name).dtype
            assert isinstance(array, np.memmap) or not array.size
        assert (again.ids, again.dataset, again.labelled) == (one.ids, one.dataset, one.labelled)
        before = (tmp_path / str(number) / "tokens.npy").read_bytes()
        ResidentFeatures(again, torch.device("cpu"), 0).tokens[0] = 7  # what somebody writes is theirs alone
        assert (tmp_path / str(number) / "tokens.npy").read_bytes() == before
