"""Inner folds: what they hold, what is chosen by them, and that a sweep with them can be ended at any instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from itin import disk
from itin.cli import main
from itin.errors import DataError, RunError
from itin.report.report import report
from itin.targets import UNKNOWN
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.loop import fit
from itin.train.protocols.protocol import Protocol
from itin.train.protocols.split import PARTS, Inner
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.folder import load_run
from itin.train.sweeps.axes import Trial, make_plan
from itin.train.sweeps.folder import Definition, Sweep
from itin.train.sweeps.nested import CHOSEN, Nested, cases_of, choice
from itin.train.sweeps.prepare import create
from itin.train.sweeps.result import Result
from itin.train.sweeps.reveal import reveal
from itin.train.sweeps.run import Queue, check_parts, run

from ..features import make_cache
from ..several_targets import BARE, N, several, table_of
from .test_sweep import definition, sweep_data

pytestmark = pytest.mark.usefixtures("one_thread")

K = 4
BASE = TrainConfig(head="concat", d=6, k=4, hidden=4, epochs=2, batch_size=16, m=1)


# The folds -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


def dealt(features: Features, rows: list[int], seed: int, folds: int) -> dict[int, int]:
    """The fold of each row: in random order to the fold with the fewest of its class, then to the smallest."""
    by_id = sorted(rows, key=lambda row: features.ids[row])
    held: list[list[int]] = [[] for _ in range(folds)]
    for place in np.random.RandomState(seed).permutation(len(by_id)):
        row = by_id[place]
        same = [sum(features.labels[other] == features.labels[row] for other in fold) for fold in held]
        held[min(range(folds), key=lambda fold: (same[fold], len(held[fold])))].append(row)
    return {row: number for number, fold in enumerate(held) for row in fold}


@pytest.mark.parametrize("protocol", ["itin-811", "folds:4", "own"])
@pytest.mark.parametrize("seed", [0, 3])
def test_each_pair_of_the_training_part_is_validation_once(features: Features, protocol: str, seed: int) -> None:
    parts = [["train", "train", "val", "test"][i % 4] for i in range(N)]
    splitter = TargetSplitter.of(Protocol.parse(protocol), features, table_of(features, part=parts))
    targets = ("label", "level", "score")
    outer = splitter.split(seed, 0, targets)
    labelled = [row for row in outer.train.tolist() if features.labels[row] != UNKNOWN]
    only_train = set(outer.train.tolist()) - set(labelled)
    want = dealt(features, labelled, seed, K)
    for number in range(K):
        split = splitter.split(seed, 0, targets, inner=Inner(number, K))
        assert split.val.tolist() == sorted(row for row, fold in want.items() if fold == number)
        assert set(split.train.tolist()) == set(labelled) - set(split.val.tolist()) | only_train
        assert len(split.test) == 0
        assert split.description["inner"] == {"fold": number, "folds": K}
        assert split.description["sizes"] == {part: len(split.rows(part)) for part in PARTS}
    assert len(only_train) == (BARE if protocol != "own" else BARE // 2)


def test_duplicates_stay_on_one_side_of_inner_folds_and_are_taught_by_none(features: Features) -> None:
    """Retweets among labelled pairs by the protocol's rule; pairs that only train, whatever the rule."""
    plain = TargetSplitter.of(Protocol(), features, table_of(features)).split(0, 0, ("label", "score"))
    inside = [row for row in plain.train.tolist() if row >= BARE]
    texts, images = [f"text {i}" for i in range(N)], [f"image {i}" for i in range(N)]
    for place, row in enumerate(inside[:60]):
        texts[row] = f"RT @you: joke {place % 20} http://t.co/{row}"  # each three times
    for place, row in enumerate(inside[60:80]):
        images[row] = f"meme {place % 10}"  # each twice
    for row in range(8):
        texts[row] = f"joke {row}"  # only train
    images[8] = "meme 3"
    table = table_of(features, text=texts, image_sha256=images)
    for way in (None, "stripped"):
        splitter = TargetSplitter.of(Protocol(duplicates=way), features, table)
        crossing, left_out = 0, 0
        for number in range(K):
            split = splitter.split(0, 0, ("label", "score"), inner=Inner(number, K))
            held = {texts[row].split("http")[0].removeprefix("RT @you: ").strip() for row in split.val}
            held_images = {images[row] for row in split.val}
            for row in split.train.tolist():
                twin = texts[row].split("http")[0].removeprefix("RT @you: ").strip() in held
                if row < BARE:
                    assert not twin
                    assert images[row] not in held_images
                crossing += twin or images[row] in held_images
            left_out += BARE - sum(row < BARE for row in split.train.tolist())
        assert (crossing == 0) == (way == "stripped")
        if way == "stripped":
            assert left_out == 9  # each of the nine in one fold


