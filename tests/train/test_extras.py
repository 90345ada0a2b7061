"""Lexicons and the learned table in training, in keys, in run folders, and in sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from itin.errors import DataError, RunError
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.features.load import texts_of
from itin.train.features.word_table import table_of
from itin.train.lexicons.values import lexicon_values, record_of
from itin.train.loop import Fit
from itin.train.presets import short_name
from itin.train.protocols.split import Split, random_split
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import Identity
from itin.train.steps import ComputeOptions
from itin.train.sweeps.axes import make_plan, parse_values, readers

from ..features import results_of
from .test_runs import NOW, TABLE, make_stores, write_of

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(
        not all(find_spec(package) for package in ("vaderSentiment", "afinn", "textblob")),
        reason="needs itin[lexicons]",
    ),
]

SMALL = TrainConfig(head="text-only", d=4, hidden=4, epochs=6, batch_size=16, lr=0.05)
SAYING = {0: ["I love this", "so happy!", "what a wonderful day"], 1: ["a table", "at the station", "some chairs"],
          2: ["I hate this", "so sad!", "what an awful day"]}  # fmt: skip


@pytest.fixture(scope="module")
def features() -> Features:
    """Features of noise; only texts and token ids say anything."""
    rng = np.random.default_rng(0)
    n = 120
    labels = rng.integers(3, size=n)
    texts = [SAYING[label][i % 3] + f" {i}" for i, label in enumerate(labels)]
    texts[5] = "Não é um adeus #happy"
    lengths = rng.integers(1, 5, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(1000, size=offsets[-1]).astype(np.int32)
    ids[offsets[:-1]] = 2000 + labels
    return Features(
        ids=[f"s{i}" for i in range(n)],
        labels=labels,
        regions=rng.normal(size=(n, 2, 6)).astype(np.float32),
        counts=np.full(n, 2),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float32),
        offsets=offsets,
        context=rng.normal(size=(n, 4)).astype(np.float32),
        dataset="my set",
        labelled=n,
        token_ids=ids,
        texts=texts,
        lexicons=lexicon_values(["vader", "afinn", "shape"], texts),
    )


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


def fitted(config: TrainConfig, features: Features, split: Split, **more: Any) -> Fit:
    (result,) = results_of([config], features, split, **more)
    assert isinstance(result, Fit)
    return result


@pytest.mark.parametrize("beside", [{"lexicons": "vader+afinn"}, {"lexical": 4}, {"lexical": 4, "lexicons": "shape"}])
def test_training_learns_from_them(beside: dict[str, Any], features: Features, split: Split) -> None:
    without = fitted(SMALL, features, split).metrics["test"]["accuracy"]
    result = fitted(replace(SMALL, epochs=15, **beside), features, split)
    assert without < 0.7
    assert result.metrics["test"]["accuracy"] > 0.9


def test_scale_and_table_are_those_of_the_training_part(features: Features, split: Split) -> None:
    config = replace(SMALL, lexicons="shape+vader", lexical=2, max_words=3)
    state = fitted(config, features, split).state_dict
    values = np.concatenate([features.lexicons["vader"], features.lexicons["shape"]], 1)[split.train].astype(np.float64)
    sd = np.nanstd(values, 0)
    np.testing.assert_allclose(state["extra.mean"], np.nanmean(values, 0), rtol=1e-6)
    np.testing.assert_allclose(state["extra.scale"], np.where(sd > 1e-9, 1 / np.maximum(sd, 1e-9), 0), rtol=1e-5)
    assert state["extra.keys"].tolist() == table_of(features, split.train, 3).tolist()
    assert state["extra.table"].shape == (len(state["extra.keys"]), 2)


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("head", ["text-only", "itin", "pooled"])
def test_side_by_side_as_alone(head: str, graphs: bool, features: Features, split: Split) -> None:
    config = replace(SMALL, head=head, k=3, lexicons="vader", lexical=3, epochs=2)
    configs = [replace(config, seed=seed) for seed in range(3)]
    together = results_of(configs, features, split, compute=ComputeOptions(graphs))
    for one, result in zip(configs, together, strict=True):
        alone = fitted(one, features, split)
        assert isinstance(result, Fit)
        np.testing.assert_allclose(result.probabilities["test"], alone.probabilities["test"], atol=1e-5)
        assert result.best_epoch == alone.best_epoch


def test_word_dropout_side_by_side_as_alone(features: Features, split: Split) -> None:
    config = replace(SMALL, lexical=4, word_dropout=0.3)
    configs = [config, replace(config, seed=1)]
    for one, result in zip(configs, results_of(configs, features, split), strict=True):
        first, again = fitted(one, features, split), fitted(one, features, split)
        np.testing.assert_array_equal(first.probabilities["test"], again.probabilities["test"])
        assert isinstance(result, Fit)
        np.testing.assert_allclose(result.probabilities["test"], first.probabilities["test"], atol=1e-5)
    first = fitted(config, features, split)
    other = fitted(replace(config, word_dropout=0.0), features, split)
    assert (first.probabilities["test"] != other.probabilities["test"]).any()


def test_keys(features: Features, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity(features, TABLE, make_stores())

    def key(**changes: Any) -> str:
        return identity.key(replace(SMALL, **changes), split)

    keys = [key(**each) for each in ({}, {"lexicons": "vader"}, {"lexicons": "vader+shape"}, {"lexical": 2},
                                     {"lexical": 3}, {"lexical": 3, "word_dropout": 0.1})]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key(lexicons="shape, vader") == key(lexicons="vader+shape")
    assert key(lexicons="none") == key(word_dropout=0.1) == key()
    blind = {"head": "image-only"}  # reads no text
    assert key(**blind, lexicons="vader", lexical=2, word_dropout=0.1) == key(**blind)
    bare = Identity(replace(features, lexicons={}, token_ids=None), TABLE, make_stores())
    assert bare.key(SMALL, split) == key()
    monkeypatch.setattr("itin.train.runs.key.record_of", lambda names: {"vader": {"version": "0"}})
    assert key(lexicons="vader") != keys[1]


def test_a_run_keeps_them(features: Features, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, lexicons="vader+shape", lexical=3)
    result = fitted(config, features, split)
    path = write_of(result, features, split, make_stores(), parent=tmp_path, now=NOW)
    assert path.name == "20240131-142530-my_set-text-only-vader+shape-lexical3-seed0"
    run = load_run(path)
    assert run.config.lexicons == "vader+shape"
    assert run.lexicons == ("vader", "shape")
    assert run.record["lexicons"] == record_of(["vader", "shape"])
    assert run.head_config.lexicon_values == 13
    assert load_file(path / "model.safetensors")["extra.keys"].shape == (run.head_config.entries,)
    again = evaluate(run, features)
    assert again["accuracy"] == run.metrics["test"]["accuracy"]
    assert again["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-6)
    spoilt = {**features.lexicons, "vader": features.lexicons["vader"][::-1].copy()}
    assert evaluate(run, replace(features, lexicons=spoilt))["loss"] != pytest.approx(again["loss"], abs=1e-3)

    file = path / "config.json"
    record = json.loads(file.read_text())
    record["lexicons"]["vader"]["version"] = "1.0"
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"with another vader lexicon[\s\S]*'version': '1.0'[\s\S]*vaderSentiment==1.0"):
        _ = load_run(path).lexicons
    record["lexicons"]["shape"]["revision"], record["lexicons"]["vader"] = 0, run.record["lexicons"]["vader"]
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"with another shape lexicon[\s\S]*train the run again"):
        _ = load_run(path).lexicons


def test_a_run_without_them_says_nothing(features: Features, split: Split, tmp_path: Path) -> None:
    path = write_of(fitted(SMALL, features, split), features, split, make_stores(), parent=tmp_path)
    run = load_run(path)
    assert "lexicons" not in run.record
    assert run.lexicons == ()
    assert not any(name.startswith("extra") for name in load_file(path / "model.safetensors"))
    assert isinstance(evaluate(run, replace(features, lexicons={}, token_ids=None)), dict)


def test_axes() -> None:
    assert parse_values("lexicons", "none,vader+shape, shape+vader") == ("none", "vader+shape", "shape+vader")
    axes = {"head": ("image-only", "text-only"), "lexicons": ("none", "vader+shape"), "lexical": (0, 2)}
    plan = make_plan("grid", axes, [0])
    assert len(plan.trials) == 8
    assert [short_name(trial.config) for trial in plan.trials[4:]] == [
        "text-only", "text-only-lexical2", "text-only-vader+shape", "text-only-vader+shape-lexical2"
    ]  # fmt: skip
    assert {name for config in readers([], axes) for name in config.lexicon_names} == {"vader", "shape"}
    with pytest.raises(ValueError, match="lexicons=vader,nrc: expected none, or"):
        parse_values("lexicons", "vader,nrc")


def test_a_table_without_texts() -> None:
    assert texts_of(pd.DataFrame({"text": ["a", "b"]})) == ["a", "b"]
    with pytest.raises(DataError, match=r"holds no texts, which lexicons read[\s\S]*the column text"):
        texts_of(pd.DataFrame({"id": ["a"]}))


def test_values_are_those_of_the_chosen_lexicons() -> None:
    for text in ("vader,afinn", "afinn+vader", "afinn, vader"):
        assert TrainConfig(lexicons=text).lexicons == "vader+afinn"
    assert TrainConfig(lexicons="none") == TrainConfig()
    assert TrainConfig.from_dict(TrainConfig(lexicons="shape").to_dict()).lexicon_names == ("shape",)
    assert TrainConfig(lexicons="shape", head="majority").lexicon_names == ()
