"""A scene in the frame of training: features, batches, keys, runs side by side, sweeps and their tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from itin.cache import read_table
from itin.cli import main
from itin.errors import CacheError
from itin.report.names import head_name, names_of
from itin.report.sweep_sections import sweep_sections
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.find import find_features
from itin.train.features.load import load_features
from itin.train.features.shared import open_features, save_features
from itin.train.loop import Fit, fit
from itin.train.protocols.split import Split, random_split
from itin.train.runs.folder import load_run
from itin.train.runs.key import Identity
from itin.train.runs.listing import runs_table
from itin.train.steps import ComputeOptions
from itin.train.sweeps.axes import parse_values, readers
from itin.train.sweeps.folder import Sweep

from ..features import identity, make_cache, make_store, results_of

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

N = 60
BASE = TrainConfig(m=2, d=6, k=5, hidden=5, batch_size=16, epochs=2, lr=5e-3)
READ = {"multisentinet": {}, "mvan": {}, "pooled": {"scene": True}}


def vector(sample: str) -> np.ndarray:
    return np.random.default_rng([int(sample[1:]), 77]).normal(size=5).astype(np.float16)


def add_scene(folder: Path, name: str = "places", left_out: int = 0, shift: float = 0) -> None:
    samples = read_table(folder).samples.iloc[: N - left_out]
    rows = list(zip(samples["id"], samples["image_sha256"], strict=True))
    one = identity("scene", name, "float16", 5)
    make_store(folder, one, rows, lambda id: {"scene": vector(id) + np.float16(shift)}, size=32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_cache(tmp_path_factory.mktemp("scene"), n=N)
    add_scene(made / "planted")
    return made


def load(cache: Path, config: TrainConfig, mapped: bool | None = None) -> Features:
    found = find_features(cache, None, {}, [config])
    return load_features(found.table, found.stores, 3, inputs=config.inputs, mapped=mapped)


@pytest.fixture(scope="module")
def features(cache: Path) -> Features:
    return load(cache, replace(BASE, head="mvan"))


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


# Features ------------------------------------------------------------------------------------------------------------


def test_it_is_read_in_the_order_of_the_samples(cache: Path, features: Features, tmp_path: Path) -> None:
    want = np.stack([vector(sample) for sample in features.ids])
    assert features.scene is not None
    np.testing.assert_array_equal(features.scene, want)
    mapped = load(cache, replace(BASE, head="mvan"), mapped=True)
    save_features(mapped, tmp_path / "shared")
    for one in (mapped, open_features(tmp_path / "shared")):
        assert one.scene is not None
        np.testing.assert_array_equal(one.scene, want)
        assert one.dims["scene_dim"] == 5
        rows = torch.tensor([[4, 1, 50], [0, 0, 7]])
        extras = ResidentFeatures(one, torch.device("cpu"), 2, uses=["scene_dim"]).batch(rows).extras
        assert extras is not None
        assert extras.scene is not None
        assert extras.scene.dtype == torch.float32
        np.testing.assert_array_equal(extras.scene.numpy(), want[rows.numpy()].astype(np.float32))
        assert ResidentFeatures(one, torch.device("cpu"), 2).batch(rows).extras is None
    with pytest.raises(ValueError, match="features: expected a scene, which the head reads, got none"):
        ResidentFeatures(replace(features, scene=None), torch.device("cpu"), 2, uses=["scene_dim"])
    with pytest.raises(ValueError, match=r"scene: expected \(60, P\), got \(59, 5\)"):
        replace(features, scene=want[1:])


def test_only_heads_that_ask_for_it_look_for_it(cache: Path) -> None:
    for head, more, want in (
        ("itin", {}, False),
        ("itin", {"scene": True}, False),
        ("pooled", {}, False),
        ("pooled", {"scene": True}, True),
        ("linear", {"scene": True}, True),
        ("mvan", {}, True),
        ("mvan", {"scene": False}, False),
        ("comn", {}, False),
    ):
        config = replace(BASE, head=head, **more)  # type: ignore[arg-type]
        assert ("scene" in find_features(cache, None, {}, [config]).stores) == want, (head, more)
        features = load(cache, config)
        assert (features.scene is not None) == want
        dims = config.head_config({**features.dims, "classes": 3})
        assert dims.reads_scene == want
        assert dims.scene_dim == 5 * want


def test_one_that_is_not_there(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, n=N)
    assert "scene" not in find_features(cache, None, {}, [replace(BASE, head="mvan")]).stores
    asked = replace(BASE, head="mvan", scene=True)
    with pytest.raises(CacheError, match="no scene features in") as caught:
        find_features(cache, None, {}, [asked])
    assert "itin extract --only scene --scene-encoder NAME" in str(caught.value)
    found = find_features(cache, None, {}, [BASE])
    with pytest.raises(CacheError, match="no scene features of planted") as caught:
        load_features(found.table, found.stores, 2, inputs=asked.inputs)
    assert "itin extract --only scene --scene-encoder NAME" in str(caught.value)
    add_scene(cache / "planted", left_out=2)
    add_scene(cache / "planted", "clip", shift=1)
    with pytest.raises(CacheError, match="several stores hold scene features") as caught:
        find_features(cache, None, {}, [asked])
    assert "--scene-encoder scene-clip" in str(caught.value)
    with pytest.raises(CacheError, match="no scene features of vgg in"):
        find_features(cache, None, {"scene": "vgg"}, [replace(BASE, head="mvan")])
    for head in ("itin", "pooled"):
        with pytest.raises(
            ValueError, match="expected a head that reads the scene, pooled, itin-plus, linear, multisentinet"
        ):
            find_features(cache, None, {"scene": "clip"}, [replace(BASE, head=head)])
    found = find_features(cache, None, {"scene": "places"}, [asked])
    features = load_features(found.table, found.stores, 2, inputs=asked.inputs)
    assert (len(features), features.missing["scene"]) == (N - 2, 2)


# Training ------------------------------------------------------------------------------------------------------------


def same(one: Fit, other: Fit) -> None:
    for row, own in zip(one.history, other.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert row[name] == pytest.approx(own[name], rel=1e-4)
    for part, values in one.probabilities.items():
        np.testing.assert_allclose(values, other.probabilities[part], atol=1e-4)


def losses(made: Fit) -> list[float]:
    return [row["val_loss"] for row in made.history]


@pytest.mark.parametrize("head", READ)
def test_side_by_side_is_alone(head: str, features: Features, split: Split) -> None:
    """And as an ensemble, and in the static shapes of CUDA graphs; the scene makes a difference."""
    base = replace(BASE, head=head, dropout=0.2, **READ[head])  # type: ignore[arg-type]
    configs = [base, replace(base, seed=1, m=1), replace(base, seed=2, m=3)]
    alone = [fit(config, features, split) for config in configs]
    for together, one in zip(results_of(configs, features, split), alone, strict=True):
        assert isinstance(together, Fit)
        same(together, one)
    still = replace(base, dropout=0.0)
    (static,) = results_of([still], features, split, compute=ComputeOptions(graphs=True))
    assert isinstance(static, Fit)
    same(static, fit(still, features, split))
    ensemble = fit(replace(still, ensemble=2, epochs=1), features, split).probabilities["test"]
    each = [fit(replace(still, seed=seed, epochs=1), features, split).probabilities["test"] for seed in (0, 1)]
    np.testing.assert_allclose(ensemble, np.mean(each, axis=0), atol=1e-5)
    other = replace(features, scene=features.scene[::-1].copy())  # type: ignore[index]
    assert losses(fit(base, other, split)) != losses(alone[0])
    without = losses(fit(replace(base, scene=False), features, split))
    assert without == losses(fit(replace(base, scene=False), replace(features, scene=None), split))
    assert without != losses(alone[0])


def test_pooled_measures_it_on_the_training_part_alone(features: Features, split: Split) -> None:
    result = fit(replace(BASE, head="pooled", scene=True, epochs=1), features, split)
    assert features.scene is not None
    own = features.scene[split.train].astype(np.float64)
    np.testing.assert_allclose(result.state_dict["scene_mean"], own.mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(result.state_dict["scene_sd"], own.std(0), rtol=1e-5)


def test_linear_solves_with_it(cache: Path, split: Split) -> None:
    """Its columns are those of the scene standardised; where it tells the label it is used."""
    config = replace(BASE, head="linear", scene=True, logistic_c=1.0, word_ngrams=0, char_ngrams=0, means_scale=1.0)
    features = load(cache, config)
    told = np.eye(5, dtype=np.float16)[features.labels]
    result = fit(config, replace(features, scene=told), split)
    assert result.metrics["val"]["accuracy"] == result.metrics["test"]["accuracy"] == 1.0
    columns = sum(features.dims[name] for name in ("token_dim", "context_dim", "scene_dim"))
    assert result.state_dict["weight"].shape == (3, columns)
    assert fit(replace(config, scene=False), features, split).state_dict["weight"].shape == (3, columns - 5)


# Keys ----------------------------------------------------------------------------------------------------------------


def key(cache: Path, config: TrainConfig, name: str | None = None) -> str:
    found = find_features(cache, None, {"scene": name}, [config])
    features = load_features(found.table, found.stores, config.regions, inputs=config.inputs)
    return Identity(features, found.table, found.stores).key(config, random_split(features.ids, 0))


def test_keys(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, n=N)
    before = {head: key(cache, replace(BASE, head=head)) for head in ("itin", *READ, "linear")}
    add_scene(cache / "planted")
    one = {head: key(cache, replace(BASE, head=head, scene=True)) for head in before}
    assert {head for head in before if one[head] == before[head]} == {"itin"}
    assert {head: key(cache, replace(BASE, head=head, scene=False)) for head in before} == before
    assert {head for head in before if key(cache, replace(BASE, head=head)) != before[head]} == {
        "multisentinet",
        "mvan",
    }
    for head in ("multisentinet", "mvan"):
        assert key(cache, replace(BASE, head=head)) == one[head]
    assert key(cache, replace(BASE, head="multisentinet", m=1)) == one["multisentinet"]
    assert key(cache, replace(BASE, head="mvan", m=1)) != one["mvan"]
    add_scene(cache / "planted", "clip", shift=1)
    assert key(cache, replace(BASE, head="mvan"), "places") == one["mvan"]
    assert key(cache, replace(BASE, head="mvan"), "clip") != one["mvan"]
    assert key(cache, replace(BASE, head="pooled")) == before["pooled"]
    no_means = replace(BASE, head="linear", means_scale=0.0)
    assert key(cache, replace(no_means, scene=True)) == key(cache, no_means)


# Sweeps --------------------------------------------------------------------------------------------------------------


def itin(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


SMALL = ("--d", 6, "--k", 5, "--hidden", 5, "--epochs", 1, "--batch-size", 16, "--device", "cpu")


@pytest.mark.parametrize("how", [("--workers", 2), ("--stack", 2)])
def test_a_sweep_shares_it_and_its_tables_tell(cache: Path, tmp_path: Path, how: tuple[object, ...]) -> None:
    words = ("--cache", cache, "--head", "itin,pooled,mvan,multisentinet", "--scene", "none,false")
    said = itin("sweep", *words, *SMALL, *how, "--out", tmp_path / "sweep")
    sweep = Sweep(tmp_path / "sweep")
    table = sweep.results()
    assert set(table["status"]) == {"done"}
    assert len({*table["key"]}) == 6  # itin and pooled are the same twice
    runs = {run.record["key"]: run for run in map(load_run, (tmp_path / "sweep" / "runs").iterdir())}
    assert {run.config.head: run.head_config.scene_dim for run in runs.values() if run.head_config.reads_scene} == {
        "mvan": 5,
        "multisentinet": 5,
    }
    names = {
        "itin",
        "pooled",
        "mvan*",
        "mvan* (mean region as scene)",
        "multisentinet",
        "multisentinet (mean region as scene)",
    }
    assert set(names_of([*runs.values()])) == {"ITIN", *names - {"itin"}}
    assert {head_name(run) for run in runs.values()} == {"ITIN", *names - {"itin"}}
    (section, *_) = sweep_sections(sweep, 1)
    assert section.table is not None
    assert set(section.table["head"]) == names
    flat = " ".join(said.split())
    assert "mvan* (mean region as scene)" in flat
    listed, _ = runs_table([tmp_path / "sweep"])
    assert {(row["head"], row["has"]) for _, row in listed.iterrows()} == {
        *((head, "scene_dim") for head in ("mvan", "multisentinet")),
        *((head, "") for head in ("itin", "pooled", "mvan", "multisentinet")),
    }
    header, *lines = itin("runs", tmp_path / "sweep").splitlines()
    assert sum("mvan*" in line for line in lines) == 2 * sum("mvan* (mean" in line for line in lines) == 2
    assert "scene" not in header.split()  # the head tells
    alone = itin("train", "--cache", cache, "--head", "mvan", *SMALL, "--out", tmp_path / "alone")
    assert "mean region" not in alone
    one = load_run(tmp_path / "alone")
    assert one.record["key"] in runs
    mine, theirs = (
        pd.DataFrame(run.predictions[run.predictions["part"] == "val"]) for run in (one, runs[one.record["key"]])
    )
    for column in ("p_positive", "p_neutral", "p_negative"):
        np.testing.assert_allclose(mine[column], theirs[column], atol=1e-4)
    before = (tmp_path / "sweep" / "results.csv").read_bytes()
    itin("sweep", "--resume", tmp_path / "sweep", *how, "--device", "cpu")
    assert (tmp_path / "sweep" / "results.csv").read_bytes() == before


def test_it_is_an_axis(cache: Path) -> None:
    assert parse_values("scene", "true,false,none") == (True, False, None)
    read = readers([], {"head": ("pooled",), "scene": (None, True)})
    assert {"scene"} & frozenset().union(*(config.inputs for config in read))


def test_a_table_of_listed_runs_says_when_it_was_asked_for(cache: Path, tmp_path: Path) -> None:
    itin("sweep", "--cache", cache, "--head", "pooled", "--scene", "true,false", *SMALL, "--out", tmp_path / "sweep")
    header, *lines = itin("runs", tmp_path / "sweep").splitlines()
    assert "scene" in header.split()
    assert sorted(word for line in lines for word in line.split() if word in ("True", "False")) == ["False", "True"]
