"""Lower precisions of products: what they change, and what stays in float32."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.device import matmul_precision
from itin.itin_head import ITINHead
from itin.itin_head.side_by_side import SingleHead
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.loop import Fit, fit
from itin.train.protocols.split import Split
from itin.train.steps import ComputeOptions, predict

from ...features import results_of
from ...stacked import BASE, TABLE_2

pytestmark = pytest.mark.usefixtures("one_thread")


def test_precision_of_training_alone(features: Features, split: Split) -> None:
    """Products in bfloat16 change losses by 1% at most; what is kept is scored in float32, whatever trained it."""
    alone = fit(BASE, features, split, gru="packed")
    rows: list[dict[str, float]] = []
    plain, low = (
        fit(BASE, features, split, "cpu", rows.append, compute=ComputeOptions(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert rows == plain.history + low.history
    assert [one.precision for one in (alone, plain, low)] == ["float32", "float32", "bfloat16"]
    for want, one, other in zip(alone.history, plain.history, low.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert one[name] == pytest.approx(want[name], rel=1e-4)
            assert other[name] == pytest.approx(want[name], rel=1e-2)
    assert low.history[-1]["train_loss"] != plain.history[-1]["train_loss"]
    assert all(value.dtype == torch.float32 for value in low.state_dict.values())
    head = ITINHead(low.head)
    head.load_state_dict(low.state_dict)
    resident = ResidentFeatures(features, torch.device("cpu"), BASE.m)
    for part, own in low.probabilities.items():
        np.testing.assert_array_equal(
            own, predict(head, resident, split.rows(part), BASE.batch_for("my set"), low.targets)["label"]
        )


@pytest.mark.parametrize("changes", TABLE_2)
def test_every_head_trains_in_low_precision(changes: dict[str, Any], features: Features, split: Split) -> None:
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1)]
    plain, low = (
        results_of(configs, features, split, compute=ComputeOptions(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(plain, low, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            assert own["train_loss"] == pytest.approx(row["train_loss"], rel=2e-2)
    alone = fit(base, features, split, compute=ComputeOptions(precision="bfloat16"))
    assert alone.history[-1]["train_loss"] == pytest.approx(plain[0].history[-1]["train_loss"], rel=2e-2)


def test_precision_of_products(features: Features, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(self: SingleHead, *batch: Any) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return real(self, *batch)

    real = SingleHead.forward
    monkeypatch.setattr(SingleHead, "forward", look)
    during = []
    how = ComputeOptions(precision="tf32")
    fit(BASE, features, split, "cpu", lambda _: during.append(torch.get_float32_matmul_precision()), compute=how)
    assert set(seen) == {"high"}
    assert set(during) == {"highest"}
    before = torch.backends.cudnn.allow_tf32
    for tf32, name in ((True, "high"), (False, "highest")):
        with contextlib.suppress(KeyError), matmul_precision(tf32):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (name, tf32)
            raise KeyError
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", before)
    with pytest.raises(ValueError, match="precision: expected one of float32, tf32, bfloat16, got 'half'"):
        fit(BASE, features, split, compute=ComputeOptions(precision="half"))
    with pytest.raises(ValueError, match="mask: expected True with CUDA graphs"):
        results_of([replace(BASE, mask=False)], features, split, compute=ComputeOptions(graphs=True))