def test_nothing_outside_reaches_an_inner_run(features: Features) -> None:
    """Other features and values of the outer validation and test part change no bit of what is learnt and scored."""
    splitter = TargetSplitter.of(Protocol.parse("folds:5"), features, table_of(features))
    outer = splitter.split(1, 2, ("label", "score"))
    split = splitter.split(1, 2, ("label", "score"), inner=Inner(1, 3))
    outside = np.concatenate([outer.val, outer.test])
    assert not set(outside.tolist()) & {*split.train.tolist(), *split.val.tolist()}
    assert set(split.train.tolist()) | set(split.val.tolist()) == set(outer.train.tolist())
    config = replace(BASE, target="label+score", dropout=0.2)
    result = fit(config, features, split, evaluate=("val",))
    labels, context = features.labels.copy(), features.context.copy()
    labels[outside] = (labels[outside] + 1) % 3
    context[outside] = 77
    regions = features.regions.copy()
    regions[outside] = -5
    changed = fit(config, replace(features, labels=labels, context=context, regions=regions), split, evaluate=("val",))
    assert all(torch.equal(value, changed.state_dict[name]) for name, value in result.state_dict.items())
    assert changed.metrics == result.metrics
    assert set(result.metrics) == {"val"}
    labels[split.val[0]] = (labels[split.val[0]] + 1) % 3  # as it would, were it in
    assert fit(config, replace(features, labels=labels), split, evaluate=("val",)).metrics != result.metrics


def test_a_fold_without_values_is_an_error(features: Features) -> None:
    splitter = TargetSplitter.of(Protocol(), features, table_of(features))
    few = {**splitter.known, "score": np.zeros(N, bool)}
    few["score"][[*splitter.split().val[:2], *splitter.split().test[:2], splitter.split().train[0]]] = True
    lacking = replace(splitter, known=few)
    there = next(n for n in range(3) if splitter.split().train[0] in splitter.split(inner=Inner(n, 3)).val)
    with pytest.raises(DataError, match=r"val part of inner fold \d of 3 has a value for the target score[\s\S]*fewer"):
        lacking.split(0, 0, ("score", "label"), inner=Inner((there + 1) % 3, 3))
    assert len(lacking.split(0, 0, ("score", "label"), inner=Inner(there, 3)).val) == 1


# The choice ----------------------------------------------------------------------------------------------------------


def result_of(trial: Trial, score: float, loss: float = 1.0) -> Result:
    return Result(trial.key, Path("r"), {"val_accuracy": score, "val_loss": loss})


