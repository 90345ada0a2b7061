"""The frame that all heads share: training alone and side by side, presets, and the example of the documentation."""

from __future__ import annotations

import re
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from itin.cache import find_stores, open_store, read_table
from itin.cli import main
from itin.errors import CacheError, RunError
from itin.itin_head import HEADS, registry
from itin.itin_head.config import HeadConfig
from itin.itin_head.registry import GRU_SETTINGS, HeadSpec, label_of
from itin.predict.pairs import pairs_of
from itin.report.sweep_sections import sweep_sections
from itin.train.config import TrainConfig, View
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.find import find_features
from itin.train.features.load import load_features
from itin.train.loop import Fit, fit
from itin.train.presets import ORIGINAL, PRESETS, preset_of, short_name, with_preset
from itin.train.protocols.split import Split, random_split
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import canonical
from itin.train.steps import optimizer, shape_of
from itin.train.sweeps.axes import make_plan, parse_values, readers
from itin.train.sweeps.folder import Sweep

from ..features import DIMS, make_cache, make_store, results_of

pytestmark = pytest.mark.usefixtures("quick_workers")

DOCS = Path(__file__).resolve().parents[2] / "docs" / "heads.md"
BASE = TrainConfig(m=2, d=8, k=8, hidden=8, batch_size=16, epochs=2, lr=5e-3)
OTHERS = [name for name, spec in HEADS.items() if name != "itin" and not spec.solved]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    folder = make_cache(tmp_path_factory.mktemp("cache")) / "planted"
    return load_features(read_table(folder), {kind: open_store(find_stores(folder, kind)[0]) for kind in DIMS}, 3)


@pytest.fixture
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


# Training ------------------------------------------------------------------------------------------------------------


def same(one: Fit, other: Fit) -> None:
    for row, own in zip(one.history, other.history, strict=True):
        for name in ("train_loss", "val_loss", "lr"):
            assert row[name] == pytest.approx(own[name], rel=1e-4)
    assert one.best_epoch == other.best_epoch
    for part, values in one.probabilities.items():
        np.testing.assert_allclose(values, other.probabilities[part], atol=1e-4)


