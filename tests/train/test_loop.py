"""Training: it learns a planted task, the same seed gives the same numbers, and the kept epoch is the best one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from itin.errors import RunError
from itin.itin_head import ITINHead
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.loop import Fit, fit
from itin.train.metrics import score
from itin.train.protocols.split import Split, random_split
from itin.train.steps import predict

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TrainConfig(m=2, d=24, k=16, hidden=12, batch_size=32, epochs=10, lr=8e-3)
OBJECTS, MOODS = 4, 3


def planted(n: int = 260) -> Features:
    """Each picture has two objects, each in a mood; the text names one of them, and its mood is the label."""
    rng = np.random.default_rng(0)
    objects = np.array([rng.permutation(OBJECTS)[:2] for _ in range(n)])
    moods = rng.integers(MOODS, size=(n, 2))
    named = rng.integers(2, size=n)
    regions = np.concatenate([np.eye(OBJECTS)[objects], np.eye(MOODS)[moods]], -1) * 2
    lengths = rng.integers(1, 6, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.eye(OBJECTS + 3)[OBJECTS + rng.integers(3, size=offsets[-1])]  # filler words
    places = offsets[:-1] + rng.integers(lengths)
    tokens[places] = np.eye(OBJECTS + 3)[objects[np.arange(n), named]]
    return Features(
        ids=[f"{i:04}" for i in range(n)],
        labels=moods[np.arange(n), named].astype(np.int64),
        regions=regions.astype(np.float16),
        counts=np.full(n, 2),
        tokens=(2 * tokens).astype(np.float16),
        offsets=offsets.astype(np.int64),
        context=rng.normal(size=(n, 4)).astype(np.float16),
        dataset="planted",
        labelled=n,
    )


@pytest.fixture(scope="module")
def features() -> Features:
    return planted()


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


@pytest.fixture(scope="module")
def trained(features: Features, split: Split) -> Fit:
    return fit(SMALL, features, split)


def numbers(result: Fit) -> object:
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in result.history]
    return history, result.metrics, result.best_epoch, {part: p.tolist() for part, p in result.probabilities.items()}


def test_it_learns(trained: Fit) -> None:
    test = trained.metrics["test"]
    assert test["accuracy"] >= test["majority"]["accuracy"] + 0.3
    assert trained.history[-1]["train_loss"] < 0.5 * trained.history[0]["train_loss"]


def test_regions_are_what_it_learns_from(features: Features, split: Split, trained: Fit) -> None:
    blind = fit(replace(SMALL, ablation="only-context", epochs=4), features, split)
    assert blind.head.ablation == "only-context"
    assert trained.metrics["test"]["accuracy"] >= blind.metrics["test"]["accuracy"] + 0.25


def test_same_seed_same_numbers(features: Features, split: Split, trained: Fit) -> None:
    torch.rand(3)  # whatever the global generator did before
    again = fit(SMALL, features, split)
    assert numbers(again) == numbers(trained)
    assert all(torch.equal(again.state_dict[name], value) for name, value in trained.state_dict.items())


def test_seed_changes_weights_and_order_only(features: Features, split: Split, trained: Fit) -> None:
    other = fit(replace(SMALL, seed=1, epochs=1), features, split)
    assert other.history[0]["train_loss"] != trained.history[0]["train_loss"]
    same = fit(replace(SMALL, split_seed=1, epochs=1), features, split)  # the split is given: its seed means nothing
    assert same.history[0]["train_loss"] == trained.history[0]["train_loss"]


def test_global_generators_are_left_alone(features: Features, split: Split) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    fit(replace(SMALL, epochs=1), features, split)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_kept_epoch_is_the_best_on_validation(trained: Fit, features: Features, split: Split) -> None:
    best = max(trained.history, key=lambda row: (row["val_accuracy"], -row["val_loss"], -row["epoch"]))
    assert trained.best_epoch == best["epoch"]
    assert trained.metrics["val"]["accuracy"] == best["val_accuracy"]
    assert trained.metrics["val"]["loss"] == best["val_loss"]
    alone = fit(replace(SMALL, epochs=trained.best_epoch), features, split)  # stops there: the same weights
    assert all(torch.equal(alone.state_dict[name], value) for name, value in trained.state_dict.items())


def test_scores_are_those_of_the_probabilities(trained: Fit, features: Features, split: Split) -> None:
    head = ITINHead(trained.head)
    head.load_state_dict(trained.state_dict)
    resident = ResidentFeatures(features, torch.device("cpu"), 2)
    assert np.array_equal(
        predict(head, resident, split.test, 32, trained.targets)["label"], trained.probabilities["test"]
    )
    np.testing.assert_allclose(
        predict(head, resident, split.test, 7, trained.targets)["label"], trained.probabilities["test"], atol=1e-6
    )
    majority = np.bincount(features.labels[split.train]).argmax()
    assert trained.metrics["test"] == score(
        features.labels[split.test], trained.probabilities["test"], majority, features.classes
    )


def test_one_step_is_adams(features: Features, split: Split) -> None:
    """One batch, one epoch, against the optimiser's formula written out: L2 in the gradient, bias correction."""
    config = replace(SMALL, batch_size=1000, epochs=1, lr=1e-2, weight_decay=0.1)
    result = fit(config, features, split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = ITINHead(result.head)
    batch = ResidentFeatures(features, torch.device("cpu"), 2).batch(torch.from_numpy(split.train))
    logits = head(*batch.inputs).logits
    loss = -logits.log_softmax(1)[torch.arange(len(split.train)), batch.labels].mean()
    loss.backward()
    assert result.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in head.named_parameters():
        gradient = (parameter.grad + 0.1 * parameter).detach()
        want = parameter.detach() - 1e-2 * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-5  # where the gradient nearly vanishes, rounding decides its sign
        torch.testing.assert_close(result.state_dict[name][sure], want[sure], rtol=1e-4, atol=1e-5)


def test_history_and_recipe(features: Features, split: Split) -> None:
    seen: list[dict[str, float]] = []
    config = TrainConfig(m=1, d=4, k=4, hidden=4, epochs=3, lr_step=1, lr_gamma=0.5)
    result = fit(config, features, split, on_epoch=seen.append)
    assert seen == result.history
    assert [row["epoch"] for row in seen] == [1, 2, 3]
    assert [row["lr"] for row in seen] == [1e-3, 5e-4, 2.5e-4]
    assert list(seen[0]) == [
        "epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_weighted_f1", "seconds",
    ]  # fmt: skip
    assert result.config == replace(config, batch_size=64)
    multiple = replace(features, dataset="mvsa-multiple")
    assert fit(replace(config, epochs=1), multiple, split).config.batch_size == 128


def test_test_part_can_stay_closed(features: Features, split: Split) -> None:
    result = fit(replace(SMALL, epochs=1), features, split, evaluate=("val",))
    assert set(result.metrics) == set(result.probabilities) == {"val"}


@pytest.mark.parametrize("ablation", ["none", "no-align", "no-gate", "no-context", "only-context"])
@pytest.mark.parametrize("gate", ["scalar", "vector"])
def test_every_head_trains(features: Features, split: Split, ablation: str, gate: str) -> None:
    result = fit(replace(SMALL, ablation=ablation, gate=gate, epochs=2), features, split)
    assert result.history[1]["train_loss"] < result.history[0]["train_loss"]


def test_no_regions(split: Split, features: Features) -> None:
    without = replace(
        features, regions=np.zeros((len(features), 0, 0), np.float16), counts=np.zeros(len(features), int)
    )
    result = fit(replace(SMALL, m=0, epochs=1), without, split)
    assert result.head.ablation == "only-context"
    with_regions = fit(replace(SMALL, ablation="only-context", epochs=1), features, split)
    assert result.history[0]["train_loss"] == with_regions.history[0]["train_loss"]
    with pytest.raises(ValueError, match="features: expected at least m = 2 regions per image, got 0"):
        fit(SMALL, without, split)


def test_not_a_number_is_told(features: Features, split: Split) -> None:
    context = features.context.copy()
    context[split.train[5]] = np.nan
    with pytest.raises(
        RunError, match=r"training broke down in epoch 1 \(learning rate 0.008\)[\s\S]*training loss = nan"
    ):
        fit(SMALL, replace(features, context=context), split)
    context = features.context.copy()
    context[split.val[0]] = np.inf
    with pytest.raises(RunError, match="validation loss = nan"):
        fit(SMALL, replace(features, context=context), split)
    context = features.context.copy()
    context[split.test[0]] = np.nan
    with pytest.raises(RunError, match=r"training broke down \(epoch 1 was kept\)[\s\S]*test loss = nan"):
        fit(replace(SMALL, epochs=1), replace(features, context=context), split)