def test_choice_by_hand() -> None:
    configs = [replace(BASE, lr=lr) for lr in (1e-3, 2e-3, 3e-3, 4e-3)]
    trials = [
        Trial("grid", replace(config, seed=seed), f"{config.lr}/{seed}/{fold}", Inner(fold, 2))
        for config in configs
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    scores = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.4, 0.4, 0.65, 0.65, 0.65, 0.65, 1.0, 1.0, 1.0, 1.0]
    results = {trial.key: result_of(trial, score) for trial, score in zip(trials, scores, strict=True)}
    assert choice(trials, results, "accuracy") == configs[3]
    results[trials[-1].key] = Result(trials[-1].key, error="broke down")
    assert choice(trials, results, "accuracy") == configs[0]  # of three with the mean 0.65
    results |= {trial.key: result_of(trial, 0.65, 0.5) for trial in trials[8:12]}
    assert choice(trials, results, "accuracy") == configs[2]  # by the loss
    for number, trial in enumerate(trials):
        results[trial.key] = result_of(trial, 0.5, number)
    assert choice(trials, results, "loss") == configs[0]
    del results[trials[0].key]
    assert choice(trials, results, "loss") == configs[1]
    every = {trial.key: result_of(trial, float("nan")) for trial in trials}
    assert choice(trials, every, "accuracy") is None
    assert choice([], {}, "accuracy") is None


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("nested") / "cache", 72)


class Made:
    """A grid of two rates, two seeds, two of three outer folds, three inner folds each."""

    def __init__(self, cache: Path, path: Path) -> None:
        fixed = {name: (value,) for name, value in BASE.to_dict().items() if value != getattr(TrainConfig(), name)}
        axes = {**fixed, "lr": (1e-3, 0.05)}
        plan = make_plan("grid", axes, (0, 1), None, (0, 2), inner_folds=3)
        configs = [trial.config for trial in plan.trials]
        self.data = sweep_data(cache, configs, protocol=Protocol.parse("folds:3", "stripped"))
        self.sweep = create(path, plan, self.data, **definition(cache, seeds=[0, 1], inner_folds=3))
        self.trained: list[str] = []

    def run(self, most: int | None = None, **options: Any) -> None:
        """Train; end as if killed after so many results."""
        before = len(self.trained)

        def listen(event: Any) -> None:
            if event.result is not None:
                self.trained.append(event.trial.key)
                if most is not None and len(self.trained) - before >= most:
                    raise KeyboardInterrupt

        self.sweep = Sweep(self.sweep.path)
        run(self.sweep, self.data, source=Nested, listen=listen, **{"stack": 1, **options})


@pytest.fixture(scope="module")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(cache, tmp_path_factory.mktemp("made") / "sweep")
    made.run()
    return made


def test_what_is_best_on_inner_folds_is_trained_on_all(made: Made) -> None:
    """Every figure, choice and final run against single trainings, one after the other."""
    data, sweep = made.data, made.sweep
    features = data.features[BASE.view]
    finished = sweep.finished()
    for fold in (0, 2):
        means = {}
        for lr in (1e-3, 0.05):
            scores = []
            for seed in (0, 1):
                config = replace(BASE, lr=lr, seed=seed, fold=fold)
                for number in range(3):
                    split = data.splitter.split(0, fold, inner=Inner(number, 3))
                    alone = fit(config, features, split, evaluate=("val",))
                    kept = finished[data.key(config, Inner(number, 3))]
                    assert kept.run == sweep.path / "inner" / f"{kept.key}.json"
                    assert kept.figures["val_accuracy"] == alone.metrics["val"]["accuracy"]
                    assert kept.figures["val_loss"] == alone.metrics["val"]["loss"]
                    assert kept.figures["best_epoch"] == alone.best_epoch
                    assert kept.figures["train_pairs"] == len(split.train)
                    scores.append((alone.metrics["val"]["accuracy"], -alone.metrics["val"]["loss"]))
            means[lr] = tuple(np.mean(scores, 0))
        best = max(means, key=lambda lr: means[lr])
        finals = [trial for trial in sweep.definition.chosen if trial.config.fold == fold]
        assert [trial.config for trial in finals] == [replace(BASE, lr=best, seed=seed, fold=fold) for seed in (0, 1)]
        for trial in finals:
            assert trial.axis == CHOSEN
            assert trial.key == data.key(trial.config)  # that of the run alone
            kept_run = load_run(sweep.path / "runs" / trial.name)
            outer = data.splitter.split(0, fold)
            alone = fit(trial.config, features, outer, evaluate=("val",))
            assert kept_run.metrics["val"] == alone.metrics["val"]
            assert set(kept_run.metrics) & set(PARTS) == {"val"}
        table = sweep.configurations()
        own = table[table["fold"] == fold]
        assert own["chosen"].tolist() == [True, False]
        assert own["lr"].iloc[0] == best
        assert own["val_accuracy"].iloc[0] == pytest.approx(means[best][0])
        assert own["seeds"].tolist() == [6, 6]