@pytest.mark.parametrize("head", OTHERS)
def test_side_by_side_is_alone(head: str, features: Features, split: Split) -> None:
    recipe = {"clip": 0.1, "class_weights": "balanced", "label_smoothing": 0.1, "schedule": "cosine", "warmup": 1}
    base = replace(BASE, head=head, **recipe)  # type: ignore[arg-type]
    configs = [base, replace(base, seed=1, m=1), replace(base, lam=0.9, m=3)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        same(together, fit(config, features, split))


def test_official_side_by_side(features: Features, split: Split) -> None:
    official = TrainConfig(**{**BASE.to_dict(), **PRESETS["official"], "max_words": 8})
    assert official.gru_dropout == 0.25
    configs = [official, replace(official, seed=1)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        same(together, fit(config, features, split))
    assert shape_of(official, "x") != shape_of(replace(official, gate="vector"), "x")
    with pytest.raises(ValueError, match="differ only in m, lam, seed"):
        results_of([official, replace(official, gru_dropout=0.5)], features, split)


@pytest.mark.parametrize("head", [name for name in HEADS if "dropout" in HEADS[name].settings])
def test_dropout_side_by_side(head: str, features: Features, split: Split) -> None:
    """Each run draws the masks that it draws alone; and dropout does something."""
    base = replace(BASE, head=head, dropout=0.3, epochs=3)
    configs = [base, replace(base, seed=1, m=1), replace(base, lam=0.9, m=3)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        same(together, fit(config, features, split))
    assert isinstance(together, Fit)
    assert (
        together.history[0]["train_loss"] != fit(replace(config, dropout=0.0), features, split).history[0]["train_loss"]
    )


def test_majority_is_that_of_the_training_part(features: Features, split: Split) -> None:
    result = fit(replace(BASE, head="majority"), features, split)
    counts = np.bincount(features.labels[split.train], minlength=3) + 0.5
    np.testing.assert_allclose(result.probabilities["test"], np.tile(counts / counts.sum(), (len(split.test), 1)), 1e-6)
    assert result.metrics["test"]["accuracy"] == result.metrics["test"]["majority"]["accuracy"]


def test_pooled_is_standardised_by_the_training_part_alone(features: Features, split: Split) -> None:
    """Other values of V in the validation and the test part change no weight."""
    config = replace(BASE, head="pooled", dropout=0.4, epochs=1)
    result = fit(config, features, split)
    V = features.context[split.train].astype(np.float64)
    np.testing.assert_allclose(result.state_dict["context_mean"], V.mean(0), rtol=1e-5)
    texts = [features.tokens[features.offsets[i] : features.offsets[i + 1]].astype(np.float64) for i in split.train]
    means = np.stack([text.mean(0) for text in texts if len(text)])
    np.testing.assert_allclose(result.state_dict["text_mean"], means.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.state_dict["text_sd"], means.std(0), rtol=1e-4)
    other = np.full_like(features.context, 7)
    other[split.train] = features.context[split.train]
    changed = fit(config, replace(features, context=other), split)
    assert all(torch.equal(value, changed.state_dict[name]) for name, value in result.state_dict.items())
    assert canonical(replace(config, head="majority"), "x").dropout == 0.0


def test_early_stopping(features: Features, split: Split) -> None:
    """Ends after `patience` epochs without a better one, alone and side by side; what is kept is the same."""
    base = replace(BASE, epochs=30, lr=0.05, batch_size=4)
    whole = fit(base, features, split)
    short = fit(replace(base, patience=2), features, split)
    assert len(short.history) == short.best_epoch + 2 < 30
    for row, other in zip(short.history, whole.history, strict=False):
        assert row["val_loss"] == other["val_loss"]
    configs = [replace(base, patience=2), replace(base, patience=2, seed=1)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        alone = fit(config, features, split)
        assert (together.best_epoch, len(together.history)) == (alone.best_epoch, len(alone.history))


def test_words_beyond_the_limit_are_not_read(features: Features, split: Split) -> None:
    resident = ResidentFeatures(features, torch.device("cpu"), 2, 2)
    words = resident.batch(torch.arange(6)).words
    assert words.mask.sum(1).tolist() == np.minimum(np.diff(features.offsets)[:6], 2).tolist()
    assert words.packing.n == 2
    assert fit(replace(BASE, max_words=2), features, split).history != fit(BASE, features, split).history


# Names and places ----------------------------------------------------------------------------------------------------


def test_presets() -> None:
    assert preset_of(TrainConfig()) == "paper"
    official = TrainConfig(**with_preset({"preset": "official", "m": 4}))
    assert preset_of(official) == "official"
    assert official.view == View(keep_special=True, center_crop=True)
    assert not official.mask
    assert preset_of(replace(official, normalize=False)) is None
    assert with_preset({"preset": "official", "normalize": False})["normalize"] is False
    with pytest.raises(ValueError, match="preset: expected one of paper, official, original, best, got 'demo'"):
        with_preset({"preset": "demo"})


def test_the_original_is_each_heads_own() -> None:
    """Sizes and recipe of its authors; of a head of nobody else's, the paper's."""
    comn = TrainConfig(**with_preset({"preset": "original", "head": "comn"}))
    assert (comn.d, comn.k, comn.hops, comn.batch_size, comn.patience, comn.schedule) == (
        *(100, 100, 6, 128, 10, "constant"),
    )
    senti = TrainConfig(**with_preset({"preset": "original", "head": "multisentinet", "epochs": 7}))
    assert (senti.optimizer, senti.batch_size, senti.weight_decay, senti.epochs) == ("rmsprop", 32, 0.0, 7)
    assert (senti.select, senti.patience) == ("loss", 5)
    assert preset_of(comn) == "original"
    assert preset_of(replace(comn, patience=None)) == preset_of(replace(comn, d=128, k=128, epochs=7)) == "original"
    assert preset_of(replace(TrainConfig(head="comn"), patience=10, batch_size=128)) == "paper"
    assert preset_of(TrainConfig(head="comn")) == "paper"
    assert TrainConfig(**with_preset({"preset": "original"})) == TrainConfig()
    assert TrainConfig(**with_preset({"preset": "original", "head": "concat"})) == TrainConfig(head="concat")
    for head, values in ORIGINAL.items():
        config = TrainConfig(**with_preset({"preset": "original", "head": head}))
        assert set(values) & set(TrainConfig(head=head).head_config({}).to_dict()) <= config.head_config({}).settings


def test_names_tell_what_was_inferred_and_what_stands_in() -> None:
    assert [label_of(head) for head in ("itin", "multisentinet", "comn", "mvan")] == [
        *("itin", "multisentinet (mean region as scene)", "comn*", "mvan* (mean region as scene)"),
    ]
    assert label_of("hsan") == label_of("hsan", ["attributes"]) == "hsan* (no names, one sentence)"
    assert label_of("hsan", ["objects"]) == "hsan* (one sentence)"
    assert label_of("hsan", HeadConfig(objects=3, sentence_ends=2).has) == "hsan*"
    assert label_of("comn", ["objects"]) == "comn*"


def test_tables_tell_inference_presets_and_hops_that_are_no_heads_own(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    small = ("--d", 8, "--k", 8, "--epochs", 1, "--batch-size", 16, "--workers", 1)
    for number, more in enumerate([(), ("--hops", "none,2")]):
        cli("sweep", "--cache", cache, "--head", "itin,comn,mvan", *small, *more, "--out", tmp_path / str(number))
        header, *lines = cli("runs", tmp_path / str(number)).splitlines()
        assert ("hops" in header.split()) == bool(more)
        assert sum("comn*" in line for line in lines) == sum("mvan* (mean region as" in line for line in lines) > 0
        assert not any("nan" in line.split() for line in lines)
    (table, *_) = (section.table for section in sweep_sections(Sweep(tmp_path / "1"), 1))
    assert set(table["head"]) == {"itin", "comn*", "mvan* (mean region as scene)"}
    assert {(head, str(hops)) for head, hops in zip(table["head"], table["hops"], strict=True)} >= {
        ("itin", ""),
        ("comn*", "6"),
        ("mvan* (mean region as scene)", "2"),
    }


def test_rmsprop_is_that_of_keras(features: Features, split: Split) -> None:
    """v <- 0.9 v + 0.1 g^2, p <- p - lr g / (sqrt(v) + 1e-8); side by side as alone."""
    config = replace(BASE, optimizer="rmsprop", weight_decay=0.01)
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    made = optimizer([p], config, torch.device("cpu"))
    assert made is not None
    want, v = p.detach().numpy().copy(), np.zeros(2)
    for gradient in ([0.5, -3.0], [1e-4, 2.0], [-1.0, 0.0]):
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        made.step()
        g = np.array(gradient) + 0.01 * want
        v = 0.9 * v + 0.1 * g**2
        want = want - config.lr * g / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(p.detach().numpy(), want, rtol=1e-12)
    configs = [config, replace(config, seed=1)]
    for together, one in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        same(together, fit(one, features, split))
    assert fit(config, features, split).history != fit(BASE, features, split).history
    with pytest.raises(ValueError, match="optimizer: expected one of adam, adamw, rmsprop"):
        replace(BASE, optimizer="sgd")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "m2-lam0.2"),
        ({"ablation": "no-gate"}, "m2-lam0.2-no-gate"),
        ({"m": 0}, "m0-lam0.2-only-context"),
        ({"head": "concat", "m": 3}, "concat-m3"),
        ({"head": "text-only"}, "text-only"),
        ({"head": "global-local", "lam": 0.5}, "global-local-m2-lam0.5"),
        ({"preset": "official"}, "official-m2-lam0.2"),
        ({"preset": "official", "normalize": False}, "own-m2-lam0.2"),
        ({"head": "majority", "preset": "official"}, "majority"),
        ({"head": "comn", "preset": "original"}, "comn-original-m2"),
        ({"head": "cnn-multi"}, "cnn-multi"),
    ],
)
def test_short_names(values: dict[str, Any], name: str) -> None:
    assert short_name(TrainConfig(**with_preset(values))) == name


def test_what_a_head_does_not_read_makes_no_other_configuration() -> None:
    for head, values in {
        "concat": {"lam": 0.9, "k": 3, "gate": "vector", "normalize": True},
        "text-only": {"m": 5, "lam": 0.9, "center_crop": True},
        "image-only": {"d": 3, "keep_special": True, "gru_layers": 2},
        "majority": {"m": 5, "d": 3, "keep_special": True, "center_crop": True},
        "itin": {"gru_dropout": 0.5, "hops": 2, "filters": 3},
        "comn": {"hops": 6, "hidden": 3, "lam": 0.9, "center_crop": True, "context_gru": True},
        "multisentinet": {"k": 3, "gru_layers": 2, "gru_dropout": 0.5},
        "cnn-multi": {"m": 5, "d": 3, "hidden": 3},
    }.items():
        plain = TrainConfig(head=head)
        assert canonical(replace(plain, **values), "x") == canonical(plain, "x")  # type: ignore[arg-type]
    assert canonical(TrainConfig(head="comn", hops=3), "x") != canonical(TrainConfig(head="comn"), "x")
    cosine = TrainConfig(schedule="cosine")
    assert canonical(replace(cosine, lr_step=3), "x") == canonical(cosine, "x")
    assert canonical(TrainConfig(lr_step=3), "x") != canonical(TrainConfig(), "x")


def test_heads_and_presets_are_axes() -> None:
    assert parse_values("head", "all") == tuple(HEADS)
    assert parse_values("preset", "paper,official") == ("paper", "official")
    plan = make_plan(
        "grid", {"head": ("itin", "concat"), "preset": ("paper", "official"), "ablation": ("none", "no-gate")}, [0]
    )
    assert [(p.config.head, preset_of(p.config), p.config.ablation) for p in plan.trials] == [
        ("itin", "paper", "none"),
        ("itin", "paper", "no-gate"),
        ("itin", "official", "none"),
        ("itin", "official", "no-gate"),
        ("concat", "paper", "none"),
        ("concat", "official", "none"),
    ]
    assert "for the head concat has no ablations" in plan.left_out[0]
    axes = {"preset": ("paper", "official"), "m": (0, 2), "ablation": ("none", "no-context"), "lam": (0.1, 0.2)}
    read = readers([], axes)
    assert {config.view for config in read} == {View(False, False), View(True, True)}
    assert [(config.m, config.ablation) for config in read] == [(0, "none"), (2, "none"), (2, "no-context")] * 2
    assert readers([], {}) == readers([], {"m": [0], "ablation": ["no-context"]}) == [TrainConfig()]
    assert readers(plan.trials, axes) == [trial.config for trial in plan.trials]


# Context of the centre -----------------------------------------------------------------------------------------------


def add_center(folder: Path, n: int = 60, left_out: int = 0) -> None:
    """A second store of context features, as of the encoder `test-center`."""
    store = open_store(find_stores(folder, "context")[0])
    identity = {**store.identity, "name": "test-center", "preprocessing": {"center_crop": 224}}
    samples = read_table(folder).samples.iloc[: n - left_out]
    rows = list(zip(samples["id"], samples["image_sha256"], strict=True))
    make_store(folder, identity, rows, lambda id: {"context": np.full(4, int(id[1:]), np.float32)}, size=64)


def test_the_store_of_the_centre_is_found_by_itself(tmp_path: Path) -> None:
    cache = make_cache(tmp_path)
    plain, centre = [TrainConfig()], [TrainConfig(keep_special=True, center_crop=True)]
    with pytest.raises(CacheError, match="no context features of the centre of the images in") as caught:
        find_features(cache, None, {}, centre)
    assert "--only context --context-encoder resnet18-center" in str(caught.value)
    add_center(cache / "planted")
    whole, middle, both = (find_features(cache, None, {}, configs) for configs in (plain, centre, plain + centre))
    assert set(whole.stores) == {"regions", "tokens", "context"}
    assert whole.stores["context"].identity["name"] == "test"
    assert middle.of(View(True, True))["context"].identity["name"] == "test-center"
    assert both.of(View(False, False))["context"].identity["name"] == "test"
    assert both.of(View(False, True))["context"].identity["name"] == "test-center"
    assert find_features(cache, None, {"context": "test-center"}, centre).stores.keys() == middle.stores.keys()


def cli(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


SMALL = ("--d", 8, "--k", 8, "--epochs", 1, "--batch-size", 16)


def remove_stores(cache: Path, *kinds: str) -> None:
    for kind in kinds:
        for store in find_stores(cache / "planted", kind):
            shutil.rmtree(store)


@pytest.mark.parametrize(
    ("words", "config", "unread"),
    [
        (("--head", "text-only"), {"head": "text-only"}, ("context", "regions")),
        (("--head", "image-only"), {"head": "image-only"}, ("tokens",)),
        (("--ablation", "no-context"), {"ablation": "no-context"}, ("context",)),
        (("--m", 0), {"m": 0}, ("regions",)),
    ],
)
def test_a_head_needs_stores_of_what_it_looks_at_alone(
    tmp_path: Path, words: tuple[object, ...], config: dict[str, Any], unread: tuple[str, ...]
) -> None:
    """Key and figures are those beside all stores; stores may go once a run is trained; sweeps ask for no more."""
    runs = {}
    for name, absent in (("beside", ()), ("alone", unread)):
        cache = make_cache(tmp_path / name)
        remove_stores(cache, *absent)
        cli("train", "--cache", cache, *words, *SMALL, "--out", tmp_path / "runs" / name)
        runs[name] = load_run(tmp_path / "runs" / name)
        assert set(runs[name].record["stores"]) == {"regions", "tokens", "context"} - set(absent)
    alone, beside = runs["alone"], runs["beside"]
    assert alone.record["key"] == beside.record["key"]
    assert alone.metrics == beside.metrics
    assert alone.predictions.equals(beside.predictions)
    remove_stores(tmp_path / "beside", *unread)
    assert cli("evaluate", beside.path) == cli("evaluate", alone.path)
    labels = [pair.prediction.label for pair in pairs_of(beside)]
    assert labels == alone.predictions.query("part == 'test'")["predicted"].tolist()
    small = ["--d", 8, "--k", 8, "--epochs", 1, "--batch-size", 16]
    for how in (("--workers", 1), ("--stack", 2, "--cuda-graphs")):
        out = tmp_path / str(how[0])
        swept = cli("sweep", "--cache", tmp_path / "alone", *words, *small, *how, "--device", "cpu", "--out", out)
        assert "Results: " in swept
        (result,) = Sweep(out).finished().values()
        assert result.key == alone.record["key"]
        assert result.figures["val_loss"] == pytest.approx(alone.metrics["val"]["loss"], rel=1e-5)
    read = sorted(TrainConfig(**config).inputs)[0]
    remove_stores(tmp_path / "alone", read)
    assert f"no {read} features" in cli("train", "--cache", tmp_path / "alone", *words, *SMALL, code=1)


def test_a_store_that_is_not_looked_at_decides_which_pairs_take_part(tmp_path: Path) -> None:
    cache = make_cache(tmp_path)
    add_center(cache / "planted", left_out=2)
    text = TrainConfig(head="text-only")
    for config, n in ((text, 60), (replace(text, center_crop=True), 58)):
        found = find_features(cache, None, {}, [config])
        features = load_features(found.table, found.of(config.view), 0, allow_missing=True, inputs=config.inputs)
        assert len(features) == n
    (center,) = (path for path in find_stores(cache / "planted", "context") if "center" in path.name)
    (center / "manifest.json").unlink()  # an extraction that has not ended decides nothing
    assert "context" not in find_features(cache, None, {}, [replace(text, center_crop=True)]).of(View(False, True))
    with pytest.raises(CacheError, match="no context features of other"):
        find_features(cache, None, {"context": "other"}, [text])


def test_official_from_the_command_line(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    said = cli("train", "--cache", cache, "--preset", "official", *SMALL, code=1)
    assert "--context-encoder resnet18-center" in said
    add_center(cache / "planted")
    cli("train", "--cache", cache, "--preset", "official", "--no-normalize", *SMALL, "--out", tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.config == TrainConfig(
        **with_preset({"preset": "official", "normalize": False, "d": 8, "k": 8, "epochs": 1, "batch_size": 16})
    )
    assert run.record["stores"]["context"]["identity"]["name"] == "test-center"
    assert "test" in cli("evaluate", tmp_path / "run")
    cli(
        *("sweep", "--cache", cache, "--preset", "paper,official", "--head", "itin,majority", "--d", 8),
        *("--k", 8, "--epochs", 1, "--workers", "1", "--out", tmp_path / "sweep"),
    )
    said = cli("runs", tmp_path / "sweep")
    assert [line.split()[4:6] for line in said.splitlines()[1:4]] == [
        ["itin", "paper"],
        ["majority", "paper"],
        ["itin", "official"],
    ]
    assert "normalize" not in said.splitlines()[0]


def test_a_sweep_over_views_wants_the_same_samples(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    add_center(cache / "planted", left_out=5)
    words = ["sweep", "--cache", str(cache), "--center-crop", "true,false", "--out", str(tmp_path / "sweep")]
    assert "5 of 60 labelled pairs of planted have no features" in CliRunner().invoke(main, words).output
    result = CliRunner().invoke(main, [*words, "--allow-missing"])
    assert result.exit_code == 1
    assert "are not of the same samples" in result.output
    assert "5 in only one of them" in result.output


def test_seeds(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    said = cli("train", "--cache", cache, "--head", "concat", "--seeds", 2, *SMALL, "--out", tmp_path / "runs")
    runs = [load_run(tmp_path / "runs" / f"seed{seed}") for seed in (0, 1)]
    values = [run.metrics["test"]["accuracy"] for run in runs]
    row = next(line for line in said.splitlines() if line.startswith("test"))
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in row
    assert "exclude each other" in cli("train", "--cache", cache, "--seed", 1, "--seeds", 2, code=2)


def test_event_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    cache = make_cache(tmp_path / "cache")
    cli("train", "--cache", cache, *SMALL, "--out", tmp_path / "run", "--tensorboard", tmp_path / "events")
    events = event_accumulator.EventAccumulator(str(tmp_path / "events" / "run"))
    events.Reload()
    history = load_run(tmp_path / "run").history
    assert [one.value for one in events.Scalars("loss/train")] == pytest.approx(list(history["train_loss"]))
    assert [one.value for one in events.Scalars("accuracy/validation")] == pytest.approx(list(history["val_accuracy"]))
    assert [one.step for one in events.Scalars("learning rate")] == [1]
    cli(
        *("sweep", "--cache", cache, "--d", 8, "--k", 8, "--epochs", 2, "--workers", "1"),
        *("--out", tmp_path / "sweep", "--tensorboard", tmp_path / "swept"),
    )
    (run,) = (tmp_path / "sweep" / "runs").iterdir()
    swept = event_accumulator.EventAccumulator(str(tmp_path / "swept" / run.name))
    swept.Reload()
    assert [one.value for one in swept.Scalars("loss/train")] == pytest.approx(
        list(load_run(run).history["train_loss"])
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said = cli("train", "--cache", cache, *SMALL, "--tensorboard", tmp_path / "more", code=1)
    assert "event files need TensorBoard, which is not installed" in said
    assert "pip install 'itin[tensorboard]'" in said


# The documentation ---------------------------------------------------------------------------------------------------


def test_docs_name_every_head_and_reading() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in HEADS:
        assert f"| `{name}`" in text
    for field in PRESETS["official"]:
        assert f"`{field}`" in text


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of the documentation, put where the file and the line would put it."""
    source, line = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.S)
    module = types.ModuleType("itin.itin_head.heads.product")
    module.__package__ = "itin.itin_head.heads"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "product.py", "exec"), module.__dict__)
    spec = eval(f"{{{line}}}", {"HeadSpec": HeadSpec, "GRU_SETTINGS": GRU_SETTINGS})
    for name, value in spec.items():
        monkeypatch.setitem(registry.HEADS, name, value)


def test_the_head_of_the_documentation_is_trained_stacked_and_evaluated(
    product: None, features: Features, split: Split, tmp_path: Path
) -> None:
    configs = [replace(BASE, head="product"), replace(BASE, head="product", seed=1)]
    for together, config in zip(results_of(configs, features, split), configs, strict=True):
        assert isinstance(together, Fit)
        same(together, fit(config, features, split))
    assert canonical(replace(configs[0], lam=0.9, center_crop=True), "x") == canonical(configs[0], "x")
    cache = make_cache(tmp_path / "cache")
    folder = cache / "planted"
    found = find_features(cache, None, {})
    from itin.train.runs.write import write_run

    own = load_features(read_table(folder), found.stores, 2)
    path = write_run(
        fit(configs[0], own, split), own, split, found.table.dataset, found.stores, "k", out=tmp_path / "run"
    )
    run = load_run(path)
    assert evaluate(run, own)["loss"] == pytest.approx(run.metrics["test"]["loss"])
    changed = {**run.record, "head": {**run.record["head"], "head": "gone"}}
    with pytest.raises(RunError, match="does not describe a run of this itin"):
        _rewritten(path, changed)


def _rewritten(path: Path, record: dict[str, Any]) -> None:
    import json

    (path / "config.json").write_text(json.dumps(record))
    load_run(path)


def test_options_without_effect_on_the_head_are_named(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    said = cli("train", "--cache", cache, "--head", "concat", "--gate", "vector", *SMALL, "--out", tmp_path / "concat")
    assert "Note: --gate, --k: no effect on the head concat\n" in said
    said = cli("train", "--cache", cache, "--gate", "vector", *SMALL, "--out", tmp_path / "itin")
    assert "no effect" not in said
    more = ("--ablation", "no-gate", "--gate", "vector")
    assert "Note: --gate: no effect on the head itin\n" in cli(
        "train", "--cache", cache, *more, *SMALL, "--out", tmp_path / "open"
    )
