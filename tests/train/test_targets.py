"""Targets: keys, training and run folders, and that runs on the label stay what they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from itin.cache.table import write_table
from itin.cli import main
from itin.errors import RunError
from itin.extract.data.datasets import open_dataset
from itin.targets import UNKNOWN, Target
from itin.train.config import TrainConfig, select_of
from itin.train.features.features import Features, TargetColumn
from itin.train.loop import Fit, fit, train
from itin.train.protocols.protocol import Protocol
from itin.train.protocols.split import Split, random_split
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import Identity
from itin.train.runs.write import write_run

from .. import published_sets
from ..features import make_stores
from ..features import planted as planted_features
from ..several_targets import LEVEL, MOOD, SCORE, label_alone, several, table_of
from .test_loop import SMALL

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


@pytest.fixture(scope="module")
def splitter(features: Features) -> TargetSplitter:
    return TargetSplitter.of(Protocol(), features, table_of(features))


def test_keys_of_the_label_do_not_depend_on_further_targets(features: Features, splitter: TargetSplitter) -> None:
    own = label_alone(features)
    table, stores = table_of(features), {kind: SimpleNamespace(fingerprint=kind) for kind in ("regions", "tokens")}
    alone, among = Identity(own, table, stores), Identity(features, table, stores)
    split = TargetSplitter.of(Protocol(), own, table).split()
    assert among.key(SMALL, splitter.split()) == alone.key(SMALL, split)
    assert alone.samples == alone.samples_of(("label",)) == among.samples_of(("label",)) != among.samples


def test_keys_tell_targets_apart_and_nothing_else(features: Features) -> None:
    identity = Identity(features, table_of(features), {})

    def key(**values: Any) -> str:
        return identity.of(replace(SMALL, **values), "parts")

    different = [
        {},
        {"target": "level"},
        {"target": "score"},
        {"target": "score", "loss": "huber"},
        {"target": "score", "select": "mae"},
        {"target": "label+score"},
        {"target": "score+label"},
        {"target": "label+score", "target_weights": "1+0.5"},
        {"target": "label+score", "target_weights": "1+0.50000001"},
        {"select": "loss"},
    ]
    assert len({key(**one) for one in different}) == len(different)
    for one, same in (
        ({"loss": "huber"}, {}),
        ({"select": "accuracy"}, {}),
        ({"target": "label+score", "target_weights": "1+1.0"}, {"target": "label+score"}),
        ({"target": "label + score"}, {"target": "label+score"}),
        ({"target": "score", "select": "loss"}, {"target": "score"}),
    ):
        assert key(**one) == key(**same)


def test_a_changed_value_changes_the_key(features: Features) -> None:
    values = features.column("score").values.copy()
    values[np.flatnonzero(features.column("score").known)[-1]] += 0.125
    changed = replace(features, further={**features.further, "score": TargetColumn(SCORE, values)})
    ids = [Identity(one, table_of(features), {}) for one in (features, changed)]
    config = replace(SMALL, target="score")
    assert ids[0].of(config, "parts") != ids[1].of(config, "parts")
    assert ids[0].of(SMALL, "parts") == ids[1].of(SMALL, "parts")


# Training ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(features: Features, splitter: TargetSplitter) -> tuple[Fit, Split]:
    config = replace(SMALL, target="score+label+level")
    split = splitter.split(0, 0, config.targets)
    return fit(config, features, split), split


def test_it_learns_all_of_several_targets(trained: tuple[Fit, Split]) -> None:
    test = trained[0].metrics["test"]
    assert test["mae"] < 0.6 * test["baseline"]["mae"]
    for name in ("label", "level"):
        own = test["targets"][name]
        assert own["accuracy"] >= own["majority"]["accuracy"] + 0.25
    assert list(trained[0].history[0]) == [
        *("epoch", "lr", "train_loss", "train_mae", "val_loss", "val_mae", "val_pearson", "seconds")
    ]
    assert trained[0].best_epoch == 1 + int(np.argmin([row["val_loss"] for row in trained[0].history]))


def test_scores_are_those_of_what_was_said(trained: tuple[Fit, Split], features: Features) -> None:
    made, split = trained
    for part in ("val", "test"):
        true, said = features.column("score").values[split.rows(part)], made.predicted[part]["score"]
        assert made.metrics[part]["mae"] == pytest.approx(float(np.abs(true - said).mean()), rel=1e-12)
        level = features.column("level")
        known = level.known[split.rows(part)]
        right = made.predicted[part]["level"].argmax(1)[known] == level.values[split.rows(part)][known]
        assert made.metrics[part]["targets"]["level"]["accuracy"] == pytest.approx(float(right.mean()))
        assert made.metrics[part]["targets"]["level"]["n"] == int(known.sum())


@pytest.mark.parametrize("target", ["level", "score", "label+score+level"])
def test_side_by_side_is_alone(features: Features, splitter: TargetSplitter, target: str) -> None:
    configs = [replace(SMALL, epochs=2, seed=seed, target=target, select="loss") for seed in (0, 1)]
    split = splitter.split(0, 0, configs[0].targets)
    stacked = {j: one for j, one in train(configs, features, split) if isinstance(one, Fit)}
    for j, config in enumerate(configs):
        alone = fit(config, features, split)
        for one, other in zip(alone.history, stacked[j].history, strict=True):
            for name in set(one) - {"seconds"}:
                assert other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-4)


def test_a_run_on_the_label_is_the_same_among_further_targets(features: Features, splitter: TargetSplitter) -> None:
    own = label_alone(features)
    config = replace(SMALL, epochs=2)
    alone = fit(config, own, TargetSplitter.of(Protocol(), own, table_of(features)).split())
    among = fit(config, features, splitter.split())
    assert all(torch.equal(value, among.state_dict[name]) for name, value in alone.state_dict.items())
    assert alone.metrics == among.metrics


def test_a_run_folder_holds_every_target(trained: tuple[Fit, Split], features: Features, tmp_path: Path) -> None:
    made, split = trained
    path = write_run(made, features, split, {"name": "planted"}, {}, "key", out=tmp_path / "run")
    run = load_run(path)
    assert (run.target, run.targets) == (SCORE, (SCORE, MOOD, LEVEL))
    assert run.classes == ()
    for part in ("val", "test"):
        own = run.predictions[run.predictions["part"] == part]
        assert own["predicted"].tolist() == made.predicted[part]["score"].tolist()
        assert own["label"].tolist() == features.column("score").values[split.rows(part)].tolist()
        again = evaluate(run, features, part=part)
        assert json.loads(json.dumps(again)) == json.loads(json.dumps(made.metrics[part]))
    text = (path / "predictions.level.csv").read_text().splitlines()
    assert text[0] == "id,part,label,predicted,p_low,p_middle,p_high"
    unknown = [line for line in text[1:] if line.split(",")[2] == ""]
    known = features.column("level").known
    assert len(unknown) == sum(int((~known[split.rows(part)]).sum()) for part in ("val", "test"))
    width = json.loads((path / "metrics.json").read_text())["conformal"]["half_width"]["score"]
    away = np.sort(np.abs(features.column("score").values[split.val] - made.predicted["val"]["score"]))
    assert width == away[int(np.ceil((len(away) + 1) * 0.9)) - 1]


@pytest.mark.parametrize("target", ["score+level", "level+score"])
def test_a_run_whose_first_target_lacks_values_is_evaluated(target: str, features: Features, tmp_path: Path) -> None:
    """A pair is among a run's where any of its targets is known."""
    gaps = features.column("score").values.copy()
    gaps[::5] = np.nan
    features = replace(features, further={**features.further, "score": TargetColumn(SCORE, gaps)})
    split = random_split(features.ids, 0)
    made = fit(replace(SMALL, epochs=1, target=target), features, split)
    run = load_run(write_run(made, features, split, {"name": "planted"}, {}, "key", out=tmp_path / "run"))
    for part in ("val", "test"):
        rows = split.rows(part)
        known = features.column(run.target.name).known[rows]
        assert 0 < known.sum() < len(rows)
        labels = run.predictions.loc[run.predictions["part"] == part, "label"]
        assert (labels.isna() | (labels == "")).tolist() == (~known).tolist()
        again = evaluate(run, features, part=part)
        assert json.loads(json.dumps(again)) == json.loads(json.dumps(made.metrics[part]))
    first = features.column(run.target.name)
    values = first.values.copy()
    values[split.test[first.known[split.test]][0]] = np.nan if first.target.is_number else UNKNOWN
    changed = replace(features, further={**features.further, run.target.name: TargetColumn(first.target, values)})
    with pytest.raises(RunError, match=r"the labels are not those of the run[\s\S]*another label of 1 pair: "):
        evaluate(run, changed, part="test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "label+"}, r"target: expected names joined by \+, each once, got 'label\+'"),
        ({"target": "label+label"}, "target: expected names joined by"),
        (
            {"target_weights": "1+2"},
            r"expected 1 numbers joined by \+, one for each of label, got '1\+2'",
        ),
        ({"target_weights": "0"}, r"target_weights: expected numbers above 0 joined by \+, such as 1\+0.5, got '0'"),
        ({"target_weights": "much"}, "target_weights: expected numbers above 0"),
        ({"loss": "mae"}, "loss: expected one of mse, huber, ccc, got 'mae'"),
    ],
)
def test_wrong_values(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)  # type: ignore[arg-type]


