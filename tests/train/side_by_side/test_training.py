"""Training side by side: each head has the history, the weights and the errors that it has alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itin.errors import RunError
from itin.itin_head import ABLATIONS
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.loop import Fit, fit
from itin.train.presets import short_name
from itin.train.protocols.split import Split
from itin.train.steps import shape_of

from ...features import results_of
from ...stacked import BASE

pytestmark = pytest.mark.usefixtures("one_thread")


VARIED = [BASE, replace(BASE, seed=1), replace(BASE, m=3, lam=0.7), replace(BASE, m=1, lam=1.0)]
GROUPS = [
    VARIED,
    [replace(BASE, gate="vector"), replace(BASE, gate="vector", m=1)],
    *([replace(BASE, ablation=one), replace(BASE, ablation=one, seed=2)] for one in ABLATIONS[1:4]),
    [replace(BASE, m=0), replace(BASE, ablation="only-context", lam=1.0)],
]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: short_name(group[0]))
def test_training_side_by_side_is_training_alone(group: list[TrainConfig], features: Features, split: Split) -> None:
    """After 21 steps of Adam in float32: losses to 1e-4, weights to 1e-3 of their spread, the same epoch."""
    seen: list[tuple[int, dict[str, float]]] = []
    together = results_of(group, features, split, on_epoch=lambda j, row: seen.append((j, row)))
    same_epoch = 0
    for j, (config, result) in enumerate(zip(group, together, strict=True)):
        alone = fit(config, features, split, gru="packed")
        assert isinstance(result, Fit)
        assert [row for number, row in seen if number == j] == result.history
        assert (result.config, result.head, result.stacked) == (alone.config, alone.head, len(group))
        for one, other in zip(result.history, alone.history, strict=True):
            assert list(one) == list(other)
            for name in ("train_loss", "val_loss"):
                assert one[name] == pytest.approx(other[name], rel=1e-4)
        assert result.state_dict.keys() == alone.state_dict.keys()
        if result.best_epoch == alone.best_epoch:  # two epochs may be equal but for rounding
            same_epoch += 1
            for name, value in alone.state_dict.items():
                if name == "Tran_z.2.bias":  # a softmax does not see it: its gradient is rounding, its steps are chance
                    continue
                assert (result.state_dict[name] - value).abs().max() <= 1e-3 * value.abs().max(), name
            for part in ("val", "test"):
                np.testing.assert_allclose(result.probabilities[part], alone.probabilities[part], atol=1e-3)
    assert same_epoch >= len(group) // 2


def test_one_that_breaks_down_does_not_touch_the_others(features: Features, split: Split) -> None:
    regions, counts = features.regions.copy(), features.counts.copy()
    regions[split.train[3], 2], counts[split.train[3]] = np.nan, 3  # only a head of three regions sees it
    broken = replace(features, regions=regions, counts=counts)
    configs = [replace(BASE, m=3), BASE]
    one, other = results_of(configs, broken, split, evaluate=("val",))
    assert isinstance(one, RunError)
    assert str(one).startswith("training broke down in epoch 1 (learning rate 0.005)")
    assert isinstance(other, Fit)
    alone = fit(configs[1], broken, split, evaluate=("val",))
    assert other.history[-1]["train_loss"] == pytest.approx(alone.history[-1]["train_loss"], rel=1e-4)
    context = features.context.copy()
    context[split.test[0]] = np.nan
    (late,) = results_of([BASE], replace(features, context=context), split)
    assert isinstance(late, RunError)
    assert "test loss = nan" in str(late)


def test_only_equal_shapes_go_together(features: Features, split: Split) -> None:
    assert shape_of(BASE, "x") == shape_of(VARIED[2], "x")
    assert shape_of(replace(BASE, batch_size=None), "mvsa-multiple") == shape_of(
        replace(BASE, batch_size=128), "mvsa-multiple"
    )
    changes = {"d": 8, "gate": "vector", "ablation": "no-gate", "m": 0, "lr": 0.1, "split_seed": 1, "epochs": 1}
    for name, value in {**changes, "keep_special": True}.items():
        other = replace(BASE, **{name: value})  # type: ignore[arg-type]
        assert shape_of(BASE, "x") != shape_of(other, "x")
        with pytest.raises(ValueError, match="configs: expected configurations that differ only in m, lam, seed"):
            results_of([BASE, other], features, split)
