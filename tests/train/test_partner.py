"""A head with a partner that is solved for: what both say against each computed apart, run folders, keys and sweeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from itin.cli import main
from itin.errors import DataError
from itin.itin_head import HEADS
from itin.itin_head.ensemble import Ensemble, Partnered
from itin.itin_head.heads.linear import LinearHead
from itin.labels import LABELS
from itin.predict.pairs import pairs_of
from itin.targets import Target
from itin.train.config import TrainConfig
from itin.train.features.features import Features, TargetColumn
from itin.train.features.find import find_features, stores_of_run
from itin.train.features.load import load_features
from itin.train.label_rule import decided
from itin.train.loop import Fit, fit
from itin.train.presets import short_name
from itin.train.protocols.split import Split, random_split
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import canonical
from itin.train.steps import ComputeOptions, Training, shape_of, stackable
from itin.train.sweeps.folder import Sweep

from ..features import make_data, make_run, results_of

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

BASE = TrainConfig(m=2, d=8, k=8, hidden=8, batch_size=16, epochs=3, lr=0.01, partner="linear", logistic_c=0.7)
READERS = [name for name, spec in HEADS.items() if "tokens" in spec.inputs and not spec.solved]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    """Sentences of two to six words; own labels of both sides, ordered classes, a number, and lexicon values."""
    made = make_data(tmp_path_factory.mktemp("made"))
    found = find_features(made.cache, None, {})
    own = load_features(found.table, found.stores, 3)
    rng = np.random.default_rng(5)
    moved = np.where(rng.random(len(own)) < 0.7, own.labels, rng.integers(3, size=len(own)))
    mood = own.labels - 1 + rng.normal(size=len(own))
    mood[::9] = np.nan
    further = {
        "text-label": TargetColumn(Target("text-label", "classes", LABELS), moved),
        "image-label": TargetColumn(Target("image-label", "classes", LABELS), moved[::-1].copy()),
        "order": TargetColumn(Target("order", "ordered", ("low", "mid", "high")), own.labels),
        "mood": TargetColumn(Target("mood", "number", span=(-0.5, 0.5)), mood),
    }
    return replace(own, further=further, lexicons={"shape": rng.normal(size=(len(own), 9)).astype(np.float32)})


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


def apart(config: TrainConfig, features: Features, split: Split) -> list[Fit]:
    """The trained head and the partner, each in a run of its own; of one epoch, so that the same one is kept."""
    assert config.epochs == 1
    assert config.beside is not None
    return [fit(replace(config, partner="none"), features, split), fit(config.beside, features, split)]


# What is predicted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", READERS)
def test_every_head_that_reads_text_can_have_one(head: str, features: Features, split: Split) -> None:
    """The mean of the probabilities, half and half; the weights are those of both alone."""
    config = replace(BASE, head=head, epochs=1, lexicons="shape")
    both = fit(config, features, split)
    trained, partner = apart(config, features, split)
    for part, said in both.probabilities.items():
        mean = (trained.probabilities[part] + partner.probabilities[part]) / 2
        np.testing.assert_allclose(said, mean, rtol=0, atol=2e-7)
    assert abs(trained.probabilities["test"] - partner.probabilities["test"]).max() > 0.01
    assert both.history[0]["train_loss"] == trained.history[0]["train_loss"]
    assert both.history[0]["val_loss"] == pytest.approx(both.metrics["val"]["loss"], abs=1e-6)
    assert both.state_dict.keys() == {
        *(f"trained.{name}" for name in trained.state_dict),
        *(f"partner.{name}" for name in partner.state_dict),
    }
    for name, value in trained.state_dict.items():
        assert torch.equal(both.state_dict[f"trained.{name}"], value), name
    for name, value in partner.state_dict.items():
        assert torch.equal(both.state_dict[f"partner.{name}"], value), name
    assert both.vocabulary == partner.vocabulary
    assert both.head == trained.head
    assert both.chosen == {"label": 0.7}


@pytest.mark.parametrize("way", ["joint", "rule", "mean"])
def test_each_target_is_joined_and_then_the_label_decided(way: str, features: Features, split: Split) -> None:
    targets = "label+text-label+image-label+order+mood"
    config = replace(BASE, head="pooled", epochs=1, target=targets, label_from=way, ensemble=2)
    both = fit(config, features, split)
    alone = apart(replace(config, label_from="joint"), features, split)
    mean = {name: np.mean([one.predicted["test"][name] for one in alone], 0) for name in targets.split("+")}
    assert abs(mean["mood"]).max() < 0.5  # one of the two is beyond the end of the span, where it counts as the end
    assert max(abs(one.predicted["test"]["mood"]).max() for one in alone) == 0.5
    for name, want in decided(mean, way).items():
        np.testing.assert_allclose(both.predicted["test"][name], want, rtol=0, atol=1e-7)
    assert both.metrics["test"]["accuracy"] == pytest.approx(
        np.mean(both.predicted["test"]["label"].argmax(1) == features.labels[split.test])
    )
    assert set(both.metrics["test"]["label_from"]) == {"joint", "rule", "mean"}


def test_epoch_is_selected_by_what_both_say(features: Features, split: Split) -> None:
    """By the validation loss of the mean; the trained heads' own best epoch is another one."""
    config = replace(BASE, head="pooled", epochs=12, lr=0.2, schedule="constant", select="loss", seed=1)
    both = fit(config, features, split)
    partner = fit(config.beside, features, split).probabilities["val"]  # type: ignore[arg-type]
    labels, losses, own = features.labels[split.val], [], []
    every: list[NDArray[np.float64]] = []

    def loss(p: NDArray[np.float64]) -> float:
        return float(-np.log(p[np.arange(len(labels)), labels]).mean())

    for epochs in range(1, 13):
        one = last_epoch(replace(config, partner="none", epochs=epochs), features, split)
        every.append(one)
        own.append(loss(one))
        losses.append(loss((one + partner) / 2))
    assert [row["val_loss"] for row in both.history] == pytest.approx(losses, abs=1e-5)
    assert both.best_epoch == 1 + int(np.argmin(losses))
    assert both.best_epoch != 1 + int(np.argmin(own))
    np.testing.assert_allclose(both.probabilities["val"], (every[both.best_epoch - 1] + partner) / 2, atol=1e-6)


