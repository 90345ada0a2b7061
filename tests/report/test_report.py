"""Whole reports: what they say of runs and sweeps, and what they do where something is gone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import precision_recall_fscore_support

from itin.cli import main
from itin.errors import RunError
from itin.labels import LABELS
from itin.predict.pairs import pairs_of
from itin.report.comparison import compare, compare_all, compare_data, comparison, show_p
from itin.report.names import names_of
from itin.report.page.figures import LineChart
from itin.report.report import Report, open_paths, report
from itin.report.run_sections import classes, confusion, learning, parts_of, provenance, reliability, summary
from itin.report.sweep_sections import curve_of
from itin.report.thumbnails import SIDE, Images, thumbnail, thumbnails
from itin.train.runs.folder import UNTRAINED_NOTE, load_run
from itin.train.sweeps.folder import Sweep

from ..features import Made, make_data, make_run
from .test_page import EVIL

pytestmark = pytest.mark.usefixtures("quick_workers")

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_data(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def runs(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(made, folder / "a")
    make_run(made, folder / "b", ablation="only-context")
    make_run(made, folder / "c", seed=1)
    return folder


@pytest.fixture(scope="module")
def sweep(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "sweep"
    options = ["--m", "0,1,2,3", "--d", "8", "--k", "8", "--hidden", "8", "--epochs", "2"]
    arguments = ["sweep", "--cache", str(made.cache), "--out", str(path), "--seeds", "2", "--workers", "1", *options]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def whole(runs: Path) -> Report:
    return report([runs])


def data_of(html: str, name: str) -> Any:
    (text,) = re.findall(rf'<script type="application/json" id="data-{name}">(.*?)</script>', html, re.S)
    return json.loads(text)


def test_names_say_what_differs(runs: Path, made: Made, tmp_path: Path) -> None:
    a, b, c = (load_run(runs / name) for name in "abc")
    assert names_of([a, b, c]) == ["ITIN, seed=0", "only-context", "ITIN, seed=1"]
    assert names_of([a, b]) == ["ITIN", "only-context"]
    assert names_of([a, a]) == ["ITIN (a)", "ITIN (a)"]
    other = load_run(make_run(made, tmp_path / "d", lam=0.5, epochs=1))
    assert names_of([a, other, c]) == ["ITIN, λ=0.2, seed=0", "ITIN, λ=0.5", "ITIN, λ=0.2, seed=1"]
    concat = load_run(make_run(made, tmp_path / "e", head="concat", lam=0.5, m=2))
    assert names_of([a, concat]) == ["ITIN", "concat"]


def test_summary_has_the_scores_of_the_run_folders(runs: Path) -> None:
    run = load_run(runs / "a")
    section = summary({"A": run})
    assert section.table is not None
    assert list(section.table["part"]) == ["validation", "test"]
    assert list(section.table["protocol"]) == ["itin-811, split seed 0"] * 2
    for part, row in zip(parts_of(run), section.table.to_dict("records"), strict=True):
        scores = run.metrics[part]
        assert row["accuracy"].startswith(f"{100 * scores['accuracy']:.1f}% (")
        low, high = map(float, re.findall(r"[\d.]+", row["accuracy"])[1:])
        assert low < 100 * scores["accuracy"] < high
        assert row["weighted F1"].startswith(f"{100 * scores['weighted_f1']:.1f}% (")
        assert row["pairs"] == 6
    assert not section.notes
    assert "Choose between runs by their validation figures" in summary({"A": run, "B": run}).notes[0]


def test_classes_and_confusion_are_scikit_learns(runs: Path) -> None:
    run = load_run(runs / "a")
    table = run.predictions[run.predictions["part"] == "test"]
    precision, recall, f1, support = precision_recall_fscore_support(
        table["label"], table["predicted"], labels=LABELS, zero_division=0.0
    )
    shown = classes({"A": run}).table
    assert shown is not None
    assert list(shown["pairs"]) == list(support)
    said = set(table["predicted"])
    for place, label in enumerate(LABELS):
        assert shown["F1"][place] == f"{100 * f1[place]:.1f}%"
        assert shown["recall"][place] == f"{100 * recall[place]:.1f}%"
        assert shown["precision"][place] == (f"{100 * precision[place]:.1f}%" if label in said else "–")
    (matrix,) = confusion({"A": run}).figures
    assert sum(map(sum, matrix.counts)) == 6  # type: ignore[union-attr]
    assert [list(row) for row in matrix.counts] == run.metrics["test"]["confusion"]  # type: ignore[union-attr]


def test_calibration_and_learning_curves_are_those_of_the_run(runs: Path) -> None:
    run = load_run(runs / "a")
    (diagram,) = reliability({"A": run}).figures
    table = run.predictions[run.predictions["part"] == "test"]
    confidence = table[[f"p_{label}" for label in LABELS]].to_numpy().max(1)
    right = (table["label"] == table["predicted"]).to_numpy()
    assert sum(diagram.counts) == len(table)  # type: ignore[union-attr]
    filled = [n for n in diagram.counts if n]  # type: ignore[union-attr]
    means = [c for c in diagram.confidence if np.isfinite(c)]  # type: ignore[union-attr]
    assert np.dot(filled, means) / len(table) == pytest.approx(confidence.mean())
    rights = [c for c in diagram.accuracy if np.isfinite(c)]  # type: ignore[union-attr]
    assert np.dot(filled, rights) == pytest.approx(right.sum())
    loss, accuracy = learning({"A": run}).figures
    assert [line.label for line in loss.lines] == ["validation", "training"]  # type: ignore[union-attr]
    assert loss.lines[0].y == tuple(run.history["val_loss"])  # type: ignore[union-attr]
    assert accuracy.lines[1].y == tuple(run.history["train_accuracy"])  # type: ignore[union-attr]


def test_provenance_names_encoders_weights_and_versions(runs: Path, made: Made) -> None:
    run = load_run(runs / "a")
    table = provenance({"A": run}).table
    assert table is not None
    facts = dict(zip(table[""], table["A"], strict=True))
    assert facts["protocol"] == "itin-811, split seed 0 (48 training / 6 validation / 6 test)"
    assert facts["read from"] == str(made.images)
    assert facts["regions: encoder"] == "made"
    assert facts["regions: weights"] == f"random_init 0, sha256 {'ab' * 32}"
    assert facts["tokens: fingerprint"] == run.record["stores"]["tokens"]["fingerprint"]
    assert facts["torch"] == run.environment["torch"]
    assert facts["seed"] == "0"


def test_comparison_counts_pairs_and_tests_them(runs: Path) -> None:
    a, b, c = (load_run(runs / name) for name in "abc")
    found = compare(a, b, ("A", "B"))
    assert found is not None
    tables = [run.predictions[run.predictions["part"] == "test"].set_index("id") for run in (a, b)]
    right = [(table["label"] == table["predicted"]) for table in tables]
    assert (found.only_a, found.only_b) == (int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
    assert (found.n, found.accuracy_a) == (6, right[0].mean())
    named = {"A": a, "B": b, "C": c}
    compared = compare_all(named)
    assert list(compared) == [(0, 1), (0, 2), (1, 2)]
    section = comparison(list(compared.values()))
    assert section.table is not None
    assert list(section.table["only A right"]) == [one.only_a for one in compared.values()]
    data = compare_data(named, compared, {"A": {tables[0].index[0]: "its text"}}, ["A"])
    (group,) = data["groups"]
    assert group["ids"] == list(tables[0].index)
    assert group["texts"] == ["its text", *[""] * 5]
    assert [LABELS[n] for n in data["runs"][1]["predicted"]] == list(tables[1]["predicted"])
    assert [run["shown"] for run in data["runs"]] == [0, None, None]
    assert data["tests"]["0-1"] == f"McNemar's exact test: p {show_p(found.p, sign=True)}."
    assert (show_p(0.0004), show_p(0.5), show_p(0.5, sign=True)) == ("< 0.001", "0.500", "= 0.500")


def test_other_parts_are_not_compared(made: Made, runs: Path, tmp_path: Path) -> None:
    a = load_run(runs / "a")
    closed = load_run(make_run(made, tmp_path / "closed", evaluate=("val",)))
    assert compare(a, closed, ("A", "B")) is None
    other = load_run(make_run(made, tmp_path / "other", split_seed=1))
    found = compare(a, other, ("A", "B"))
    ids = [set(run.predictions[run.predictions["part"] == "test"]["id"]) for run in (a, other)]
    assert (0 if found is None else found.n) == len(ids[0] & ids[1])
    alone = make_run(made, tmp_path / "alone")
    predictions = load_run(alone).predictions
    last = predictions[predictions["part"] == "test"]["id"].iloc[-1]
    predictions.loc[predictions["id"] == last, "id"] = f"{last}.jpg"
    predictions.to_csv(alone / "predictions.csv", index=False)
    found = compare(a, load_run(alone), ("A", "D"))
    assert found is not None
    assert (found.n, found.match.ours, found.match.theirs) == (5, (last,), (f"{last}.jpg",))
    assert comparison([found]).notes == [
        f"A and D are compared on the 5 pairs of both: pairs of A alone: 1 ({last}); pairs of D alone: 1 ({last}.jpg); "
        f"likely cause: file extensions: '{last}' against '{last}.jpg', 1 such."
    ]
    data = compare_data({"A": a, "C": closed}, {}, {}, [])
    assert [run["group"] for run in data["runs"]] == [0, 1]


def test_a_report_of_runs_says_all_of_it(whole: Report, tmp_path: Path) -> None:
    assert [section.name for section in whole.sections] == [
        "summary", "classes", "confusion", "calibration", "learning", "comparison", "provenance", "pairs",
    ]  # fmt: skip
    assert whole.banner == UNTRAINED_NOTE
    assert not whole.missing
    page = whole.write(tmp_path / "out", "svg")
    html = page.read_text(encoding="utf-8")
    assert UNTRAINED_NOTE in html
    pairs = data_of(html, "pairs")
    assert [run["name"] for run in pairs["runs"]] == ["ITIN, seed=0", "ITIN, seed=1", "only-context"]
    assert all(one["url"].startswith("data:image/webp;base64,") for one in pairs["pictures"].values())
    assert {path.name for path in (page.parent / "tables").iterdir()} == {
        f"{name}.{kind}" for name in ("summary", "classes", "comparison", "provenance") for kind in ("csv", "tex")
    }
    assert {path.name for path in (page.parent / "figures").iterdir()} == {
        f"{name}.svg"
        for name in (
            *(f"{what}-{n}" for what in ("confusion", "calibration") for n in (1, 2, 3)),
            "learning-loss",
            "learning-accuracy",
        )
    }
    frame = pd.read_csv(page.parent / "tables" / "classes.csv")
    assert list(frame["class"]) == list(LABELS) * 3


def test_pairs_on_the_page_are_those_of_the_head(whole: Report, runs: Path) -> None:
    run = load_run(runs / "a")
    for shown, pair in zip(whole.data["pairs"]["runs"][0]["pairs"], pairs_of(run), strict=True):
        assert "".join(piece for piece, _ in shown["text"]) == pair.text
        assert [piece for piece, number in shown["text"] if number is not None] == pair.prediction.words
        assert LABELS[shown["label"]] == pair.label
        assert shown["p"] == pytest.approx(list(pair.prediction.probabilities.values()), abs=5e-5)
        for one, region in zip(shown["regions"], pair.prediction.regions, strict=True):
            assert (one["gate"], one["attention"]) == pytest.approx((region.gate, region.attention), abs=5e-5)
            assert dict(one["words"]) == pytest.approx(region.words, abs=5e-5)
            assert one["box"] == pytest.approx(region.box, abs=0.05)
            assert one["name"] == region.name


def test_images_are_found_where_they_have_moved_and_are_the_right_ones(made: Made, runs: Path, tmp_path: Path) -> None:
    pairs = pairs_of(load_run(runs / "a"))
    moved = tmp_path / "moved" / "deeper"
    shutil.copytree(made.images, moved)
    recorded, flat = Images(made.images), Images(Path("/elsewhere"), moved)
    assert thumbnail(pairs[0], recorded) == thumbnail(pairs[0], Images(made.images, moved)) == thumbnail(pairs[0], flat)
    nowhere = thumbnail(pairs[0], Images(made.images, tmp_path / "nothing"))
    assert (nowhere.url, nowhere.reason, nowhere.size) == ("", "image not found", (64, 48))
    (moved / pairs[0].image.name).write_bytes((moved / pairs[1].image.name).read_bytes())
    assert thumbnail(pairs[0], flat).reason == "another image than the one whose features were made"
    assert len(thumbnails(pairs, recorded)) == len({pair.image_sha256 for pair in pairs})
    assert SIDE == 256


def test_what_is_gone_is_told_and_the_rest_is_shown(runs: Path, made: Made, tmp_path: Path) -> None:
    without = report([runs / "a"], images=tmp_path)
    assert without.missing == ["6 of 6 images cannot be shown: image not found"]
    assert without.sections[-1].notes == ["6 of 6 images cannot be shown: image not found."]
    closed = report([runs / "a"], cache=tmp_path)
    assert closed.missing[0].startswith("the pairs of ITIN cannot be shown: the regions features that the run")
    assert "pairs" not in closed.data
    assert closed.sections[-1].text[0].startswith("The pairs of ITIN cannot be shown")


def test_sweeps_have_configurations_and_a_curve(sweep: Path, tmp_path: Path) -> None:
    made = report([sweep])
    names = [section.name for section in made.sections]
    assert names[:3] == ["summary", "sweep-1", "sweep-1-m"]
    table, (curve,) = made.sections[1].table, made.sections[2].figures
    assert table is not None
    assert isinstance(curve, LineChart)
    frame = Sweep(sweep).configurations()
    assert list(table["m"]) == list(frame["m"])
    assert list(table["seeds"]) == [2] * len(frame)
    assert table["validation accuracy"][0].startswith(f"{100 * frame['val_accuracy'][0]:.1f}% ± ")
    by_m = frame.set_index("m")
    accuracy = curve.lines[0]
    assert accuracy.label == "validation accuracy"
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.x == tuple(sorted(by_m.index))
    for m, low, value, high in zip(accuracy.x, accuracy.low, accuracy.y, accuracy.high, strict=True):
        assert value == pytest.approx(by_m.at[m, "val_accuracy"])
        assert low <= value <= high
    assert (curve.name, curve.mark, curve.mark_label) == ("sweep-1-m", 2, "the paper's optimum")
    best = open_paths([sweep])[0]
    assert [run.config.m for run in best] == [frame["m"][0]] * 2
    assert curve_of(Sweep(sweep).results().head(1), "m", "m", "m") is None
    made.write(tmp_path)
    shown = Sweep(sweep)._repr_html_()
    assert f"{len(frame)} configurations on the validation part" in shown
    assert UNTRAINED_NOTE in shown
    assert f"<td>{frame['val_accuracy'][0]:.4g}</td>" in shown


def test_nothing_to_report_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder"):
        report([tmp_path])
    with pytest.raises(RunError, match=r"nothing to report on\n.*\n  found:    no finished run in no path"):
        report([])


@pytest.mark.parametrize("evil", EVIL)
def test_other_peoples_texts_and_names_stay_texts(evil: str, tmp_path: Path) -> None:
    made = make_data(tmp_path, 30, texts=[evil + " a"] * 30, ids=[f"{evil} {i}" for i in range(30)])
    folder = tmp_path / evil.replace("/", "∕")
    made_report = report([make_run(made, folder)], title=evil)
    html = made_report.html()
    assert len(re.findall("<script", html)) == 2  # the data of the pairs, the script, and none of theirs
    assert len(re.findall("</script", html)) == len(re.findall("<script", html))
    assert "<img" not in html
    texts = {"".join(piece for piece, _ in pair["text"]) for pair in data_of(html, "pairs")["runs"][0]["pairs"]}
    assert texts == {evil + " a"}


def test_command_writes_and_says_where(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["report", str(runs / "a"), "--figures", "none", "--title", "My title"])
    assert done.exit_code == 0, done.output
    assert re.search(r"^itin-report/report.html  \([\d.]+ MB; 3 tables and the figures beside it\)$", done.output, re.M)
    assert UNTRAINED_NOTE in done.output
    html = (tmp_path / "itin-report" / "report.html").read_text(encoding="utf-8")
    assert "<title>My title</title>" in html
    assert not (tmp_path / "itin-report" / "figures").exists()
    done = CliRunner().invoke(main, ["report", str(runs / "a"), "--images", "nowhere"])
    assert done.exit_code == 1
    assert "nowhere is not a folder" in done.output