def test_keys_and_records(made: Made) -> None:
    keys = [trial.key for trial in made.sweep.definition.trials]
    assert len(set(keys)) == len(keys) == 2 * 2 * 2 * 3 + 2 * 2
    assert sorted(made.trained) == sorted(keys)
    table = made.sweep.results()
    assert table["inner_fold"].isna().sum() == 4
    assert table.groupby("inner_fold").size().tolist() == [8, 8, 8]
    assert (table["status"] == "done").all()
    assert len(list((made.sweep.path / "runs").iterdir())) == 4  # inner folds keep no weights
    again = Sweep(made.sweep.path)
    assert again.definition.trials == made.sweep.definition.trials
    assert again.definition.inner_folds == 3
    assert cases_of(again.definition) == [{"split_seed": 0, "fold": 0}, {"split_seed": 0, "fold": 2}]


@pytest.mark.parametrize("every", [1, 5, 11, 12, 13])
def test_ended_and_resumed_nothing_is_trained_twice(made: Made, cache: Path, tmp_path: Path, every: int) -> None:
    parts = Made(cache, tmp_path / "sweep")
    for _ in range(100):
        try:
            parts.run(every)
            break
        except KeyboardInterrupt:
            pass
    assert len(parts.trained) == len(set(parts.trained))
    assert parts.sweep.definition.trials == made.sweep.definition.trials
    figures = [one.results().drop(columns=["seconds"]) for one in (parts.sweep, made.sweep)]
    assert figures[0].equals(figures[1])


def test_side_by_side_on_the_same_inner_fold(made: Made, cache: Path, tmp_path: Path) -> None:
    """Seeds are trained in one stack, folds are not: the same choice, figures equal but for rounding."""
    together = Made(cache, tmp_path / "sweep")
    together.run(stack=8)
    assert {one.config for one in together.sweep.definition.chosen} == {
        one.config for one in made.sweep.definition.chosen
    }
    one, other = (each.sweep.finished() for each in (together, made))
    assert one.keys() == other.keys()
    for key, result in one.items():
        assert result.figures["val_loss"] == pytest.approx(other[key].figures["val_loss"], rel=1e-4)
    (run_folder, *_) = (together.sweep.path / "runs").iterdir()
    assert load_run(run_folder).environment["stacked"] == 2


def test_the_test_part_is_evaluated_once_for_what_was_chosen(made: Made) -> None:
    record = reveal(made.sweep, made.data)
    assert [(row["seed"], row["fold"]) for row in record["runs"]] == [(0, 0), (1, 0), (0, 2), (1, 2)]
    assert record["chosen_by"] == "mean accuracy over 3 inner folds of the training part, then lower loss"
    assert record["configurations"] == 2
    for row in record["runs"]:
        own = load_run(made.sweep.path / row["run"])
        split = made.data.splitter.split(0, row["fold"])
        alone = fit(own.config, made.data.features[BASE.view], split)
        assert row["test"]["accuracy"] == alone.metrics["test"]["accuracy"]
    assert record["mean"]["accuracy"] == pytest.approx(np.mean([row["test"]["accuracy"] for row in record["runs"]]))


def test_report(made: Made) -> None:
    made_report = report([made.sweep.path])
    (section,) = (one for one in made_report.sections if one.name == "sweep-1")
    assert section.table is not None
    assert section.table["chosen"].tolist() == ["yes", "yes", "", ""]
    assert section.table["inner runs"].tolist() == [6] * 4
    table = made.sweep.configurations()
    means = table[table["chosen"]].sort_values("val_accuracy", ascending=False)["val_accuracy"]
    shown = [float(cell.split("%")[0]) for cell in section.table["inner accuracy"][:2]]
    assert shown == pytest.approx([100 * mean for mean in means], abs=0.051)
    assert any("was then trained on all of it: 4 runs" in note for note in section.notes)
    (summary,) = (one for one in made_report.sections if one.name == "summary")
    assert summary.table is not None
    assert len(summary.table) == 4  # the chosen runs


