"""Annotators who teach by their shares, and the label by the rule over the own labels of text and image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from itin.targets import UNKNOWN, shares_of
from itin.train.config import TrainConfig
from itin.train.features import load
from itin.train.features.features import Features, TargetColumn
from itin.train.label_rule import by_rule
from itin.train.loop import fit
from itin.train.optimization.objective import Objective
from itin.train.protocols.protocol import Protocol
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.write import write_run

from ..several_targets import BARE, CPU, MOOD, N, several, table_of
from .test_loop import SMALL

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


@pytest.fixture(scope="module")
def splitter(features: Features) -> TargetSplitter:
    return TargetSplitter.of(Protocol(), features, table_of(features))


VOTES = [
    ["positive", "neutral", None, "negative"],
    ["positive", "negative", None, None],
    ["neutral", "positive", None, None],
]


def test_shares_of_annotators() -> None:
    shares = shares_of(VOTES, MOOD)
    assert shares is not None
    expected = [[2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(shares, expected)
    column = TargetColumn(MOOD, np.array([0, UNKNOWN, UNKNOWN, 2]), shares)
    assert column.known.tolist() == [True, False, False, True]
    assert column.taught.tolist() == [True, True, False, True]  # three who differ teach too
    assert shares_of([], MOOD) is None


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_are_learnt_by_cross_entropy(class_weights: str, smoothing: float) -> None:
    shares = shares_of(VOTES, MOOD)
    assert shares is not None
    config = TrainConfig(class_weights=class_weights, label_smoothing=smoothing)
    objective = Objective(config, [TargetColumn(MOOD, np.array([0, UNKNOWN, UNKNOWN, 2]), shares)], CPU)
    weight = 3 / (3 * shares.sum(0)) if class_weights == "balanced" else np.ones(3)
    logits = torch.randn(2, 4, 3)
    total = norm = 0.0
    for row in (0, 1, 3):
        chance = logits[0, row].double().numpy()
        chance = np.log(np.exp(chance) / np.exp(chance).sum())
        smooth = (1 - smoothing) * shares[row] + smoothing / 3
        total -= float((weight * smooth * chance).sum())
        norm += float((weight * shares[row]).sum())
    both = torch.from_numpy(np.stack([shares, np.zeros_like(shares)])).float()
    assert objective(logits, [both]).tolist() == pytest.approx([total / norm, 0.0], rel=1e-5)


def test_annotators_are_read_from_the_table() -> None:
    values = [{f"text-label-{n + 1}": votes[row] for n, votes in enumerate(VOTES) if votes[row]} for row in range(4)]
    own = [None, None, "neutral", "negative"]
    samples = pd.DataFrame({"id": list("abcd"), "label": own, "text_label": own, "targets": values})
    names = [MOOD, *(replace(MOOD, name=f"text-label{end}") for end in ("", "-1", "-2", "-3"))]
    table = SimpleNamespace(dataset={"targets": [one.to_dict() for one in names]}, samples=samples)
    kept, columns = load._with_targets(table, "mine", ("text-label",))  # type: ignore[arg-type]
    assert kept["id"].tolist() == ["a", "b", "d"]
    assert columns["text-label"].values.tolist() == [UNKNOWN, UNKNOWN, 2]
    assert columns["text-label"].shares is not None
    assert columns["text-label"].shares[1].tolist() == pytest.approx([1 / 3] * 3)
    assert columns["label"].shares is None
    assert columns["label"].values.tolist() == [UNKNOWN, UNKNOWN, 2]


def test_the_label_rule_over_both_sides() -> None:
    text, image = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), np.array([[0.6, 0.1, 0.3], [0.0, 0.0, 1.0]])
    found = by_rule(text, image)
    positive = 0.5 * 0.6 + 0.5 * 0.1 + 0.3 * 0.6
    neutral = 0.3 * 0.1
    negative = 0.2 * 0.3 + 0.2 * 0.1 + 0.3 * 0.3
    conflict = 0.5 * 0.3 + 0.2 * 0.6
    assert positive + neutral + negative == pytest.approx(1 - conflict)
    np.testing.assert_allclose(found[0], np.array([positive, neutral, negative]) / (1 - conflict))
    assert found[1].tolist() == [0.5, 0.0, 0.5]  # nothing but a conflict is left


def sides(features: Features) -> Features:
    """The planted samples with own labels of text and image that the rule joins to the label."""
    text = np.where(np.arange(N) % 3, features.labels, 1)
    image = np.where(np.arange(N) % 3 == 1, 1, features.labels)
    text[:BARE], image[:BARE] = 0, 2
    names = ("text-label", "image-label")
    pairs = zip(names, (text, image), strict=True)
    further = {name: TargetColumn(replace(MOOD, name=name), one) for name, one in pairs}
    return replace(features, further=further)


@pytest.mark.parametrize("way", ["joint", "rule", "mean"])
def test_where_the_label_comes_from(features: Features, way: str, tmp_path: Path) -> None:
    own = sides(features)
    config = replace(SMALL, epochs=2, target="label+text-label+image-label", label_from=way)
    split = TargetSplitter.of(Protocol(), own, table_of(own)).split(0, 0, config.targets)
    made = fit(config, own, split)
    said = made.predicted["test"]
    rule = by_rule(said["text-label"], said["image-label"])
    joint = fit(replace(config, label_from="joint"), own, split)
    if way != "joint" and joint.best_epoch == made.best_epoch:
        plain = joint.predicted["test"]["label"]
        np.testing.assert_allclose(said["label"], rule if way == "rule" else (plain + rule) / 2, rtol=1e-12)
    right = said["label"].argmax(1) == own.labels[split.test]
    ways = made.metrics["test"]["label_from"]
    assert made.metrics["test"]["accuracy"] == ways[way]["accuracy"] == pytest.approx(float(right.mean()))
    by_the_rule = rule.argmax(1) == own.labels[split.test]
    assert ways["rule"]["accuracy"] == pytest.approx(float(by_the_rule.mean()))
    assert made.history[made.best_epoch - 1]["val_accuracy"] == made.metrics["val"]["accuracy"]
    run = load_run(write_run(made, own, split, {"name": "planted"}, {}, "key", out=tmp_path / "run"))
    assert evaluate(run, own)["label_from"] == ways
    chances = run.predictions[run.predictions["part"] == "test"][["p_positive", "p_neutral", "p_negative"]].to_numpy()
    assert np.array_equal(chances, said["label"])


def test_a_table_of_before_says_how_to_get_a_target() -> None:
    samples = pd.DataFrame({"id": ["a"], "label": ["positive"], "text_label": ["positive"]})
    table = SimpleNamespace(dataset={"name": "mvsa-single", "classes": list(MOOD.classes)}, samples=samples)
    with pytest.raises(ValueError, match="its table is of an older version, so run"):
        load._with_targets(table, "mvsa-single", ("intensity",))  # type: ignore[arg-type]


def test_the_rule_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="label_from: expected joint without the targets label, text-label and image"):
        TrainConfig(target="label+text-label", label_from="rule")