def last_epoch(config: TrainConfig, features: Features, split: Split) -> NDArray[np.float64]:
    """What a head says of the first target in the validation part after its last epoch."""
    training = Training([config], features, split, torch.device("cpu"), ComputeOptions())
    for epoch in range(1, config.epochs + 1):
        training.epoch(epoch)
    said: NDArray[np.float64] = training.predicted(split.val)["label"][0]
    return said


@pytest.mark.parametrize("ensemble", [1, 2])
def test_side_by_side_is_alone(ensemble: int, features: Features, split: Split) -> None:
    configs = [replace(BASE, head="itin", ensemble=ensemble, seed=seed, m=m) for seed, m in ((0, 2), (5, 1))]
    assert stackable(configs[0])
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        alone = fit(config, features, split)
        assert together.best_epoch == alone.best_epoch
        for part, said in together.probabilities.items():
            np.testing.assert_allclose(said, alone.probabilities[part], atol=1e-5)
        assert together.chosen == alone.chosen
    assert shape_of(configs[0], "x") != shape_of(replace(configs[0], logistic_c=1.0), "x")


def test_c_is_the_partners_own(features: Features, split: Split) -> None:
    """Chosen by its own validation loss, whatever stands beside it."""
    config = replace(BASE, head="pooled", logistic_c=None, target="label+order")
    partner = fit(config.beside, features, split)  # type: ignore[arg-type]
    both = fit(config, features, split)
    assert both.chosen == partner.chosen
    assert set(both.chosen) == {"label", "order"}
    assert both.selected_by == fit(replace(config, partner="none"), features, split).selected_by


def test_without_texts(features: Features, split: Split) -> None:
    with pytest.raises(DataError, match="has no texts, which the head linear reads"):
        fit(BASE, replace(features, texts=None), split)


# Recipes and keys ----------------------------------------------------------------------------------------------------


def test_fields_of_the_partner_count_with_it_alone() -> None:
    own: dict[str, Any] = {"logistic_c": 3.0, "word_ngrams": 1, "char_ngrams": 0, "means_scale": 0.1}
    for head in READERS:
        with_it = TrainConfig(head=head, partner="linear")
        alone = TrainConfig(head=head)
        assert canonical(with_it, "x") != canonical(alone, "x")
        for name, value in own.items():
            assert canonical(replace(with_it, **{name: value}), "x") != canonical(with_it, "x"), name
            assert canonical(replace(alone, **{name: value}), "x") == canonical(alone, "x"), name
        with_values, alone_with = (replace(one, lexicons="shape", lexicon_scale=0.7) for one in (with_it, alone))
        assert canonical(with_values, "x").lexicon_scale == 0.7
        assert canonical(alone_with, "x").lexicon_scale == TrainConfig().lexicon_scale
        assert canonical(replace(with_it, lr=0.5, seed=3), "x").lr == 0.5
        # V is read by the partner, even where the head does not.
        assert canonical(replace(with_it, center_crop=True), "x").center_crop
        assert with_it.inputs == {*HEADS[head].inputs, "tokens", "context"}
        assert with_it.head_config({}) == alone.head_config({})
    for head in ("linear", "image-only", "majority"):
        config = TrainConfig(head=head, partner="linear")
        assert config.beside is None
        assert canonical(config, "x") == canonical(TrainConfig(head=head), "x")
        assert config.inputs == TrainConfig(head=head).inputs
    texts = TrainConfig(head="text-only", partner="linear", means_scale=0.0)
    assert texts.reads_of({}) == {"tokens"}
    assert not canonical(replace(texts, center_crop=True), "x").center_crop


