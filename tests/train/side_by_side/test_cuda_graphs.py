"""Steps as CUDA graphs: their shapes, and that nothing of them asks for a value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from itin.itin_head import HEADS
from itin.itin_head.heads.pooled import PooledHead
from itin.train.cuda_graphs import GraphSteps, bucket_of, longest_by_rank
from itin.train.features import batches
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.loop import Fit
from itin.train.optimization.objective import Objective
from itin.train.protocols.split import Split
from itin.train.steps import ComputeOptions

from ...features import results_of
from ...stacked import BASE, TABLE_2

pytestmark = pytest.mark.usefixtures("one_thread")


def test_buckets() -> None:
    assert [bucket_of(n) for n in (0, 8, 9, 33, 104, 105, 128, 129)] == [8, 8, 16, 48, 104, 128, 128, 160]


def test_shapes_hold_every_batch_of_their_key() -> None:
    lengths = torch.tensor([3, 0, 7, 5, 9, 1, 1, 2])
    batches = [
        torch.tensor([[0, 1, 2], [5, 3, 6]]),
        torch.tensor([[4, 1, 5], [0, 6, 2]]),
        torch.tensor([[2, 3, 2]] * 2),
    ]
    most = longest_by_rank(batches, lengths)
    assert {key: ranked.tolist() for key, ranked in most.items()} == {(3, 8): [7, 7, 5], (3, 16): [9, 3, 1]}


@pytest.mark.parametrize("changes", [{}, {"head": "global-local", "clip": 0.5}, {"max_words": 3}, {"m": 0}, *TABLE_2])
def test_static_shapes_are_the_ragged_ones(changes: dict[str, Any], features: Features, split: Split) -> None:
    """What is captured on a GPU, taken on a CPU: the same losses as with ragged batches."""
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1, lam=0.7), replace(base, seed=2, m=min(1, base.m))]
    ragged, static = (results_of(configs, features, split, compute=ComputeOptions(graphs)) for graphs in (False, True))
    for one, other in zip(ragged, static, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            for name in ("train_loss", "val_loss", "train_accuracy"):
                assert own[name] == pytest.approx(row[name], rel=1e-4)


class OneDevice(TorchDispatchMode):
    """Fails where an operation reads or makes a tensor on another device than the one without values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, out)):
            if isinstance(value, Tensor) and value.ndim:
                assert value.device.type == "meta", func
        return out


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0.5},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"m": 0, "max_words": 3},
        {"gru_layers": 2},
        {"ema": 0.9, "optimizer": "rmsprop"},
        {"ensemble": 2},
        *({"head": head} for head, spec in HEADS.items() if not spec.solved),
    ],
)
def test_static_steps_ask_for_no_value(
    changes: dict[str, Any], features: Features, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph can hold no step that depends on a value or on the CPU: here the device has no values at all."""

    def take(self: GraphSteps, *arguments: Any) -> None:
        with OneDevice():
            real(self, *arguments)
        taken.append(arguments)

    taken: list[Any] = []
    real, plain = GraphSteps._take, Objective.__call__
    monkeypatch.setattr(GraphSteps, "_take", take)
    monkeypatch.setattr(PooledHead, "scale", lambda self, batches: None)  # before the steps, by values
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1)]

    def train() -> None:
        results_of(configs, features, split, "meta", compute=ComputeOptions(graphs=True))

    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # the sums of the first epoch
        train()
    assert len(taken) == 7
    for look, found in ((lambda y: y[y >= 0], "nonzero"), (lambda y: y.max().item(), "item"), (Tensor.cpu, "copy out")):
        monkeypatch.setattr(
            Objective, "__call__", lambda self, logits, y, look=look: (look(y[0]), plain(self, logits, y))[1]
        )
        with pytest.raises((NotImplementedError, RuntimeError), match=found):
            train()
        assert len(taken) == 7
    monkeypatch.setattr(Objective, "__call__", lambda self, *batch: plain(self, *batch) + torch.ones(2).to("meta"))
    with pytest.raises(AssertionError, match=r"_to_copy|ones"):
        train()


def test_training_on_features_that_a_device_cannot_hold_takes_ragged_steps(
    features: Features, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [BASE, replace(BASE, seed=1)]
    (ragged, _) = results_of(configs, features, split)
    monkeypatch.setattr(batches, "fits", lambda size, device: False)
    with pytest.warns(UserWarning, match="no CUDA graphs, slower: the device cannot hold the features"):
        (one, _) = results_of(configs, features, split, compute=ComputeOptions(graphs=True))
    assert isinstance(ragged, Fit)
    assert isinstance(one, Fit)
    assert [row["train_loss"] for row in one.history] == [row["train_loss"] for row in ragged.history]


def test_features_that_a_device_cannot_hold_take_no_static_steps(features: Features) -> None:
    resident = ResidentFeatures(features, torch.device("cpu"), 2)
    resident.held = False
    with pytest.raises(ValueError, match="resident: expected features on the device"):
        GraphSteps(resident, torch.nn.Identity(), torch.ones(1, 1, 2).bool(), lambda logits, labels: None, [])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_are_the_steps_without(features: Features, split: Split) -> None:
    configs = [BASE, replace(BASE, seed=1, lam=0.7), replace(BASE, seed=2, m=1)]
    plain, graphed = (
        results_of(configs, features, split, "cuda", compute=ComputeOptions(graphs)) for graphs in (False, True)
    )
    for one, other in zip(plain, graphed, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            assert own["train_loss"] == pytest.approx(row["train_loss"], rel=1e-3)
