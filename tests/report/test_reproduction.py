"""Reproductions: rows fixed beforehand, nothing twice, figures that are those of the runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from itin.cache import open_store, read_table
from itin.cli import main
from itin.errors import RunError
from itin.labels import LABELS
from itin.report.page.figures import LineChart
from itin.report.paper import evaluate as paper_evaluate
from itin.report.paper import published
from itin.report.paper.figure_7 import typical
from itin.report.paper.reproduction import Reproduction
from itin.report.paper.request import Request, read_request
from itin.report.paper.sections import sections
from itin.report.paper.write import report_of, write
from itin.report.thumbnails import Images
from itin.train.features.load import load_features
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.statistics import bootstrap, holm, interval

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

SMALL = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "2", "--batch-size", "16"]
WORDS = ["--m", "0:2", "--lam", "0,0.2,1", "--device", "cpu", "--workers", "1", *SMALL]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pairs that go by the name of MVSA-Single, so that the paper's figures stand beside theirs."""
    return make_cache(tmp_path_factory.mktemp("reproduction") / "cache", 120, "mvsa-single")


def reproduce(*words: object) -> Any:
    return CliRunner().invoke(main, ["reproduce", *map(str, words)])


@pytest.fixture(scope="module")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    out = tmp_path_factory.mktemp("made") / "out"
    result = reproduce("--cache", cache, "--tables", 3, "--seeds", 3, "--out", out, *WORDS)
    assert result.exit_code == 0, result.output
    return Reproduction(out)


@pytest.fixture
def copy(made: Reproduction, tmp_path: Path) -> Path:
    """One of one's own, to be changed."""
    return Path(shutil.copytree(made.path, tmp_path / "out"))


def stamps(folder: Path) -> dict[str, int]:
    """When each run and each file of test predictions was made."""
    files = [*folder.glob("sweep/runs/*/metrics.json"), *folder.glob("test/*.csv")]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


# What is asked for ---------------------------------------------------------------------------------------------------


def test_the_paper_takes_twenty_configurations() -> None:
    trials = Request(seeds=(0,)).plan().trials
    axes = {axis: [trial.config for trial in trials if trial.axis == axis] for axis in ("ablation", "m", "lam")}
    assert [config.ablation for config in axes["ablation"]] == [
        "none", "no-align", "no-gate", "no-context", "only-context",
    ]  # fmt: skip
    assert [config.m for config in axes["m"]] == list(range(7))
    assert [config.lam for config in axes["lam"]] == pytest.approx(np.arange(11) / 10)
    assert {(config.m, config.lam) for config in axes["ablation"]} == {(2, 0.2)}


@pytest.mark.parametrize(
    ("tables", "figures", "axes"),
    [
        ((2,), (), ["ablation", "head"]),
        ((), (5,), ["ablation", "m"]),
        ((), (6,), ["ablation", "lam"]),
        ((), (7,), ["ablation"]),
    ],
)
def test_only_what_is_asked_for(tables: tuple[int, ...], figures: tuple[int, ...], axes: list[str]) -> None:
    trials = Request(tables=tables, figures=figures, seeds=(0, 1)).plan().trials
    assert list(dict.fromkeys(trial.axis for trial in trials)) == axes
    assert [trial.config.ablation for trial in trials if trial.axis == "ablation"] == ["none", "none"]


