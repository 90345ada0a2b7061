"""Loss, clipping, choice of the epoch, learning rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from itin.targets import Target
from itin.train.config import TrainConfig
from itin.train.features.features import TargetColumn
from itin.train.optimization.objective import EpochSelection, Objective, clip_side_by_side, selected_by

CPU = torch.device("cpu")
LABEL = Target(classes=("positive", "neutral", "negative"))
LABELS = np.array([0, 0, 0, 0, 1, 2, 2])


def plain_loss(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray, smoothing: float) -> float:
    """-Σ_i Σ_c q_ic w_c log p_ic / Σ_i w_{y_i}, q the smoothed label."""
    total = norm = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = np.full(3, smoothing / 3)
        q[label] += 1 - smoothing
        total -= float((q * weight * np.log(p)).sum())
        norm += weight[label]
    return total / norm


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss(class_weights: str, smoothing: float) -> None:
    config = TrainConfig(class_weights=class_weights, label_smoothing=smoothing)
    objective = Objective(config, [TargetColumn(LABEL, LABELS)], CPU)
    weight = np.ones(3)
    if class_weights == "balanced":
        weight = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
        assert weight.tolist() == pytest.approx([7 / 12, 7 / 3, 7 / 6])
    logits, labels = torch.randn(2, 5, 3), torch.tensor([[0, 1, 2, 2, 0], [1, 1, 1, 0, 2]])
    want = [plain_loss(logits[j].numpy(), labels[j].numpy(), weight, smoothing) for j in range(2)]
    alone = [objective(logits[j : j + 1], [labels[j : j + 1]]).tolist() for j in range(2)]
    assert alone == [pytest.approx([one], rel=1e-5) for one in want]
    assert objective(logits, [labels]).tolist() == pytest.approx(want, rel=1e-5)


def test_further_logits_have_the_same_loss() -> None:
    """Two further ones behind the outputs of two targets: three losses of each target are added."""
    number = TargetColumn(Target("mood", "number", (), (-1.0, 1.0)), np.linspace(-1, 1, len(LABELS)))
    objective = Objective(TrainConfig(target="label+mood"), [TargetColumn(LABEL, LABELS), number], CPU)
    parts, labels, moods = torch.randn(3, 2, 5, 4), torch.tensor([[0, 1, 2, 2, 0], [1, 1, 1, 0, 2]]), torch.rand(2, 5)
    got = objective(torch.cat(list(parts), -1), [labels, moods])
    for j in range(2):
        want = sum(
            plain_loss(part[j, :, :3].numpy(), labels[j].numpy(), np.ones(3), 0.0)
            + float(((part[j, :, 3].numpy() - moods[j].numpy()) ** 2).mean())
            for part in parts
        )
        assert float(got[j]) == pytest.approx(want, rel=1e-5)


def test_a_class_that_is_not_there_breaks_nothing() -> None:
    column = TargetColumn(LABEL, np.array([0, 0, 1]))
    objective = Objective(TrainConfig(class_weights="balanced"), [column], CPU)
    assert float(objective(torch.zeros(1, 2, 3), [torch.tensor([[0, 1]])])) == pytest.approx(np.log(3))


def test_clipping_side_by_side_is_that_of_each_alone() -> None:
    torch.manual_seed(0)
    gradients = [torch.randn(3, 4, 2), torch.randn(3, 5)]
    gradients[0][1] *= 1e-3
    gradients[1][1] *= 1e-3
    parameters = [nn.Parameter(torch.zeros_like(one)) for one in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    clip_side_by_side([*parameters, nn.Parameter(torch.zeros(3))], 0.5)
    for j in range(3):
        alone = [nn.Parameter(torch.zeros_like(one[j])) for one in gradients]
        for parameter, gradient in zip(alone, gradients, strict=True):
            parameter.grad = gradient[j].clone()
        nn.utils.clip_grad_norm_(alone, 0.5)
        for together, one in zip(parameters, alone, strict=True):
            torch.testing.assert_close(together.grad[j], one.grad)
    assert torch.equal(parameters[0].grad[1], gradients[0][1])  # small enough as it was


def test_selection() -> None:
    selection = EpochSelection("accuracy", patience=2)
    assert selection.better(1, {"accuracy": 0.5, "loss": 1.0})
    assert not selection.better(2, {"accuracy": 0.5, "loss": 1.0})  # the earlier epoch
    assert selection.better(3, {"accuracy": 0.5, "loss": 0.9})  # the lower loss
    assert not selection.ends(3)
    assert not selection.better(4, {"accuracy": 0.4, "loss": 0.1})
    assert not selection.ends(4)
    assert not selection.better(5, {"accuracy": 0.4, "loss": 0.1})
    assert selection.ends(5)
    assert selection.epoch == 3
    assert not EpochSelection("accuracy", None).ends(10**6)


def test_selection_by_other_scores() -> None:
    errors = EpochSelection("mae", None)
    assert [errors.better(1, {"mae": 0.5, "loss": 1}), errors.better(2, {"mae": 0.4, "loss": 2})] == [True, True]
    assert not errors.better(3, {"mae": 0.41, "loss": 0})
    undefined = EpochSelection("pearson", None)
    assert undefined.better(1, {"pearson": None, "loss": 1})  # better than no epoch at all
    assert undefined.better(2, {"pearson": -0.9, "loss": 9})
    assert not undefined.better(3, {"pearson": None, "loss": 0})
    losses = EpochSelection("loss", None)
    assert [losses.better(1, {"loss": 1.0}), losses.better(2, {"loss": 1.0}), losses.better(3, {"loss": 0.9})] == [
        True,
        False,
        True,
    ]
    assert selected_by("accuracy") == "validation accuracy, then lower validation loss, then the earlier epoch"
    assert selected_by("mae") == "lower validation MAE, then lower validation loss, then the earlier epoch"
    assert selected_by("loss") == "lower validation loss, then the earlier epoch"


def test_rates() -> None:
    paper = TrainConfig()
    assert [paper.lr_at(epoch) for epoch in (1, 10, 11, 21)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    assert paper.lr_at(10, 56, 57) == paper.lr_at(10)
    rising = TrainConfig(warmup=2, schedule="constant", epochs=4)
    assert [rising.lr_at(1, b, 4) for b in range(4)] == pytest.approx([1e-3 * (b + 1) / 8 for b in range(4)])
    assert [rising.lr_at(2, 3, 4), rising.lr_at(3), rising.lr_at(4)] == pytest.approx([1e-3] * 3)
    cosine = TrainConfig(schedule="cosine", epochs=4, warmup=2, lr=0.5)
    assert cosine.lr_at(3) == pytest.approx(0.5)
    assert cosine.lr_at(4) == pytest.approx(0.25)
    assert cosine.lr_at(4, 1, 2) == pytest.approx(0.25 * (1 + np.cos(0.75 * np.pi)))
    assert TrainConfig(schedule="cosine", epochs=2, warmup=2).lr_at(2, 1, 2) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "linear"}, "schedule: expected one of step, cosine, constant, got 'linear'"),
        ({"class_weights": "heavy"}, "class_weights: expected one of none, balanced, got 'heavy'"),
        ({"label_smoothing": 1}, "label_smoothing: expected a number from 0 to below 1, got 1"),
        ({"clip": 0}, "clip: expected a number above 0 or None, got 0"),
        ({"patience": 0}, "patience: expected an integer of at least 1 or None, got 0"),
        ({"warmup": 9, "epochs": 8}, "warmup: expected at most epochs = 8, got 9"),
        ({"center_crop": "yes"}, "center_crop: expected True or False, got 'yes'"),
        ({"head": "concat", "m": 0}, "m: expected an integer of at least 1 for the head concat, got 0"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)  # type: ignore[arg-type]