def test_a_score_belongs_to_its_kind_of_target() -> None:
    assert [select_of(TrainConfig(), one) for one in (MOOD, LEVEL, SCORE)] == ["accuracy", "accuracy", "loss"]
    with pytest.raises(ValueError, match="select: expected one of accuracy, weighted_f1, macro_f1, loss for"):
        select_of(TrainConfig(select="mae"), MOOD)
    with pytest.raises(ValueError, match="for the target score, got 'accuracy'"):
        select_of(TrainConfig(select="accuracy"), SCORE)


def test_an_ordered_label_is_learnt_as_one(features: Features, tmp_path: Path) -> None:
    own = replace(label_alone(features), ordered=True)
    split = TargetSplitter.of(Protocol(), own, table_of(own)).split()
    made = fit(replace(SMALL, epochs=1), own, split)
    assert made.targets == (replace(MOOD, kind="ordered"),)
    assert made.head.classes == 2  # steps between three classes
    run = load_run(write_run(made, own, split, {"name": "planted"}, {}, "key", out=tmp_path / "run"))
    assert evaluate(run, own) == run.metrics["test"]
    assert Identity(own, table_of(own), {}).samples != Identity(replace(own, ordered=False), table_of(own), {}).samples


def test_three_targets_of_msed_from_its_own_files(tmp_path: Path) -> None:
    """Sentiment, emotion and desire, in the data set's own split, from the annotation files to the run's tables."""
    moods = [("positive", "happiness", "family"), ("neutral", "neutral", "none"), ("negative", "sad", "vengeance")]
    rows = [(f"Title {i}", f"A caption {i}", *moods[i % 3]) for i in range(24)]
    dataset = open_dataset("msed", published_sets.msed(tmp_path / "msed", lambda part: rows))
    label = Target(classes=dataset.classes)
    samples = [
        {
            "id": entry.id,
            "label": entry.label,
            "part": entry.part,
            "targets": entry.targets,
            "text": entry.text,
            "image": str(entry.image),
            "image_sha256": f"{number:064x}",
            "text_sha256": f"{number + 1000:064x}",
        }
        for number, entry in enumerate(dataset.entries)
    ]
    targets = [one.to_dict() for one in (label, *dataset.targets)]
    record = {"name": "msed", "classes": list(label.classes), "targets": targets}
    write_table(tmp_path / "cache" / "msed", record, samples, [])
    folder = tmp_path / "cache" / "msed"
    make_stores(folder, samples, lambda kind, i: planted_features(kind, i, i % 3, [-1, 0, 1, -1], 2))
    words = ["train", "--cache", str(tmp_path / "cache"), "--target", "sentiment+emotion+desire"]
    words += ["--target-weights", "1+0.5+2"]
    small = [
        "--head",
        "concat",
        "--d",
        "8",
        "--hidden",
        "8",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--protocol",
        "own",
    ]
    said = CliRunner().invoke(main, [*words, *small, "--out", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    headings = [line.split()[0] for line in said.output.splitlines() if " accuracy " in line]
    assert headings == ["sentiment", "emotion", "desire"]
    run = load_run(tmp_path / "run")
    assert [len(target.classes) for target in run.targets] == [3, 6, 7]
    assert run.head_config.classes == 16
    assert run.record["split"]["sizes"] == {"train": 24, "val": 24, "test": 24}
    for name, place in (("emotion", 1), ("desire", 2)):
        table = pd.read_csv(tmp_path / "run" / f"predictions.{name}.csv")
        assert table["label"].tolist() == [moods[i % 3][place] for i in range(24)] * 2
        right = table[table["part"] == "test"].eval("label == predicted").mean()
        assert run.metrics["test"]["targets"][name]["accuracy"] == pytest.approx(float(right))