def test_names_and_checks() -> None:
    config = TrainConfig(head="itin", ablation="no-gate", m=0, partner="linear", hops=2, ensemble=3)
    assert config.beside == replace(config, head="linear", ablation="none", partner="none", ensemble=1)
    assert [one.beside for one in config.members] == [replace(config.beside, seed=seed) for seed in range(3)]
    assert config.averages is False
    assert TrainConfig(head="pooled", partner="linear").averages
    assert "partner-linear" in short_name(config)
    assert "partner" not in short_name(TrainConfig(head="linear", partner="linear"))
    with pytest.raises(ValueError, match="partner: expected one of none, linear, got 'itin'"):
        TrainConfig(partner="itin")
    with pytest.raises(ValueError, match="word_ngrams, char_ngrams, means_scale: expected one above 0"):
        TrainConfig(partner="linear", word_ngrams=0, char_ngrams=0, means_scale=0.0)


# Run folders, sweeps, the command line -------------------------------------------------------------------------------


def cli(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("recipe", [{"head": "itin"}, {"head": "text-only", "ensemble": 2}, {"head": "pooled"}])
def test_a_run_folder_gives_the_same_again(recipe: dict[str, Any], tmp_path: Path) -> None:
    made = make_data(tmp_path / "made")
    run = load_run(make_run(made, tmp_path / "run", partner="linear", **recipe))
    head = run.head()
    assert isinstance(head, Partnered)
    assert isinstance(head.partner, LinearHead)
    assert isinstance(head.trained, Ensemble) == ("ensemble" in recipe)
    assert not head.training
    assert head.vocabulary == head.partner.vocabulary
    assert {value.dtype for value in head.partner.state_dict().values()} == {torch.float64}
    head.to(torch.float16)  # the partner stays as it is
    assert {value.dtype for value in head.partner.state_dict().values()} == {torch.float64}
    found = stores_of_run(run)
    own = load_features(found.table, found.stores, run.config.regions, inputs=run.config.inputs)
    for part in ("val", "test"):
        assert evaluate(run, own, part=part)["loss"] == pytest.approx(run.metrics[part]["loss"], abs=1e-9)
    for pair in pairs_of(run, "test"):
        assert list(pair.prediction.reasons)[-2:] == ["word vectors", "image"]
        if recipe["head"] == "itin":
            assert all(0 <= region.attention <= 1 and region.words for region in pair.prediction.regions)
    assert any(pair.prediction.regions for pair in pairs_of(run, "test")) == (recipe["head"] == "itin")


def test_reasons_are_of_the_class_that_both_predict(tmp_path: Path) -> None:
    """Even where the partner alone would say another."""
    made = make_data(tmp_path / "made")
    run = load_run(make_run(made, tmp_path / "run", partner="linear", head="pooled", logistic_c=0.01))
    head = run.head()
    assert isinstance(head, Partnered)
    assert isinstance(head.partner, LinearHead)
    W, words = head.partner.weight.numpy(), head.partner.vocabulary["words"]
    disagree = 0
    for pair in pairs_of(run, "test"):
        c = LABELS.index(pair.prediction.label)
        for name, value in pair.prediction.reasons.items():
            column = W[:, words.index(name)] if name in words else None
            if column is not None:
                assert np.sign(value) == np.sign(column[c] - column.mean())
                disagree += int(np.sign(value) != np.sign((column - column.mean())[np.argmax(abs(column))]))
    assert disagree


def test_from_the_command_line(tmp_path: Path) -> None:
    """Trained, evaluated, explained and reported on; swept with none by workers and side by side, and resumed."""
    made = make_data(tmp_path / "made")
    small = ("--head", "pooled", "--hidden", 6, "--epochs", 2, "--batch-size", 16)
    said = cli("train", "--cache", made.cache, *small, "--partner", "linear", "--out", tmp_path / "run")
    run = load_run(tmp_path / "run")
    chosen = run.metrics["logistic_c"]["label"]
    assert f"best epoch {run.metrics['best_epoch']} of 2, C = {chosen:g} of label, " in said
    row = next(line for line in said.splitlines() if line.startswith("test"))
    assert row in cli("evaluate", tmp_path / "run")
    cli("report", tmp_path / "run", "--out", tmp_path / "page")
    tables = []
    for how in (("--workers", 1), ("--stack", 4)):
        out = tmp_path / how[0]
        cli(
            *("sweep", "--cache", made.cache, *small, "--partner", "none,linear", "--seeds", 2),
            *(*how, "--device", "cpu", "--out", out),
        )
        assert len(Sweep(out).finished()) == 4
        tables.append(pd.read_csv(out / "results.csv").set_index("key").sort_index())
        assert "Results" in cli("sweep", "--resume", out)
    columns = ["val_accuracy", "val_loss"]
    np.testing.assert_allclose(tables[0][columns], tables[1][columns], rtol=1e-4)
    alone = tables[0][(tables[0]["partner"] == "linear") & (tables[0]["seed"] == 0)]
    assert alone["val_loss"].tolist() == pytest.approx([run.metrics["val"]["loss"]], rel=1e-6)
