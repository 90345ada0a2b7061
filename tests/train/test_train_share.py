"""Shares of the training part: which pairs they hold, their keys, and the learning curve of a sweep over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.report.report import report
from itin.report.sweep_sections import learning_curve
from itin.targets import UNKNOWN
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.presets import short_name
from itin.train.protocols.protocol import Protocol
from itin.train.protocols.split import Inner
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.folder import load_run
from itin.train.statistics import over_seeds
from itin.train.sweeps.folder import Sweep

from ..features import make_cache
from ..several_targets import several, table_of
from .test_sweep import sweep_data

pytestmark = pytest.mark.usefixtures("one_thread")

SHARES = (0.05, 0.125, 0.25, 0.5, 0.77, 1.0)
TARGETS = ("label", "level", "score")


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


@pytest.fixture(scope="module")
def splitter(features: Features) -> TargetSplitter:
    return TargetSplitter.of(Protocol.parse("folds:5", "exact"), features, table_of(features))


def of_class(features: Features, rows: np.ndarray, label: int) -> list[int]:
    return [row for row in rows.tolist() if features.labels[row] == label]


@pytest.mark.parametrize("seed", [0, 4])
def test_shares_are_stratified_nested_and_leave_the_other_parts(
    features: Features, splitter: TargetSplitter, seed: int
) -> None:
    whole = splitter.split(seed, 1, TARGETS)
    held: set[int] = set()
    for share in SHARES:
        split = splitter.split(seed, 1, TARGETS, share)
        assert np.array_equal(split.val, whole.val)
        assert np.array_equal(split.test, whole.test)
        assert held <= set(split.train.tolist()) <= set(whole.train.tolist())
        held = set(split.train.tolist())
        for label in (0, 1, 2, UNKNOWN):
            every, own = of_class(features, whole.train, label), of_class(features, split.train, label)
            assert abs(len(own) - share * len(every)) <= 1
        labelled = sum(features.labels[row] != UNKNOWN for row in whole.train)
        assert sum(features.labels[row] != UNKNOWN for row in held) == int(share * labelled + 0.5)
        assert split.description["sizes"]["train"] == len(held)
        assert split.description.get("train_share", 1.0) == share
    assert held == set(whole.train.tolist())
    half = splitter.split(seed, 1, TARGETS, 0.5)
    again = splitter.split(seed, 1, ("label",), 0.5)  # the labelled ones are the same whatever is learnt
    assert set(again.train) == {row for row in half.train.tolist() if features.labels[row] != UNKNOWN}


def test_a_share_written_out(features: Features, splitter: TargetSplitter) -> None:
    """Each class in random order, its i-th of n at (i + 1/2) / n; the first ones are taken."""
    whole = splitter.split(7, 0)
    by_id = sorted(whole.train.tolist(), key=lambda row: features.ids[row])
    order = [by_id[place] for place in np.random.RandomState(7).permutation(len(by_id))]
    places = []
    for label in range(3):
        own = [row for row in order if features.labels[row] == label]
        places += [((i + 0.5) / len(own), order.index(row), row) for i, row in enumerate(own)]
    want = [row for _, _, row in sorted(places)[: round(0.3 * len(order))]]
    assert splitter.split(7, 0, share=0.3).train.tolist() == sorted(want)


def test_a_share_depends_on_the_split_seed_where_the_parts_do_not(features: Features) -> None:
    parts = [["train", "train", "val", "test"][i % 4] for i in range(len(features))]
    own = TargetSplitter.of(Protocol("own"), features, table_of(features, part=parts))
    one, other = own.split(0, 0, share=0.5), own.split(1, 0, share=0.5)
    assert set(one.train) != set(other.train)
    assert len(one.train) == len(other.train)
    assert own.case(0, 0, share=0.5) != own.case(1, 0, share=0.5)
    assert own.case(0, 0) == own.case(1, 0)


def test_inner_folds_are_drawn_in_the_share(splitter: TargetSplitter) -> None:
    half = splitter.split(0, 0, TARGETS, 0.5)
    every = [splitter.split(0, 0, TARGETS, 0.5, Inner(number, 3)) for number in range(3)]
    for split in every:
        assert {*split.train.tolist(), *split.val.tolist()} == set(half.train.tolist())
    assert len({row for split in every for row in split.val.tolist()}) == sum(len(split.val) for split in every)


def test_at_least_one_pair(splitter: TargetSplitter) -> None:
    assert len(splitter.split(0, 0, share=1e-9).train) == 1
    with pytest.raises(ValueError, match="train_share: expected a number above 0 and at most 1, got 0"):
        TrainConfig(train_share=0.0)
    with pytest.raises(ValueError, match="train_share"):
        TrainConfig(train_share=1.1)


def cli(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


SMALL = ("--d", 6, "--hidden", 4, "--m", 1, "--epochs", 1, "--device", "cpu")


def test_a_sweep_over_shares_is_a_learning_curve(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", 80)
    out, words = tmp_path / "sweep", ("--cache", cache, *SMALL, "--head", "concat,text-only", "--seeds", 2)
    cli("sweep", *words, "--train-share", "0.125,0.25,0.5,1", "--stack", 4, "--out", out)
    results = Sweep(out).results()
    assert (results["status"] == "done").all()
    pairs = {0.125: 8, 0.25: 16, 0.5: 32, 1.0: 64}
    assert [pairs[share] for share in results["train_share"]] == results["train_pairs"].tolist()
    chart = learning_curve(results, "c", "t")
    assert chart is not None
    assert [line.label for line in chart.lines] == ["concat", "text-only"]
    for line, head in zip(chart.lines, ("concat", "text-only"), strict=True):
        assert line.x == (8, 16, 32, 64)
        own = [results[(results["head"] == head) & (results["train_share"] == share)] for share in pairs]
        assert line.y == pytest.approx([one["val_accuracy"].mean() for one in own])
        assert line.low is not None
        assert line.low[2] == pytest.approx(over_seeds(own[2]["val_accuracy"].to_numpy()).low)
    assert chart.percent
    assert chart.alt.startswith("Validation accuracy against pairs that train: concat from ")
    one_share = results[results["train_share"] == 1]
    assert learning_curve(one_share, "c", "t") is None
    (section,) = (one for one in report([out]).sections if one.name == "sweep-1-learning")
    assert section.figures[0].lines == chart.lines  # type: ignore[union-attr]
    names = {path.name.rpartition("-seed")[0] for path in (out / "runs").iterdir()}
    assert {"concat-m1", "concat-m1-share0.125", "text-only-share0.5"} <= names


def test_the_key_is_that_of_the_parts(tmp_path: Path) -> None:
    """At 1 as ever; and one run alone has the key, and the pairs, of that in a sweep."""
    cache = make_cache(tmp_path / "cache", 80)
    config = TrainConfig(head="concat", d=6, hidden=4, m=1, epochs=1)
    data = sweep_data(cache, [config])
    keys = {share: data.key(replace(config, train_share=share)) for share in SHARES}
    assert len(set(keys.values())) == len(SHARES)
    assert keys[1.0] == data.key(config)
    assert data.key(replace(config, train_share=0.9999)) == keys[1.0]  # all 64 pairs
    said = cli(
        *("train", "--cache", cache, "--head", "concat", *SMALL, "--train-share", 0.25, "--out", tmp_path / "run")
    )
    assert "split seed 0, 0.25 of the training part" in said
    run = load_run(tmp_path / "run")
    assert run.record["key"] == keys[0.25]
    assert run.config.train_share == 0.25
    assert (run.split(data.ids).train == data.split_for(replace(config, train_share=0.25)).train).all()
    assert short_name(run.config) == "concat-m1-share0.25"
    cli("evaluate", tmp_path / "run")
