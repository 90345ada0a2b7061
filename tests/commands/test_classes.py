"""Any labels in the real commands: from a folder's table to features, runs, sweeps, pages and predictions."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import classification_report, confusion_matrix, f1_score

from itin.cache import read_table
from itin.cache.format.sealed_json import read_json, write_json
from itin.cli import main
from itin.itin_head.registry import HEADS
from itin.report.paper.reproduction import Reproduction
from itin.train.runs.folder import load_run
from itin.train.sweeps.folder import Sweep

from ..own_encoders import CONTEXT, current_folder, example

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

NAMED = ("--regions", "mine:ColourGrid", "--text-encoder", "mine:HashedLetters", "--context-encoder", "mine:Mean")
HEAD = ("--d", "8", "--k", "8", "--lr", "0.05", "--epochs", "6", "--batch-size", "8", "--device", "cpu")
LABELS = {
    2: ["sarcastic", "not sarcastic"],
    7: ["=cmd()", "a|b", "<b>bold</b>", "two words", "радость", "007", 'p, "q" & 100% $x_1^2~\\'],
}


class Trained(NamedTuple):
    """A data set of so many classes, its features in `cache` and a run in `run`, all in one folder."""

    folder: Path
    classes: list[str]
    extracted: str
    shown: str


def itin(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def draw(root: Path, labels: list[str], pairs: int) -> None:
    """Draw pairs whose picture's colour tells the class; the labels in turn."""
    root.mkdir()
    rows = [["id", "image", "text", "label"]]
    for n in range(pairs):
        place = n % len(labels)
        colour = (place * 97 % 256, place * 53 % 256, 255 - place * 31)
        Image.new("RGB", (24 + n % 5, 24), colour).save(root / f"{n}.png")
        rows.append([str(n), f"{n}.png", f"day number {n}", labels[place]])
    with (root / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module", params=LABELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with current_folder(tmp_path_factory.mktemp("classes")) as folder:
        (folder / "mine.py").write_text(example() + CONTEXT)
        labels = LABELS[request.param]
        draw(folder / "data", labels, 18 * len(labels))
        extracted = itin("extract", "--dataset", "folder", "--root", "data", "--cache", "cache", *NAMED)
        shown = itin("train", "--cache", "cache", *HEAD, "--out", "run")
        yield Trained(folder, sorted(labels), extracted, shown)


def test_classes_are_recorded_and_shown(trained: Trained) -> None:
    run = load_run("run")
    (table,) = Path("cache").glob("*/dataset.json")
    assert read_json(table)["classes"] == list(run.classes) == run.record["labels"] == trained.classes
    assert f"{len(trained.classes)} classes: {', '.join(trained.classes)}" in trained.extracted
    assert run.head_config.classes == len(trained.classes)
    for label in trained.classes:
        assert label in trained.shown
    with Path("run/predictions.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file))[4:] == [f"p_{label}" for label in trained.classes]
    assert set(run.predictions["label"]) <= set(trained.classes)


def test_scores_are_those_of_scikit_learn(trained: Trained) -> None:
    run = load_run("run")
    own = run.predictions[run.predictions["part"] == "test"]
    report = classification_report(
        own["label"], own["predicted"], labels=trained.classes, output_dict=True, zero_division=0.0
    )
    scores = run.metrics["test"]
    assert scores["f1"] == pytest.approx({label: report[label]["f1-score"] for label in trained.classes})
    assert scores["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert scores["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    assert scores["confusion"] == confusion_matrix(own["label"], own["predicted"], labels=trained.classes).tolist()
    assert scores["accuracy"] > 0.6  # colours tell the classes apart
    assert f"{scores['accuracy']:.4f}" in itin("evaluate", "run")


def test_predictions_name_the_classes(trained: Trained) -> None:
    printed = itin("predict", "run", "--image", "data/1.png", "--text", "a day", *NAMED)
    assert printed.splitlines()[0].split("  (")[0] in trained.classes
    for label in trained.classes:
        assert re.search(re.escape(label) + r" \d\.\d{3}[,)]", printed)
    printed = itin("predict", "run", "--table", "data/t.csv", *NAMED)
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert list(rows[0]) == ["id", "predicted", *(f"p_{label}" for label in trained.classes), "error"]
    for row in rows:
        chances = {label: float(row[f"p_{label}"]) for label in trained.classes}
        assert max(chances, key=lambda label: chances[label]) == row["predicted"]
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    itin("explain", "run", "--image", "data/1.png", "--text", "a day", *NAMED, "--out", "drawn.html")
    assert "<b>bold" not in Path("drawn.html").read_text(encoding="utf-8")


def test_the_report_shows_labels_as_they_are(trained: Trained) -> None:
    itin("train", "--cache", "cache", *HEAD, "--head", "majority", "--out", "other")
    itin("report", "run", "other", "--out", "report", "--figures", "svg")
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "<b>bold" not in page
    for script in re.findall(r'<script type="application/json" id="data-[a-z]+">(.*?)</script>', page, re.S):
        for group in (data := json.loads(script)).get("groups", data["runs"]):
            assert group.get("classes", group["labels"]) == trained.classes
    table = pd.read_csv("report/tables/classes.csv", dtype=str, keep_default_na=False)
    assert table["class"].tolist() == trained.classes * 2
    latex = Path("report/tables/classes.tex").read_text(encoding="utf-8")
    if len(trained.classes) == 7:
        for escaped in (
            r"& 007 &",
            r"\textless{}b\textgreater{}bold",
            r"a\textbar{}b",
            r"\& 100\% \$x\_1\textasciicircum{}2",
        ):
            assert escaped in latex
    assert all(line.count("&") - line.count(r"\&") == 6 for line in latex.splitlines() if line.startswith("ITIN"))


def test_data_check_counts_them(trained: Trained) -> None:
    found = json.loads(itin("data", "check", "--cache", "cache", "--json"))
    whole = found["classes"][0]
    assert [whole[label] for label in trained.classes] == [18] * len(trained.classes)
    shown = itin("data", "check", "--cache", "cache")
    for label in trained.classes:
        assert label in shown


def test_sweeps_train_every_head(trained: Trained) -> None:
    heads = "itin,concat,text-only,image-only,majority,global-local"
    itin(
        "sweep", "--cache", "cache", "--head", heads, "--seeds", "2", *HEAD[:4], "--epochs", "2", "--stack", "2",
        "--workers", "1", "--device", "cpu", "--out", "sweep",
    )  # fmt: skip
    table = Sweep("sweep").results()
    assert set(table["status"]) == {"done"}
    for path in table["run"]:
        run = load_run(Path("sweep") / path)
        assert list(run.classes) == trained.classes == Sweep("sweep").definition.classes
        assert sum(run.metrics["val"]["f1"][label] for label in trained.classes) / len(
            trained.classes
        ) == pytest.approx(run.metrics["val"]["macro_f1"])
    itin("sweep", "--resume", "sweep", "--cache", "cache", "--reveal-test")
    itin("report", "sweep", "--out", "sweep-report", "--figures", "none")


def test_the_papers_tables_on_any_classes(trained: Trained) -> None:
    """Every head of Table II and the ablations, without the paper's figures; again, nothing is left to do."""
    small = ("--d", "4", "--k", "4", "--hidden", "8", "--filters", "4", "--epochs", "2", "--lr", "0.05")
    words = ("reproduce", "--cache", "cache", "--seeds", "1", "--figures", "7", "--out", "paper", "--device", "cpu")
    printed = itin(*words, "--workers", "1", *small)
    made = Reproduction("paper")
    name = made.sweep.definition.dataset
    assert (made.classes, made.dataset, made.paper_dataset) == (tuple(trained.classes), name, None)
    assert name.startswith("data-")
    assert not made.missing
    table = made.tables["table-2"]
    assert set(table["head"]) == set(HEADS)
    for row in table.to_dict("records"):
        (key,) = {one.key for one in made.trials if one.axis == "head" and one.config.head == row["head"]}
        own = pd.read_csv(f"paper/test/{key}.csv", dtype=str, keep_default_na=False)
        assert list(own)[4:] == [f"p_{label}" for label in trained.classes]
        f1 = f1_score(own["label"], own["predicted"], average="weighted", labels=trained.classes, zero_division=0)
        assert row["weighted_f1"] == pytest.approx(f1)
        assert row["accuracy"] == pytest.approx((own["label"] == own["predicted"]).mean())
    for file in ("table-2", "table-2-f1", "table-3", "table-3-f1"):
        header = Path(f"paper/tables/{file}.csv").read_text(encoding="utf-8").splitlines()[0]
        assert "paper" not in header
        assert "difference to ITIN" in header
    page = Path("paper/report.html").read_text(encoding="utf-8")
    assert f"<title>{name}: ITIN reproduced</title>" in page
    assert "table-2-published" not in page
    assert "<b>bold" not in page
    runs = len({one.key for one in made.trials})
    assert f"{runs} runs, 0 of them there already" in printed
    assert f"{runs} runs, {runs} of them there already" in itin(*words, "--workers", "1", *small)


def test_runs_on_other_classes_are_not_mixed_up(trained: Trained) -> None:
    """The same table with its classes in another order is another one to every run and sweep on it."""
    if not Path("sweep").exists():
        itin("sweep", "--cache", "cache", "--m", "1", *HEAD, "--workers", "1", "--out", "sweep")
    (path,) = Path("cache").glob("*/dataset.json")
    record, before = read_json(path), path.read_bytes()
    key = load_run("run").record["key"]
    try:
        label = {**record["targets"][0], "classes": record["classes"][::-1]}
        write_json(path, {**record, "classes": label["classes"], "targets": [label]})
        for words in (["evaluate", "run"], ["sweep", "--resume", "sweep", "--cache", "cache"]):
            printed = itin(*words, code=1)
            assert re.search(r"was (trained|begun) on other classes than the data set has now", printed)
        itin("report", "run", "--out", "gone", "--figures", "none")
        page = Path("gone/report.html").read_text(encoding="utf-8")
        assert "was trained on other classes than the data set has now" in page
        itin("train", "--cache", "cache", *HEAD, "--out", "reversed")
        assert load_run("reversed").classes == tuple(trained.classes[::-1])
        assert load_run("reversed").record["key"] != key
    finally:
        path.write_bytes(before)
    assert read_table(path.parent).dataset["classes"] == trained.classes