def test_no_parts(made: Made) -> None:
    with pytest.raises(RunError, match=r"chooses on inner folds[\s\S]*so it has no parts"):
        check_parts(made.sweep)


# Guided, ended and resumed -------------------------------------------------------------------------------------------

AXES: dict[str, list[Any]] = {
    "lam": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
    "lr": [0.001, 0.002, 0.004],
    "fold": [0, 1, 2],
}


def key(config: TrainConfig, inner: Inner | None = None) -> str:
    return f"{config.lam}/{config.lr}/{config.seed}/{config.fold}/{inner}"


def keyed(trials: Any) -> list[Trial]:
    return [replace(trial, key=key(trial.config, trial.inner)) for trial in trials]


DATA: Any = SimpleNamespace(key=key, keyed=keyed)


def guided_sweep(path: Path, number: int = 5, seeds: tuple[int, ...] = (0, 1)) -> Sweep:
    path.mkdir(exist_ok=True)
    made = Definition(
        mode="optuna", axes=dict(AXES), seeds=list(seeds), number=number, trials=[], left_out=[], dataset="x",
        folder="", stores={}, split=None, samples="", untrained=False, created="", inner_folds=3,
    )  # fmt: skip
    disk.replace(path / "sweep.json", made.to_json())
    return Sweep(path)


def scored(trial: Trial) -> Result:
    """Best at another λ in each fold."""
    number = 0 if trial.inner is None else trial.inner.fold
    return result_of(trial, 1 - abs(trial.config.lam - 0.2 * trial.config.fold) - 0.01 * number, trial.config.lr)


def drain(source: Any, most: int = 10_000, result: Callable[[Trial], Result] = scored) -> list[Trial]:
    trained: list[Trial] = []
    while len(trained) < most and (trial := source.next()) is not None:
        trained.append(trial)
        source.ended(result(trial))
    return trained