def test_it_is_kept(tmp_path: Path) -> None:
    request = Request((3,), (), (3, 4), (0, 1), (1, 2), (0.5,), {"d": 8, "clip": None, "preset": "official"}, ("7",))
    request.write(tmp_path)
    assert read_request(tmp_path) == request
    assert {trial.config.gru_layers for trial in request.plan().trials} == {2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tables": (1,)}, "tables: expected some of 2, 3, got 1"),
        ({"figures": (5, 8)}, "figures: expected some of 5, 6, 7, got 8"),
        ({"tables": (), "figures": ()}, "tables and figures: expected at least one of them, got none"),
        ({"settings": {"lam": 0.5}}, "settings: lam is what the tables and figures vary"),
        ({"settings": {"seed": 1}}, "settings: seed is what the tables and figures vary"),
        ({"seeds": ()}, "seeds: expected at least one, got none"),
        ({"recipe": "theirs"}, "recipe: expected one of original, paper, got 'theirs'"),
        ({"settings": {"preset": "best"}}, "preset: with --recipe original expected paper or official or original"),
        ({"recipe": "paper", "settings": {"preset": "original"}}, "preset: with --recipe paper expected paper or"),
    ],
)
def test_wrong_requests(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request(**fields)


# The runs ------------------------------------------------------------------------------------------------------------


def test_each_run_is_trained_and_tested_once(made: Reproduction) -> None:
    runs = list((made.path / "sweep" / "runs").iterdir())
    keys = {trial.key for trial in made.trials}
    assert len(keys) == len(runs) == 8 * 3
    assert {path.stem for path in (made.path / "test").iterdir()} == keys
    assert not made.missing
    for run in map(load_run, runs):
        assert "test" not in run.metrics  # the sweep's own folders know nothing of the test part
        assert set(run.predictions["part"]) == {"val"}


def test_predictions_are_those_of_the_checkpoints(made: Reproduction, cache: Path) -> None:
    table = read_table(cache / "mvsa-single")
    stores = {path.name.partition("-")[0]: open_store(path) for path in sorted(table.folder.glob("*-test-*"))}
    features = load_features(table, stores, 3)
    for key in list(dict.fromkeys(trial.key for trial in made.trials))[:4]:
        result = made.results[key]
        assert result.run is not None
        known = evaluate(load_run(result.run), features)
        own = paper_evaluate.read(made.path, key, LABELS)
        assert len(own) == known["n"] == 12
        assert accuracy_score(own["label"], own["predicted"]) == known["accuracy"]
        chances = own[[f"p_{label}" for label in LABELS]].to_numpy()
        assert [LABELS[number] for number in chances.argmax(1)] == own["predicted"].tolist()
        truth = [LABELS.index(label) for label in own["label"]]
        assert -np.log(chances[np.arange(12), truth]).mean() == pytest.approx(known["loss"])


def test_a_second_call_does_nothing_twice(made: Reproduction, cache: Path, copy: Path) -> None:
    before = stamps(copy)
    result = reproduce("--cache", cache, "--tables", 3, "--seeds", 3, "--out", copy, *WORDS)
    assert result.exit_code == 0, result.output
    assert "24 runs, 24 of them there already" in result.output
    assert "Evaluating" not in result.output
    assert stamps(copy) == before
    for name in ("table-3", "figure-5", "figure-6", "runs"):
        assert (copy / "numbers" / f"{name}.csv").read_bytes() == (made.path / "numbers" / f"{name}.csv").read_bytes()


def test_what_is_missing_is_made(made: Reproduction, cache: Path, copy: Path) -> None:
    """A run and two files of predictions that are gone come back; one more seed adds its own runs alone."""
    before = stamps(copy)
    key = next(trial.key for trial in made.trials if trial.config.ablation == "no-gate")
    shutil.rmtree(next((copy / "sweep" / "runs").glob(f"*-{key}")))
    for path in sorted((copy / "test").iterdir())[:2]:
        path.unlink()
    result = reproduce("--cache", cache, "--tables", 3, "--seeds", 4, "--out", copy, *WORDS, "--figures", "none")
    assert result.exit_code == 0, result.output
    assert "20 runs, 14 of them there already" in result.output
    after = stamps(copy)
    assert {name for name in before if before[name] == after.get(name)} >= set(before) - {
        name for name in before if key in name or name.startswith("test/")
    }
    assert len(Reproduction(copy).tables["runs"]) == 20
    assert set(Reproduction(copy).tables) == {"table-3", "runs"}


def test_a_kill_costs_no_finished_run(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--cache", str(cache), "--seeds", "2", "--tables", "3", "--figures", "none", "--out", str(out), *WORDS]
    slow = [*words, "--epochs", "20"]
    process = subprocess.Popen([sys.executable, "-m", "itin", "reproduce", *slow], env=dict(os.environ))
    for _ in range(3000):
        if len(list(out.glob("sweep/runs/m*"))) >= 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = stamps(out)
    assert len(before) >= 2
    result = reproduce(*slow)
    assert result.exit_code == 0, result.output
    after = stamps(out)
    assert before.items() <= after.items()
    assert len(after) == 2 * 10


def test_runs_may_be_trained_elsewhere(cache: Path, tmp_path: Path) -> None:
    """--plan makes an ordinary sweep; what a sweep command trains is there for the reproduction."""
    out = tmp_path / "out"
    words = ["--cache", cache, "--seeds", 1, "--tables", "none", "--figures", 7, "--out", out, *WORDS]
    planned = reproduce(*words, "--plan")
    assert planned.exit_code == 0, planned.output
    assert not list((out / "sweep" / "runs").iterdir())
    trained = CliRunner().invoke(main, ["sweep", "--resume", str(out / "sweep"), "--workers", "1", "--device", "cpu"])
    assert trained.exit_code == 0, trained.output
    result = reproduce(*words)
    assert "1 runs, 1 of them there already" in result.output
    assert not Reproduction(out).missing


# The figures ---------------------------------------------------------------------------------------------------------


def outcome(made: Reproduction, **fields: Any) -> tuple[list[str], list[list[str]]]:
    """Labels and predictions a seed of a configuration on the ablations' axis, from the files themselves."""
    keys = [
        trial.key
        for trial in sorted(made.trials, key=lambda trial: trial.config.seed)
        if trial.axis == "ablation" and all(getattr(trial.config, name) == value for name, value in fields.items())
    ]
    tables = [pd.read_csv(made.path / "test" / f"{key}.csv").sort_values("id") for key in keys]
    return tables[0]["label"].tolist(), [table["predicted"].tolist() for table in tables]


def test_table_3_is_that_of_the_runs(made: Reproduction) -> None:
    table = made.tables["table-3"].set_index("ablation")
    assert list(table.index) == ["no-align", "no-gate", "no-context", "only-context", "none"]
    for ablation, row in table.iterrows():
        labels, predicted = outcome(made, ablation=ablation)
        accuracies = [accuracy_score(labels, one) for one in predicted]
        f1 = [f1_score(labels, one, average="weighted", labels=LABELS, zero_division=0) for one in predicted]
        assert row["accuracy"] == pytest.approx(np.mean(accuracies))
        assert row["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
        assert row["weighted_f1"] == pytest.approx(np.mean(f1))
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        paper = published.TABLE_3["mvsa-single"][str(ablation)]
        assert (row["paper_accuracy"], row["paper_f1"]) == paper
    others = table.drop("none")
    assert others["accuracy_difference"].tolist() == pytest.approx(
        (others["accuracy"] - table.loc["none", "accuracy"]).tolist()
    )
    for score in ("accuracy", "weighted_f1"):
        assert others[f"{score}_p_holm"].tolist() == pytest.approx(holm(others[f"{score}_p"]).tolist())
    assert np.isnan(table.loc["none", "accuracy_p"])


def test_intervals_draw_the_same_pairs_for_all_rows(made: Reproduction) -> None:
    """The interval of a row is that of a bootstrap of its own with the same generator."""
    labels, predicted = outcome(made, ablation="no-gate")
    classes = [[LABELS.index(label) for label in one] for one in predicted]
    own = bootstrap([LABELS.index(label) for label in labels], [classes], 3)["accuracy"][0]
    row = made.tables["table-3"].set_index("ablation").loc["no-gate"]
    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(interval(own))


def test_curves_meet_in_the_full_model(made: Reproduction) -> None:
    tables = made.tables
    ablations = tables["table-3"].set_index("ablation")
    by_m, by_lam = tables["figure-5"].set_index("m"), tables["figure-6"].set_index("lam")
    scores = ["accuracy", "accuracy_low", "weighted_f1", "weighted_f1_high"]
    assert by_m.loc[2, scores].tolist() == by_lam.loc[0.2, scores].tolist() == ablations.loc["none", scores].tolist()
    assert by_m.loc[0, scores].tolist() == ablations.loc["only-context", scores].tolist()  # the same runs
    assert list(by_m.index) == [0, 1, 2]
    assert list(by_lam.index) == [0, 0.2, 1]


def planted(copy: Path, ablation: str, wrong: list[int]) -> None:
    """Let the runs of an ablation be wrong on just these pairs, by every seed."""
    made = Reproduction(copy)
    for trial in made.trials:
        if trial.axis == "ablation" and trial.config.ablation == ablation:
            table = paper_evaluate.read(copy, trial.key, LABELS)
            said = table["label"].tolist()
            for number in wrong:
                said[number] = LABELS[(LABELS.index(said[number]) + 1) % 3]
            table.assign(predicted=said).to_csv(paper_evaluate.path_of(copy, trial.key), index=False)


def test_verdicts(copy: Path) -> None:
    """Nine of twelve pairs lost is no chance; one is; none is none."""
    planted(copy, "none", [0])
    planted(copy, "no-align", list(range(10)))
    planted(copy, "no-gate", [0, 1])
    planted(copy, "no-context", [0])
    planted(copy, "only-context", [5])
    table = Reproduction(copy).tables["table-3"].set_index("ablation")
    assert table.loc["no-align", "accuracy_difference"] == pytest.approx(-9 / 12)
    assert (table["accuracy_p_holm"] < 0.05).tolist() == [True, False, False, False, False]
    assert table.loc["no-context", "accuracy_p"] == 1
    assert (table.loc["no-align", "only_here"], table.loc["no-align", "only_full"]) == (0, 27)
    assert table.loc["no-align", "mcnemar_p"] == pytest.approx(0.0027, abs=2e-4)  # chi2 = 27^2 / (9 * 9) = 9
    shown = {section.name: section for section in sections(Reproduction(copy))}["table-3"].table
    assert shown is not None
    assert shown["larger than chance"].tolist() == ["yes", "no", "no", "no", "–"]
    assert shown["difference to ITIN"].tolist()[0].startswith("−75.00 (−100.0 – −")


def test_folds_test_every_pair(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--tables", 3, "--figures", "none", "--seeds", 2, "--protocol", "folds:3", "--out", out]
    result = reproduce("--cache", cache, *words, *WORDS)
    assert result.exit_code == 0, result.output
    assert "30 runs, 0 of them there already" in result.output
    made = Reproduction(out)
    assert sorted(made.ids) == sorted(f"s{i}" for i in range(120))
    assert made.protocol == "folds:3, split seed 0"
    row = made.row("ablation", ablation="no-gate")
    assert row is not None
    assert row.right.shape == (2, 120)
    runs = made.tables["runs"]
    own = runs[(runs["ablation"] == "no-gate") & (runs["seed"] == 1)]
    assert sorted(own["fold"]) == [0, 1, 2]
    assert row.by_seed["accuracy"][1] == pytest.approx(np.average(own["test_accuracy"], weights=own["n"]))
    assert "120 test pairs, protocol folds:3, split seed 0, 2 seeds on each of 3 folds." in report_of(made).intro[0]


# The report ----------------------------------------------------------------------------------------------------------


def test_sections(made: Reproduction) -> None:
    found = {section.name: section for section in sections(made)}
    assert list(found) == ["method", "table-3", "table-3-f1", "figure-5", "figure-6", "provenance"]
    told = " ".join(found["method"].text)
    assert "fixed before any run was trained, 8 configurations of 3 seeds each" in told
    assert "Selection uses the validation part only" in told
    assert "evaluated once on the test part" in told
    for name, mark in (("figure-5", 2), ("figure-6", 0.2)):
        (curve,) = found[name].figures
        assert isinstance(curve, LineChart)
        assert curve.mark == mark
        table = made.tables[name]
        assert [line.label for line in curve.lines] == ["accuracy", "weighted F1"]
        for line, score in zip(curve.lines, ("accuracy", "weighted_f1"), strict=True):
            assert line.x == tuple(table.iloc[:, 0])
            assert line.y == tuple(table[score])
            assert (line.low, line.high) == (tuple(table[f"{score}_low"]), tuple(table[f"{score}_high"]))
    assert "m = 0 is a reading" in found["figure-5"].notes[0]
    table = found["table-3"].table
    assert table is not None
    assert table[""].tolist() == ["w/o Align", "w/o Gating", "w/o Context", "only Context", "ITIN"]
    assert table["paper"].tolist() == ["71.32%", "73.09%", "73.31%", "71.54%", "75.19%"]
    f1 = found["table-3-f1"].table
    assert f1 is not None
    assert f1["paper"].tolist() == ["70.48%", "72.99%", "73.20%", "71.61%", "74.97%"]
    assert all("protocol itin-811, split seed 0" in found[name].caption for name in ("table-3", "table-3-f1"))


def test_files(made: Reproduction) -> None:
    folder = made.path
    page = (folder / "report.html").read_text()
    assert "<title>MVSA-Single: ITIN reproduced</title>" in page
    for name in ("table-3", "figure-5", "figure-6"):
        assert (folder / "tables" / f"{name}.csv").exists()
        assert r"\toprule" in (folder / "tables" / f"{name}.tex").read_text()
        numbers = pd.read_csv(folder / "numbers" / f"{name}.csv")
        assert numbers["accuracy"].tolist() == pytest.approx(made.tables[name]["accuracy"].tolist(), nan_ok=True)
    assert (folder / "figures" / "figure-5.pdf").read_bytes().startswith(b"%PDF")
    assert "<table" in made._repr_html_()


def test_typical_pairs() -> None:
    """Of each class the right one of the lower median probability, ties by id; no class without a right one."""
    rows = [("a", 0, 0, 0.9), ("b", 0, 0, 0.5), ("d", 0, 0, 0.7), ("c", 0, 0, 0.7), ("e", 0, 1, 0.8), ("f", 1, 1, 0.6)]
    table = pd.DataFrame(
        [
            {"id": id, "label": LABELS[label], "predicted": LABELS[said], **{f"p_{name}": p for name in LABELS}}
            for id, label, said, p in rows
        ]
    )
    assert typical(table, LABELS) == ["c", "f"]


def test_figure_7_is_of_the_test_part(made: Reproduction, copy: Path) -> None:
    report = report_of(made)
    names = [section.name for section in report.sections]
    assert names[-2:] == ["figure-7", "provenance"]
    (shown,) = report.data["pairs"]["runs"]
    assert shown["part"] == "test"
    table = paper_evaluate.read(made.path, made.trials[0].key, LABELS).set_index("id")
    assert [pair["id"] for pair in shown["pairs"]] == typical(table.reset_index(), LABELS)
    for pair in shown["pairs"]:
        assert LABELS[pair["predicted"]] == table.loc[pair["id"], "predicted"]
        assert pair["p"] == pytest.approx([table.loc[pair["id"], f"p_{label}"] for label in LABELS], abs=1e-3)
    assert len(report.missing) == len(shown["pairs"])  # this data set has no images
    assert all("cannot be shown" in line for line in report.missing)

    assert not list((made.path / "figures").glob("figure-7*"))

    other = sorted(made.ids)[:2]
    asked = replace(made.request, pairs=tuple(other))
    asked.write(copy)
    chosen = report_of(Reproduction(copy))
    assert [pair["id"] for pair in chosen.data["pairs"]["runs"][0]["pairs"]] == other
    assert "These pairs were asked for." in chosen.sections[-2].text[0]
    replace(made.request, pairs=("nobody",)).write(copy)
    with pytest.raises(ValueError, match="pairs: expected ids of the test part, got nobody"):
        report_of(Reproduction(copy))
    replace(made.request, figures=(5,)).write(copy)
    assert "figure-7" not in {section.name for section in report_of(Reproduction(copy)).sections}


def test_figure_7_of_a_model_that_is_never_right(copy: Path) -> None:
    planted(copy, "none", list(range(12)))
    report = report_of(Reproduction(copy))
    assert "predicts no test pair rightly" in report.sections[-2].text[0]
    assert not report.missing


def test_figure_7_is_drawn(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "read", lambda *_: np.full((30, 40, 3), (200, 120, 40), np.uint8))
    report = write(Reproduction(copy), "png")
    assert not report.missing
    pairs = len(report.data["pairs"]["runs"][0]["pairs"])
    assert sorted(path.name for path in (copy / "figures").glob("figure-7*")) == [
        f"figure-7-{number}.png" for number in range(1, pairs + 1)
    ]
    for path in (copy / "figures").glob("figure-7*"):
        with Image.open(path) as picture:
            assert picture.width > 1000


def test_figure_7_without_features(copy: Path, cache: Path, tmp_path: Path) -> None:
    report = report_of(Reproduction(copy), cache=tmp_path / "elsewhere")
    assert "The pairs cannot be shown: " in report.sections[-2].text[0]
    assert len(report.missing) == 1


def test_untrained_encoders_carry_their_banner(copy: Path) -> None:
    assert report_of(Reproduction(copy)).banner is None
    record = json.loads((copy / "sweep" / "sweep.json").read_text())
    (copy / "sweep" / "sweep.json").write_text(json.dumps({**record, "untrained": True}))
    report = write(Reproduction(copy), None)
    assert "say nothing about sentiment" in str(report.banner)
    for name in ("table-3", "figure-5", "figure-6"):
        assert "say nothing about sentiment" in (copy / "tables" / f"{name}.tex").read_text()
        numbers = pd.read_csv(copy / "numbers" / f"{name}.csv")
        assert set(numbers["note"]) == {report.banner}
        assert set(numbers["protocol"]) == {"itin-811, split seed 0"}


def test_runs_that_broke_down(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--cache", cache, "--seeds", 1, "--tables", 3, "--figures", "5,7", "--out", out]
    words += [*WORDS, "--lr", "1e30"]
    result = reproduce(*words)
    assert result.exit_code == 1, result.output
    assert "Report: " in result.output
    assert f"runs of {out / 'sweep'} failed" in result.output
    assert "the same command with --retry-failed" in result.output
    assert "missing: " in result.output
    assert "training broke down" in result.output
    made = Reproduction(out)
    assert made.rows == []
    assert made.full is None
    assert made.tables["table-3"]["accuracy"].isna().all()
    few, lacking = sections(made)[0].notes
    assert few.startswith("1 seed is few: the bootstrap covers 0/1 of the variance between seeds.")
    assert "rows that need them are left out" in lacking
    assert report_of(made).sections[-1].text == ["The run of the full model is not there."]


def test_control_c(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("itin.train.sweeps.run.run", stop)
    result = reproduce("--cache", cache, "--seeds", 1, "--out", tmp_path / "out", *WORDS)
    assert result.exit_code == 130
    assert "Stopped. Finished runs are kept" in result.output


# What is refused -----------------------------------------------------------------------------------------------------


def test_another_protocol_in_the_same_folder(cache: Path, copy: Path) -> None:
    result = reproduce("--cache", cache, "--out", copy, "--protocol", "folds:3", *WORDS)
    assert result.exit_code == 1
    assert "holds a reproduction by another protocol" in result.output
    assert "expected: itin-811" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--figures", "4"], "figures: expected some of 5, 6, 7, got 4"),
        (["--tables", "two"], "tables: expected numbers with commas between, or none, got 'two'"),
        (["--d", "8,16"], "'8,16' is not a valid integer"),
        (["--head", "concat"], "No such option"),
        (["--set", "d=256", "--set", "mask=false"], "--set d=256 --set mask=false is now --d 256 --no-mask"),
        (["--m", "0:6"], "holds too few regions per image"),
    ],
)
def test_wrong_options(cache: Path, tmp_path: Path, words: list[str], message: str) -> None:
    result = reproduce("--cache", cache, "--out", tmp_path / "out", *words)
    assert result.exit_code != 0
    assert message in result.output


def test_no_reproduction(made: Reproduction, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a reproduction[\s\S]*reproduce.json"):
        Reproduction(tmp_path / "none")
    (copy / "reproduce.json").write_text('{"format": 9}')
    with pytest.raises(RunError, match=r"reproduce.json has another format version, newer"):
        Reproduction(copy)
    with pytest.raises(RunError, match=r"cannot read .*\.csv[\s\S]*remove the file and run `itin reproduce` again"):
        paper_evaluate.read(tmp_path, "none", LABELS)


def test_damaged_predictions(copy: Path) -> None:
    path = sorted((copy / "test").iterdir())[0]
    table = pd.read_csv(path)
    path.write_text(table.drop(columns="predicted").to_csv(index=False))
    with pytest.raises(RunError, match=r"is not a table of predictions[\s\S]*the columns id, part, label, predicted"):
        _ = Reproduction(copy).tables
    path.write_text(table.iloc[1:].to_csv(index=False))
    with pytest.raises(RunError, match="are not of the same pairs"):
        _ = Reproduction(copy).tables
