"""What a recipe may add to Adam: each against a loop that is written out here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from itin.cache import find_stores, open_store, read_table
from itin.cli import main
from itin.itin_head import make
from itin.itin_head.outputs import mean_outputs, predicted
from itin.targets import Target, outputs_of
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.load import load_features
from itin.train.loop import Fit, fit
from itin.train.presets import Range, fitted, preset_of, short_name, space_of, with_preset
from itin.train.protocols.split import Split, random_split
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import canonical
from itin.train.steps import ComputeOptions, check_compute
from itin.train.sweeps.folder import Sweep

from ..features import DIMS, make_cache, results_of

BASE = TrainConfig(head="concat", m=2, d=6, hidden=7, batch_size=16, epochs=3, lr=5e-3)
ADDED: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "ema": {"ema": 0.7},
    "mixup": {"mixup": 0.4},
    "all": {"optimizer": "adamw", "weight_decay": 0.3, "ema": 0.95, "mixup": 2.0, "label_smoothing": 0.05},
}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = make_cache(tmp_path_factory.mktemp("cache")) / "planted"
    return load_features(read_table(folder), {kind: open_store(find_stores(folder, kind)[0]) for kind in DIMS}, 3)


@pytest.fixture
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


def written_out(config: TrainConfig, features: Features, split: Split) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the weights that are validated after each epoch, by Adam's formulas, one parameter after the other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = make(config.head_config({**features.dims, "classes": 3}))
    resident = ResidentFeatures(features, torch.device("cpu"), config.m, config.max_words)
    orders, mixing = torch.Generator().manual_seed(config.seed), np.random.default_rng(config.seed)
    weights = dict(head.named_parameters())
    state = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in weights.items()}
    average = {name: value.detach().clone() for name, value in weights.items()}
    decay, t = config.weight_decay, 0
    for _ in range(config.epochs):
        order = torch.from_numpy(split.train)[torch.randperm(len(split.train), generator=orders)]
        for begin in range(0, len(order), config.batch_size or 0):
            batch = resident.batch(order[begin : begin + (config.batch_size or 0)])
            logits, labels = head(*batch.inputs).logits, batch.labels
            one_hot = torch.nn.functional.one_hot(labels, 3) * (1 - config.label_smoothing) + config.label_smoothing / 3
            if config.mixup:
                share = float(mixing.beta(config.mixup, config.mixup))
                before = [(i - 1) % len(labels) for i in range(len(labels))]
                logits = share * logits + (1 - share) * logits[before]
                one_hot = share * one_hot + (1 - share) * one_hot[before]
            loss = -(one_hot * logits.log_softmax(1)).sum(1).mean()
            gradients = torch.autograd.grad(loss, list(weights.values()))
            t += 1
            for (name, value), gradient in zip(weights.items(), gradients, strict=True):
                with torch.no_grad():
                    if config.optimizer == "adamw":
                        value -= config.lr * decay * value
                    else:
                        gradient = gradient + decay * value
                    m, v = state[name]
                    m.copy_(0.9 * m + 0.1 * gradient)
                    v.copy_(0.999 * v + 0.001 * gradient**2)
                    value -= config.lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
                    kept = min(config.ema, (1 + t) / (10 + t))
                    average[name] = kept * average[name] + (1 - kept) * value
        yield {name: value.clone() for name, value in average.items()}


@pytest.mark.parametrize("added", ADDED)
def test_steps_are_those_written_out(added: str, features: Features, split: Split) -> None:
    config = replace(BASE, **ADDED[added])
    result = fit(config, features, split)
    epochs = list(written_out(config, features, split))
    for name, want in epochs[result.best_epoch - 1].items():
        torch.testing.assert_close(result.state_dict[name], want, rtol=1e-4, atol=2e-6)
    plain = fit(BASE, features, split)
    assert any(
        not torch.allclose(value, plain.state_dict[name], atol=1e-3) for name, value in result.state_dict.items()
    )


def test_average_is_validated_in_place_of_the_weights(features: Features, split: Split) -> None:
    """The scores of an epoch are those of what is kept, not of the last step."""
    config = replace(BASE, ema=0.99, epochs=1)
    result = fit(config, features, split)
    assert result.history[0]["val_loss"] == pytest.approx(result.metrics["val"]["loss"], rel=1e-5)
    assert result.history[0]["val_loss"] != pytest.approx(
        fit(replace(config, ema=0.0), features, split).history[0]["val_loss"], rel=1e-3
    )


@pytest.mark.parametrize("head", ["itin", "pooled", "image-only", "majority"])
def test_side_by_side_is_alone(head: str, features: Features, split: Split) -> None:
    base = replace(BASE, **ADDED["all"], head=head, d=8, k=8, dropout=0.2)
    configs = [base, replace(base, seed=1), replace(base, seed=5)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        alone = fit(config, features, split)
        for row, own in zip(together.history, alone.history, strict=True):
            assert row["train_loss"] == pytest.approx(own["train_loss"], rel=1e-4)
            assert row["val_loss"] == pytest.approx(own["val_loss"], rel=1e-4)


def test_static_shapes(features: Features, split: Split) -> None:
    """AdamW and the moving average are the same in the shapes of CUDA graphs; mixing is refused."""
    config = replace(BASE, optimizer="adamw", weight_decay=0.3, ema=0.9)
    graphs = ComputeOptions(graphs=True)
    result, plain = fit(config, features, split, compute=graphs), fit(config, features, split)
    for row, own in zip(result.history, plain.history, strict=True):
        assert row["val_loss"] == pytest.approx(own["val_loss"], rel=1e-4)
    with pytest.raises(ValueError, match=r"mixup: expected 0 with CUDA graphs, got 0\.4"):
        check_compute(replace(config, mixup=0.4), graphs)
    assert len(fit(replace(config, dropout=0.3), features, split, compute=graphs).history) == config.epochs


# Ensembles -----------------------------------------------------------------------------------------------------------


def test_mean_outputs_say_the_mean() -> None:
    targets = [
        Target("label", "classes", ("a", "b", "c")),
        Target("level", "ordered", ("low", "mid", "high", "top")),
        Target("score", "number", (), (-2.0, 6.0)),
    ]
    outputs = 3 * torch.randn(
        5, 7, outputs_of(targets), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    outputs[..., -1] *= 0.1  # within the span, at whose end predictions stop
    said, each = predicted(mean_outputs(outputs, targets), targets), predicted(outputs, targets)
    for target in targets:
        np.testing.assert_allclose(said[target.name], each[target.name].mean(0), atol=1e-9)


@pytest.mark.parametrize("head", ["itin", "pooled"])
def test_ensemble_is_the_mean_of_its_members(head: str, features: Features, split: Split) -> None:
    config = replace(BASE, head=head, d=8, k=8, seed=3, ensemble=3, epochs=1, dropout=0.2, ema=0.9)
    together = fit(config, features, split)
    alone = [fit(replace(config, seed=seed, ensemble=1), features, split) for seed in (3, 4, 5)]
    for part in ("val", "test"):
        mean = np.mean([one.probabilities[part] for one in alone], 0)
        np.testing.assert_allclose(together.probabilities[part], mean, atol=1e-5)
    assert together.history[0]["train_loss"] == pytest.approx(np.mean([one.history[0]["train_loss"] for one in alone]))
    assert together.history[0]["val_loss"] == pytest.approx(together.metrics["val"]["loss"], rel=1e-5)
    assert len(together.state_dict) == 3 * len(alone[0].state_dict)


def test_ensembles_side_by_side(features: Features, split: Split) -> None:
    """Two trials of two heads each."""
    configs = [replace(BASE, ensemble=2), replace(BASE, ensemble=2, seed=7)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        alone = fit(config, features, split)
        assert together.best_epoch == alone.best_epoch
        np.testing.assert_allclose(together.probabilities["test"], alone.probabilities["test"], atol=1e-5)


def test_ensemble_of_what_is_solved_for_is_one() -> None:
    config = TrainConfig(head="linear", ensemble=4, ema=0.9, optimizer="adamw", mixup=1.0)
    assert config.members == (config,)
    assert canonical(config, "x") == canonical(TrainConfig(head="linear"), "x")
    assert [one.seed for one in TrainConfig(seed=2**32 - 1, ensemble=2).members] == [2**32 - 1, 0]


def test_ensemble_from_the_command_line(tmp_path: Path) -> None:
    """One run folder, which every command reads; in a sweep one trial."""
    cache = make_cache(tmp_path / "cache")

    def cli(*words: object) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    small = ("--head", "pooled", "--hidden", 6, "--epochs", 2, "--batch-size", 16, "--ensemble", 2)
    cli("train", "--cache", cache, *small, "--out", tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.config.ensemble == 2
    assert len(run.head().members) == 2
    features = load_features(
        read_table(cache / "planted"),
        {kind: open_store(find_stores(cache / "planted", kind)[0]) for kind in DIMS},
        0,
        inputs=run.config.inputs,
    )
    scores = evaluate(run, features)
    assert scores["accuracy"] == run.metrics["test"]["accuracy"]
    assert scores["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-6)
    assert "test" in cli("evaluate", tmp_path / "run")
    cli("report", tmp_path / "run", "--out", tmp_path / "report")
    cli("sweep", "--cache", cache, *small[:-1], "1,2", "--workers", 1, "--out", tmp_path / "sweep")
    said = cli("runs", tmp_path / "sweep")
    assert len(said.splitlines()) >= 3
    assert "ensemble" in said.splitlines()[0]


# Presets -------------------------------------------------------------------------------------------------------------


def test_best_names_its_head_unless_one_is_named() -> None:
    best = TrainConfig(**with_preset({"preset": "best"}))
    assert (best.head, best.ensemble, best.partner, best.target) == ("pooled", 2, "linear", "label")
    assert TrainConfig(**with_preset({"preset": "best", "head": "itin"})).head == "itin"
    assert TrainConfig(**with_preset({"preset": "paper"})) == TrainConfig()
    for config in (best, replace(best, lexicons=""), replace(best, head="itin")):
        assert preset_of(config) == "best"
    assert preset_of(replace(best, ema=0.0)) == preset_of(replace(best, epochs=3, lexical=8)) == "best"
    assert preset_of(TrainConfig(ema=0.99, dropout=0.5)) == preset_of(TrainConfig()) == "paper"
    assert short_name(best) == "pooled-best"
    assert short_name(replace(best, lexicons="vader")) == "pooled-best-vader"


def test_a_preset_leaves_out_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    best = {"preset": "best"}
    assert fitted(best) == ({}, [])
    own, said = fitted(best, scene=False)
    assert own == {"scene": None}
    assert said == ["the preset best without the scene: itin extract --scene-encoder efficientnet-lite0-stages adds it"]
    config = TrainConfig(**with_preset({**best, **own}))
    assert ("scene" in config.inputs, preset_of(config), short_name(config)) == (False, "best", "pooled-best")
    assert "scene" in TrainConfig(**with_preset(best)).inputs
    assert fitted({**best, "scene": False}, scene=False) == fitted({"preset": "paper"}, scene=False)
    assert fitted({"head": "itin"}) == ({}, [])
    monkeypatch.setattr("itin.train.presets.is_installed", lambda name: name == "shape")
    own, said = fitted(best)
    assert own == {"lexicons": "shape"}
    assert "without the lexicons vader, afinn, pattern, hashtags: pip install 'itin[lexicons]'" in said[0]
    assert fitted({**best, "lexicons": "vader"}) == ({}, [])


def test_space_of_a_preset() -> None:
    assert Range(0.001, 0.1, log=True).values() == (0.001, 0.0018, 0.0032, 0.0056, 0.01, 0.018, 0.032, 0.056, 0.1)
    assert Range(0.2, 0.6).values() == (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    assert Range(2, 4).values(whole=True) == (2, 3, 4)
    space = space_of({"preset": "best", "dropout": (0.5,)})
    assert "dropout" not in space
    assert all(isinstance(value, int) for value in space["hidden"])
    for name, values in space.items():  # each is a value of its field
        assert all(
            getattr(TrainConfig(**with_preset({"preset": "best", name: value})), name) == value for value in values
        )
    assert space_of({}) == space_of({"preset": "official"}) == {}


def test_best_from_the_command_line(tmp_path: Path) -> None:
    """Without a scene, trained and searched; a search that names an axis varies that one alone."""
    cache = make_cache(tmp_path / "cache")

    def cli(*words: object) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    small = ("--cache", cache, "--preset", "best", "--epochs", 1)
    said = cli("train", *small, "--out", tmp_path / "run")
    assert "the preset best without the scene" in said
    run = load_run(tmp_path / "run")
    assert (run.config.target, run.config.ensemble, run.config.head) == ("label", 2, "pooled")
    pytest.importorskip("optuna")
    said = cli("sweep", *small, "--optuna", 2, "--ensemble", 1, "--workers", 1, "--out", tmp_path / "search")
    assert "chosen among: lr (9 values), weight_decay (9 values), dropout (9 values)" in said
    runs = [load_run(path.parent).config for path in (tmp_path / "search").rglob("metrics.json")]
    assert len({(one.lr, one.weight_decay, one.dropout, one.hidden, one.label_smoothing) for one in runs}) == 2
    assert {(one.ensemble, one.ema, one.target) for one in runs} == {(1, 0.99, "label")}
    said = cli("sweep", *small, "--optuna", 2, "--ema", "0,0.9", "--workers", 1, "--out", tmp_path / "named")
    assert "chosen among: ema (2 values)" in said


def test_each_of_several_presets_fits_the_data_set(tmp_path: Path) -> None:
    """Each on its own terms: in a grid, and in a search that is resumed."""
    cache = make_cache(tmp_path / "cache")

    def cli(*words: object) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    small = ("--cache", cache, "--preset", "paper,best", "--select", "loss", "--d", 6, "--k", 4, "--hidden", 4)
    small = (*small, "--epochs", 1, "--ensemble", 1, "--workers", 1)
    said = cli("sweep", *small, "--out", tmp_path / "grid")
    assert said.count("the preset best without the scene") == 1
    sweep = Sweep(tmp_path / "grid")
    assert sweep.definition.adapted["best"] == {"scene": None}
    assert [(one.config.head, one.config.target, one.config.ema) for one in sweep.definition.trials] == [
        *(("itin", "label", 0.0), ("pooled", "label", 0.99)),
    ]
    assert (sweep.results()["status"] == "done").all()
    pytest.importorskip("optuna")
    cli("sweep", *small, "--optuna", 4, "--lr", "1e-3,2e-3", "--out", tmp_path / "search")
    search = Sweep(tmp_path / "search")
    found = {(one.config.head, one.config.target, one.config.lr) for one in search.definition.trials}
    assert found == {(head, "label", lr) for head in ("itin", "pooled") for lr in (1e-3, 2e-3)}
    gone = next(search.path.glob("runs/pooled*"))
    shutil.rmtree(gone)
    assert "3 results are there already" in cli("sweep", "--resume", search.path, "--workers", 1)
    assert gone.is_dir()


@pytest.mark.parametrize(("heads", "told"), [("text-only", 0), (("text-only", "itin"), 0), (("itin", "pooled"), 1)])
def test_a_missing_scene_is_told_where_a_head_reads_one(heads: str | tuple[str, ...], told: int) -> None:
    own, said = fitted({"preset": "best", "head": heads}, scene=False)
    assert sum("without the scene" in line for line in said) == ("scene" in own) == told