def test_a_search_in_each_training_part(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna")
    sweep = guided_sweep(tmp_path / "s")
    source = Nested(sweep, DATA, {})
    assert source.total == 3 * (5 * 2 * 3 + 2)
    trained = drain(source)
    assert len(trained) == len({one.key for one in trained}) == source.total == 3 * (5 * 2 * 3 + 2)
    for fold in range(3):
        own = [one for one in trained if one.config.fold == fold]
        configs = {replace(one.config, seed=0) for one in own if one.inner is not None}
        assert len(configs) == 5
        finals = [one for one in own if one.inner is None]
        assert [one.config.seed for one in finals] == [0, 1]
        (chosen,) = {replace(one.config, seed=0) for one in finals}
        best = {one for one in configs if abs(one.lam - 0.2 * fold) == min(abs(c.lam - 0.2 * fold) for c in configs)}
        assert chosen == min(best, key=lambda one: one.lr)


@pytest.mark.parametrize("every", [1, 7, 30, 31, 32, 33])
def test_a_search_that_is_ended_at_any_time_goes_on(tmp_path: Path, every: int) -> None:
    """The trial that is under way is lost; all others stay, and the sequence is that of a search never ended."""
    pytest.importorskip("optuna", reason="needs optuna")
    whole = guided_sweep(tmp_path / "whole")
    want = drain(Nested(whole, DATA, {}))
    path, done, trained = guided_sweep(tmp_path / "parts").path, dict[str, Result](), list[Trial]()
    while some := drain(source := Nested(Sweep(path), DATA, done), every):
        trained += some
        done |= {one.key: scored(one) for one in some}
        source.next()  # begun, and lost
    assert trained == want
    assert Sweep(path).definition.trials == whole.definition.trials


def test_failures(tmp_path: Path) -> None:
    """A configuration that fails on one fold is out; where all fail there is no choice, and the others go on."""
    pytest.importorskip("optuna", reason="needs optuna")

    def result(trial: Trial) -> Result:
        broken = trial.config.fold == 1 or (trial.config.lr > 0.001 and trial.inner == Inner(2, 3))
        return Result(trial.key, error="broke down") if broken else scored(trial)

    sweep = guided_sweep(tmp_path / "s", 8)
    drain(Nested(sweep, DATA, {}), result=result)
    assert {one.config.fold for one in sweep.definition.chosen} <= {0, 2}
    assert {one.config.lr for one in sweep.definition.chosen} == {0.001}


def test_a_trainer_of_several_at_once_waits_for_results(tmp_path: Path) -> None:
    """Without `begin` no further configuration begins: what is proposed next knows the results."""
    pytest.importorskip("optuna", reason="needs optuna")
    source = Nested(guided_sweep(tmp_path / "s"), DATA, {})
    first = source.next()
    rest = []
    while (trial := source.next(begin=False)) is not None:
        rest.append(trial)
    assert len(rest) == 2 * 3 - 1
    assert {replace(one.config, seed=0) for one in rest} == {replace(first.config, seed=0)}  # type: ignore[union-attr]
    grid = Queue([Trial("grid", replace(BASE, lr=lr)) for lr in (0.1, 0.2)])
    assert grid.next(begin=False) is not None


# The command ---------------------------------------------------------------------------------------------------------


def cli(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_best_unattended_on_folds(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna")
    small = ("sweep", "--cache", cache, "--preset", "best", "--ensemble", 1, "--epochs", 1, "--stack", 2)
    folds = ("--protocol", "folds:3", "--optuna", 2)
    out = tmp_path / "sweep"
    said = cli(*small, *folds, "--inner-folds", 2, "--device", "cpu", "--out", out, "--reveal-test")
    assert "each is scored on 2 inner folds of each of 3 training parts apart" in said
    assert "chosen among: lr (9 values), weight_decay (9 values)" in said
    assert "15/15 runs" in said
    assert "Chosen in each training part by loss on 2 inner folds of it, mean ± standard deviation: fold" in said
    assert "seed 0, fold 2" in said
    sweep = Sweep(out)
    assert [one.config.fold for one in sweep.definition.chosen] == [0, 1, 2]
    assert cli("sweep", "--resume", out, "--device", "cpu", "--stack", 2).count("15 results are there already") == 1
    assert "cannot be changed with --resume" in cli("sweep", "--resume", out, "--inner-folds", 3, code=2)
    assert "has no parts" in cli("sweep", "--resume", out, "--part", "0/2", "--workers", 1, code=1)
    assert "search inside each fold's training part with --inner-folds" in cli(*small, *folds, code=2)
    assert "--inner-folds does not go with parts" in cli(*small, "--inner-folds", 2, "--plan", code=2)
    assert "--inner-folds: expected an integer of at least 2" in cli(*small, "--inner-folds", 1, code=2)


def test_one_training_part_on_the_command_line(cache: Path, tmp_path: Path) -> None:
    small = ("--cache", cache, "--head", "concat", "--d", 6, "--hidden", "4,5", "--m", 1, "--epochs", 1, "--stack", 1)
    out = tmp_path / "sweep"
    said = cli("sweep", *small, "--device", "cpu", "--inner-folds", 2, "--out", out)
    assert "4 runs: 2 configurations, 1 seed each each is scored on 2 inner folds of the training part" in said
    assert "Best of 2 by accuracy on 2 inner folds of the training part, mean ± standard deviation: hidden" in said
    mean = Sweep(out).configurations()["val_accuracy"].iloc[0]
    assert f"{mean:.4f} ± " in said
    few = cli("sweep", *small, "--device", "cpu", "--inner-folds", 500, "--out", tmp_path / "few", code=1)
    assert "of inner fold" in few
    assert not (tmp_path / "few").exists()
