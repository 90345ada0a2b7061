"""The losses of targets against loops: classes, ordered classes, numbers, and several at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from itin.targets import UNKNOWN
from itin.train.config import TrainConfig
from itin.train.features.batches import ABSENT
from itin.train.features.features import TargetColumn
from itin.train.optimization.objective import HUBER, Objective, number_loss

from ..several_targets import CPU, LEVEL, MOOD, SCORE

pytestmark = pytest.mark.usefixtures("one_thread")


def written_out(kind: str, predicted: Sequence[float], values: Sequence[float]) -> float:
    pairs = [(p, v) for p, v in zip(predicted, values, strict=True) if not np.isnan(v)]
    if not pairs:
        return 0.0
    if kind == "ccc":
        p, v = np.array(pairs).T
        spread = p.var() + v.var() + (p.mean() - v.mean()) ** 2
        return float(1 - 2 * np.mean((p - p.mean()) * (v - v.mean())) / spread)
    total = 0.0
    for p, v in pairs:
        away = abs(p - v)
        total += away**2 if kind == "mse" else (away**2 / 2 if away <= HUBER else HUBER * (away - HUBER / 2))
    return total / len(pairs)


@pytest.mark.parametrize("kind", ["mse", "huber", "ccc"])
def test_losses_of_numbers(kind: str) -> None:
    rng = np.random.default_rng(0)
    predicted, values = rng.normal(size=(2, 3, 7))
    values[0, 2:4] = np.nan
    values[2] = np.nan
    said = torch.tensor(predicted, requires_grad=True)
    loss = number_loss(kind, said, torch.tensor(values))
    want = [written_out(kind, *one) for one in zip(predicted, values, strict=True)]
    assert loss.tolist() == pytest.approx(want, rel=1e-10)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert said.grad is not None
    assert torch.isfinite(said.grad).all()
    assert not said.grad[2].any()
    assert not said.grad[0, 2:4].any()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_several_targets_add_up_by_their_weights(class_weights: str) -> None:
    config = TrainConfig(target="label+level+score", target_weights="1+0.5+2", class_weights=class_weights)
    columns = [
        TargetColumn(MOOD, np.array([0, 0, 1, 2, 2, UNKNOWN])),
        TargetColumn(LEVEL, np.array([0, 1, 1, UNKNOWN, 2, 2])),
        TargetColumn(SCORE, np.array([0.0, 5.0, np.nan, 1.0, 2.0, 3.0])),
    ]
    objective = Objective(config, columns, CPU)
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6)
    labels = torch.tensor([[0, 1, ABSENT, 2], [ABSENT] * 4])
    levels = torch.tensor([[2, ABSENT, 1, 0], [1, 1, 0, 2]])
    scores = torch.tensor([[0.3, float("nan"), -1.0, 1.0], [float("nan")] * 4])
    found = objective(logits, [labels, levels, scores])
    for j in range(2):
        total = 0.0
        for place, (values, weight) in enumerate(((labels, 1.0), (levels, 0.5))):
            shares = np.ones(3)
            if class_weights == "balanced":
                counts = np.bincount(columns[place].values[columns[place].known].astype(int), minlength=3)
                shares = counts.sum() / (3 * counts)
            entropy = share = 0.0
            for row in range(4):
                label = int(values[j, row])
                if label != ABSENT:
                    entropy -= shares[label] * float(chances(place, logits[j, row])[label])
                    share += shares[label]
            total += weight * entropy / share if share else 0.0
        total += 2.0 * written_out("mse", logits[j, :, 5].tolist(), scores[j].tolist())
        assert float(found[j]) == pytest.approx(total, rel=1e-5)
        alone = objective(logits[j : j + 1], [labels[j : j + 1], levels[j : j + 1], scores[j : j + 1]])
        assert float(alone[0]) == pytest.approx(total, rel=1e-5)


def chances(place: int, outputs: torch.Tensor) -> np.ndarray:
    """Logarithms of the chances of the classes of the first (softmax) or second target (cumulative links)."""
    if place == 0:
        own = outputs[:3].double().numpy()
        return np.asarray(own - np.log(np.exp(own).sum()))
    first, second = outputs[3:5].double().tolist()
    above = [1.0, 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-(first - np.log1p(np.exp(second))))), 0.0]
    return np.log([above[k] - above[k + 1] for k in range(3)])
