"""Reports of runs whose target is a number, against the runs' own files and SciPy."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from itin.cache import read_table, write_table
from itin.cli import main
from itin.errors import RunError
from itin.predict.pairs import pairs_of
from itin.report.browser import RunPairs, pairs_data
from itin.report.comparison import compare, compare_all, compare_data, comparisons
from itin.report.number_comparison import NumberComparison
from itin.report.number_sections import cut_scores, further, intervals_of, number_summary, predicted, worst
from itin.report.page.files import to_latex
from itin.report.page.number_figures import Histogram, Scatter
from itin.report.report import report
from itin.report.run_sections import learning, provenance, summary
from itin.report.sweep_sections import sweep_sections
from itin.train.number_statistics import sign_flip
from itin.train.runs.folder import Run, load_run
from itin.train.runs.listing import best, runs_table
from itin.train.sweeps.folder import Sweep

from ..features import Made, make_data, make_run, planted_votes
from .test_page import EVIL
from .test_report import data_of

pytestmark = pytest.mark.usefixtures("quick_workers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_data(tmp_path_factory.mktemp("made"), 120, texts=EVIL * 15, votes=True)


@pytest.fixture(scope="module")
def runs(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(made, folder / "a", target="intensity", epochs=6)
    make_run(made, folder / "b", target="intensity+label+text-intensity", ablation="only-context")
    make_run(made, folder / "c")
    return folder


@pytest.fixture(scope="module")
def a(runs: Path) -> Run:
    return load_run(runs / "a")


@pytest.fixture(scope="module")
def b(runs: Path) -> Run:
    return load_run(runs / "b")


def shown(run: Run) -> pd.DataFrame:
    """The test part of `predictions.csv`, read without the package."""
    table = pd.read_csv(run.path / "predictions.csv", dtype={"id": str})
    return table[table["part"] == "test"].reset_index(drop=True)


def floats(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?[\d.]+", text.replace("−", "-"))]


def test_scores_have_intervals_the_mean_and_the_annotators_beside_them(a: Run, made: Made) -> None:
    table = shown(a)
    ids = [made.ids.index(one) for one in table["id"]]
    votes = pd.DataFrame([planted_votes(i, made.labels[i]) for i in ids]).drop(columns=["intensity", "text-intensity"])
    each = votes.map({"positive": 1, "neutral": 0, "negative": -1}.__getitem__)
    people = np.stack([(each[f"text-label-{k}"] + each[f"image-label-{k}"]) / 2 for k in (1, 2, 3)])
    assert people.mean(0) == pytest.approx(table["label"])
    apart = [people[k] - np.delete(people, k, 0).mean(0) for k in range(3)]
    result = report([a.path])
    section = next(one for one in result.sections if one.name == "scores")
    assert section.table is not None
    assert list(section.table["run"]) == ["ITIN", "ITIN", *[section.table["run"][2]] * 2, "one annotator"]
    validation, test, *_, constant, annotator = section.table.to_dict("records")
    assert (validation["part"], test["part"], test["protocol"]) == ("validation", "test", "itin-811, split seed 0")
    error = (table["predicted"] - table["label"]).to_numpy()
    known = {
        "MAE": np.abs(error).mean(),
        "RMSE": np.sqrt((error**2).mean()),
        "Pearson": stats.pearsonr(table["label"], table["predicted"]).statistic,
        "Spearman": stats.spearmanr(table["label"], table["predicted"]).statistic,
    }
    for name, value in known.items():
        found, low, high = floats(test[name])
        assert found == pytest.approx(value, abs=6e-4)
        assert low < found < high
    parts = a.parts
    taught = [planted_votes(i, made.labels[i])["intensity"] for i, one in enumerate(made.ids) if parts[one] == "train"]
    assert floats(constant["run"])[0] == pytest.approx(np.mean(taught), abs=6e-4)
    assert floats(constant["MAE"])[0] == pytest.approx(np.abs(table["label"] - np.mean(taught)).mean(), abs=6e-4)
    assert (constant["Pearson"], constant["epoch kept"]) == ("–", "")
    assert floats(annotator["MAE"])[0] == pytest.approx(np.mean([np.abs(one).mean() for one in apart]), abs=6e-4)
    assert annotator["pairs"] == len(table)
    assert section.text[1].startswith("One annotator: ")
    alpha = 1.5 * (1 - people.var(1).sum() / people.sum(0).var())
    assert f"a Pearson correlation of {alpha**0.5:.2f}, the root of Cronbach's alpha" in section.text[1]
    assert "intensity goes from −1 to 1" in section.text[0]


def test_no_annotators_without_their_votes(a: Run) -> None:
    section = number_summary({"A": a}, intervals_of({"A": a}), {})
    assert section.table is not None
    assert len(section.table) == 4
    assert len(section.text) == 1


def test_cut_scores_are_those_of_the_run(a: Run) -> None:
    section = cut_scores({"A": a}, intervals_of({"A": a}))
    assert section is not None
    assert section.table is not None
    rows = section.table[section.table["part"] == "test"].to_dict("records")
    table = shown(a)
    band = a.metrics["test"]["band"]
    assert f"within {band:.3g} of 0" in section.text[0]
    three = [np.where(np.abs(table[side]) <= band, 0, np.sign(table[side])) for side in ("label", "predicted")]
    assert floats(rows[2]["accuracy"])[0] == pytest.approx(100 * (three[0] == three[1]).mean(), abs=0.06)
    signed = table[table["label"].abs() > band]
    right = ((signed["label"] > 0) == (signed["predicted"] > 0)).mean()
    assert (rows[0]["pairs"], floats(rows[0]["accuracy"])[0]) == (len(signed), pytest.approx(100 * right, abs=0.06))
    stars = replace(a, metrics={part: {**a.metrics[part], "cut": None} for part in ("val", "test")})
    assert cut_scores({"A": stars}, intervals_of({"A": stars})) is None


def test_predicted_and_true_are_drawn_and_listed_by_level(a: Run) -> None:
    section = predicted({"A": a})
    scatter, histogram = section.figures
    table = shown(a)
    assert isinstance(scatter, Scatter)
    assert isinstance(histogram, Histogram)
    assert sum(count for *_, count in scatter.marks) == sum(histogram.counts) == len(table)
    assert scatter.half_width == a.metrics["conformal"]["half_width"]["intensity"]
    levels = table.groupby(table["label"].round(6))["predicted"].mean()
    assert [value for _, value in scatter.means] == pytest.approx(list(levels))
    assert section.table is not None
    assert floats(" ".join(section.table["mean predicted"])) == pytest.approx(list(levels), abs=6e-4)
    assert floats(" ".join(section.table["true"])) == pytest.approx(list(levels.index), abs=6e-3)
    assert list(section.table["pairs"]) == list(table.groupby(table["label"].round(6)).size())


def test_largest_errors_first_with_their_texts(a: Run, made: Made) -> None:
    table = shown(a)
    order = (table["predicted"] - table["label"]).abs().sort_values(ascending=False, kind="stable").index
    found = worst({"A": a}, {"A": pairs_of(a)}).table
    assert found is not None
    assert list(found["pair"]) == [table["id"][place] for place in order[:8]]
    assert list(found["text"]) == [made.texts[made.ids.index(one)] for one in found["pair"]]
    without = worst({"A": a}, {}).table
    assert without is not None
    assert set(without["text"]) == {"–"}


def test_further_targets_of_any_type_stand_in_one_table(a: Run, b: Run) -> None:
    section = further({"A": a, "B": b})
    assert section is not None
    assert section.table is not None
    assert list(section.table["target"]) == ["label", "text-intensity"] * 2
    label, text = section.table[section.table["part"] == "test"].to_dict("records")
    scores = b.metrics["test"]["targets"]
    assert floats(label["accuracy"])[0] == pytest.approx(100 * scores["label"]["accuracy"], abs=0.06)
    assert (label["MAE"], text["accuracy"]) == ("–", "–")
    assert floats(text["MAE"])[0] == pytest.approx(scores["text-intensity"]["mae"], abs=6e-4)
    assert floats(label["always the same"])[0] == pytest.approx(100 * scores["label"]["majority"]["accuracy"], abs=0.06)
    assert floats(text["always the same"])[0] == pytest.approx(scores["text-intensity"]["baseline"]["mae"], abs=6e-4)
    assert further({"A": a}) is None


def test_two_runs_are_compared_by_their_errors(a: Run, b: Run, runs: Path) -> None:
    found = compare(a, b, ("A", "B"))
    assert isinstance(found, NumberComparison)
    tables = [shown(run) for run in (a, b)]
    away = [np.abs(table["predicted"] - table["label"]).to_numpy() for table in tables]
    assert (found.n, found.nearer_a) == (len(away[0]), (away[0] < away[1]).sum())
    assert found.differences["mae"].value == pytest.approx(away[0].mean() - away[1].mean())
    assert found.p == sign_flip(*away)
    named = {"A": a, "B": b, "C": load_run(runs / "c")}
    compared = compare_all(named)
    assert list(compared) == [(0, 1)]  # the label of the third is another target
    (section,) = comparisons(list(compared.values()))
    assert (section.name, section.widget) == ("comparison-numbers", "compare")
    assert section.table is not None
    assert floats(section.table["MAE A − B"][0])[0] == pytest.approx(found.differences["mae"].value, abs=6e-4)
    data = compare_data(named, compared, {}, ["A"])
    assert [group["classes"] for group in data["groups"]] == [[], ["positive", "neutral", "negative"]]
    assert data["groups"][0]["labels"] == pytest.approx(list(tables[0]["label"]), abs=1e-4)
    assert data["runs"][1]["predicted"] == pytest.approx(list(tables[1]["predicted"]), abs=1e-4)
    assert data["tests"]["0-1"].startswith("Sign-flip test of the absolute errors: p ")


def test_pairs_have_value_prediction_and_interval(a: Run) -> None:
    pairs = pairs_of(a)
    table, half = shown(a), a.metrics["conformal"]["half_width"]["intensity"]
    assert [pair.value for pair in pairs] == pytest.approx(list(table["label"]))
    assert [pair.prediction.value for pair in pairs] == pytest.approx(list(table["predicted"]))
    low, high = zip(*(pair.prediction.interval or () for pair in pairs), strict=True)
    assert low == pytest.approx(np.clip(table["predicted"] - half, -1, 1))
    assert high == pytest.approx(np.clip(table["predicted"] + half, -1, 1))
    data = pairs_data([RunPairs("A", "test", pairs, (-1.0, 1.0))], {})["runs"][0]
    assert (data["labels"], data["span"]) == ([], (-1.0, 1.0))
    assert [one["label"] for one in data["pairs"]] == pytest.approx(list(table["label"]), abs=1e-4)
    assert json.loads(json.dumps(data, allow_nan=False))["pairs"][0]["interval"] == pytest.approx(
        (low[0], high[0]), abs=1e-4
    )
    unknown = replace(pairs[0], label="", value=None)
    assert pairs_data([RunPairs("A", "test", [unknown], (-1.0, 1.0))], {})["runs"][0]["pairs"][0]["label"] is None


def test_further_targets_are_predicted_with_each_pair(b: Run) -> None:
    label = pd.read_csv(b.path / "predictions.label.csv", dtype={"id": str}).query("part == 'test'").set_index("id")
    text = pd.read_csv(b.path / "predictions.text-intensity.csv", dtype={"id": str}).query("part == 'test'")
    pairs = pairs_of(b)
    assert [pair.prediction.further["label"].label for pair in pairs] == list(label["predicted"])
    chances = [pair.prediction.further["label"].probabilities["neutral"] for pair in pairs]
    assert chances == pytest.approx(list(label["p_neutral"]), abs=1e-5)
    values = [pair.prediction.further["text-intensity"].value for pair in pairs]
    assert values == pytest.approx(list(text["predicted"]), abs=1e-5)


def test_a_changed_checkpoint_is_noticed(a: Run, b: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(a.path, tmp_path / "run"))
    (folder / "predictions.csv").write_text(re.sub(r",[^,\n]+\n", ",0.987\n", (folder / "predictions.csv").read_text()).replace("label,0.987", "label,predicted"))  # fmt: skip  # noqa: E501
    with pytest.raises(RunError, match="does not reproduce the run's predictions") as error:
        pairs_of(load_run(folder))
    assert "the numbers of its predictions.csv, within 0.02" in str(error.value)


def test_a_target_that_is_gone_is_an_error_not_a_traceback(a: Run, made: Made, tmp_path: Path) -> None:
    """The data set extracted again without it: the report shows the rest."""
    cache = Path(shutil.copytree(made.cache, tmp_path / "cache"))
    table = read_table(cache / "made-up")
    record = {key: table.dataset[key] for key in ("name", "source")}
    record["targets"] = [one for one in table.dataset["targets"] if one["name"] != "intensity"]
    write_table(cache / "made-up", record, table.samples.to_dict("records"), [])
    with pytest.raises(RunError, match="does not have what the run") as error:
        pairs_of(a, cache=cache)
    assert "expected: the target intensity" in str(error.value)
    result = report([a.path], cache=cache)
    assert "does not have what the run" in result.missing[0]
    assert result.sections[0].name == "scores"


def test_a_report_of_classes_and_numbers(runs: Path, tmp_path: Path) -> None:
    result = report([runs])
    assert [section.name for section in result.sections] == [
        "summary", "scores", "cut", "further", "classes", "confusion", "calibration", "predicted", "worst", "learning",
        "comparison-numbers", "provenance", "pairs",
    ]  # fmt: skip
    page = result.write(tmp_path)
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"predicted-1.pdf", "errors-2.pdf", "learning-mae.pdf", "learning-accuracy.pdf"} <= made
    scores = pd.read_csv(tmp_path / "tables" / "scores.csv")
    assert {"MAE", "CCC", "protocol"} <= set(scores)
    assert "-- 0." in (tmp_path / "tables" / "scores.tex").read_text()
    html = page.read_text()
    data = data_of(html, "pairs")
    assert sorted(str(run["span"]) for run in data["runs"]) == ["None", "[-1.0, 1.0]", "[-1.0, 1.0]"]
    assert "window.evil" in html  # the texts of the data set
    assert "<script>window.evil" not in html


def test_learning_curves_and_provenance(a: Run, runs: Path) -> None:
    named = {"A": a, "C": load_run(runs / "c")}
    loss, accuracy, mae = learning(named).figures
    assert [line.label for line in mae.lines] == ["A: validation", "A: training"]  # type: ignore[union-attr]
    assert mae.lines[0].y == tuple(a.history["val_mae"])  # type: ignore[union-attr]
    assert [line.label for line in accuracy.lines] == ["C: validation", "C: training"]  # type: ignore[union-attr]
    assert len(loss.lines) == 4  # type: ignore[union-attr]
    table = provenance(named).table
    assert table is not None
    facts = table.set_index("").loc["target"]
    assert facts["A"] == "intensity, a number from -1 to 1"
    assert facts["C"] == "label, 3 classes: positive, neutral, negative"


@pytest.mark.parametrize("evil", EVIL)
def test_names_of_targets_stay_texts(evil: str, b: Run) -> None:
    metrics = {part: dict(b.metrics[part]) for part in ("val", "test")}
    for scores in metrics.values():
        scores["targets"] = {evil: scores["targets"]["label"], "text-intensity": scores["targets"]["text-intensity"]}
    named = replace(b, metrics={**b.metrics, **metrics})
    named.__dict__["targets"] = tuple(replace(one, name=evil) if one.name == "label" else one for one in b.targets)
    section = further({"B": named})
    assert section is not None
    assert "<script>" not in to_latex(section)
    table = provenance({"B": named}).table
    assert table is not None
    assert table.set_index("").loc["further target 1"]["B"].startswith(f"{evil}, 3 classes")


def test_sweeps_of_numbers(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    small = ["--m", "0,1,2", "--d", "8", "--k", "8", "--hidden", "8", "--epochs", "2", "--seeds", "2", "--workers", "1"]
    arguments = ["sweep", "--cache", str(made.cache), "--out", str(path), "--target", "intensity", *small]
    done = CliRunner().invoke(main, [*arguments, "--select", "mae", "--reveal-test"])
    assert done.exit_code == 0, done.output
    sweep = Sweep(path)
    table, curve = sweep_sections(sweep, 1)
    assert table.table is not None
    results = pd.read_csv(path / "results.csv")
    means = results.groupby("m")["val_mae"].mean().sort_values()
    assert list(table.table["m"]) == list(means.index)
    assert [floats(one)[0] for one in table.table["validation MAE"]] == pytest.approx(list(means), abs=6e-4)
    assert "best by validation MAE first" in table.caption
    ends = [floats(one)[-2:] for one in table.table["validation Pearson"]]
    assert all(-1 <= low <= high <= 1 for low, high in ends)
    (chart,) = curve.figures
    assert not chart.percent  # type: ignore[union-attr]
    assert [line.label for line in chart.lines] == ["validation MAE", "validation Pearson"]  # type: ignore[union-attr]
    assert chart.lines[0].y == pytest.approx(list(means.sort_index()))  # type: ignore[union-attr]
    assert "the paper" not in curve.title
    revealed = json.loads((path / "test.json").read_text())
    assert f"MAE {revealed['mean']['mae']:.3f}" in table.notes[-1]
    assert {"scores", "sweep-1"} <= {section.name for section in report([path]).sections}


def test_a_summary_names_a_target_of_classes_that_is_not_the_label(made: Made, runs: Path, tmp_path: Path) -> None:
    run = load_run(make_run(made, tmp_path / "text", target="text-label-1"))
    table = summary({"C": load_run(runs / "c"), "text": run}).table
    assert table is not None
    assert list(table["target"]) == ["label", "label", "text-label-1", "text-label-1"]
    alone = summary({"C": load_run(runs / "c")}).table
    assert alone is not None
    assert "target" not in alone


def test_runs_are_listed_with_their_targets(runs: Path, tmp_path: Path) -> None:
    table, bad = runs_table([runs])
    assert not bad
    assert list(table["target"]) == ["intensity", "intensity+label+text-intensity", "label"]
    assert list(table["kind"]) == ["-1 to 1", "-1 to 1", "3 classes"]
    metrics = json.loads((runs / "a" / "metrics.json").read_text())
    assert table["val_mae"][0] == metrics["val"]["mae"]
    assert table["test_pearson"][0] == metrics["test"]["pearson"]
    assert np.isnan(table["val_accuracy"][0])
    with pytest.raises(ValueError, match="no score in common"):
        best(table, 1)
    numbers = table[table["kind"] == "-1 to 1"]
    assert best(numbers, 1)["val_loss"].iloc[0] == numbers["val_loss"].min()
    listed = CliRunner().invoke(main, ["runs", str(runs), "--test"])
    assert listed.exit_code == 0, listed.output
    header, first, *_, third, _protocol, _note = listed.output.splitlines()
    assert "intensity (-1 to 1)" in first
    assert "label (3 classes)" in third
    assert header.split()[-5:] == ["val_loss", "test_accuracy", "test_weighted_f1", "test_mae", "test_pearson"]
    mixed = CliRunner().invoke(main, ["runs", str(runs), "--best", "1"])
    assert mixed.exit_code == 2
    assert "--where target=NAME" in mixed.output
    one = CliRunner().invoke(main, ["runs", str(runs), "--best", "1", "--where", "target=intensity"])
    assert "accuracy" not in one.output.splitlines()[0]


@pytest.mark.parametrize("first", ["label", "intensity"])
def test_pairs_without_the_first_target_teach_and_are_not_reported(first: str, made: Made, tmp_path: Path) -> None:
    """A fifth of the pairs lacks it: they are in no evaluated part, no score, no figure and no list of pairs."""
    cache = Path(shutil.copytree(made.cache, tmp_path / "cache"))
    table = read_table(cache / "made-up")
    rows = table.samples.to_dict("records")
    for row in rows[::5]:
        if first == "label":
            row["label"] = None
        else:
            row["targets"] = {name: value for name, value in row["targets"].items() if name != "intensity"}
    write_table(cache / "made-up", table.dataset, rows, [])
    target = "label+intensity" if first == "label" else "intensity+label"
    sizes = ["--m", "3", "--d", "8", "--k", "8", "--hidden", "8", "--epochs", "2", "--lr", "0.02"]
    where = ["--cache", str(cache), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, ["train", "--target", target, *where, *sizes])
    assert done.exit_code == 0, done.output
    run, lacking = load_run(tmp_path / "run"), {row["id"] for row in rows[::5]}
    recorded = pd.read_csv(run.path / "predictions.csv", dtype={"id": str})
    assert not lacking & set(recorded["id"])
    tested = recorded[recorded["part"] == "test"]
    result = report([run.path], cache=cache)
    assert result.missing == []
    page = result.write(tmp_path / "report").read_text()
    (shown,) = data_of(page, "pairs")["runs"]
    assert sorted(pair["id"] for pair in shown["pairs"]) == sorted(tested["id"])
    assert not re.search(r">(nan|None)<", page)
    pairs = {pair.id: pair for pair in pairs_of(run, cache=cache)}
    assert set(pairs) == set(tested["id"])
    assert not lacking & set(pairs)
