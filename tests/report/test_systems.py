"""Table II: a row for every head, each by its recipe, trained and tested once; figures that are those of the runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import accuracy_score, f1_score

from itin.cli import main
from itin.itin_head.registry import HEADS
from itin.labels import LABELS
from itin.report.paper import evaluate as paper_evaluate
from itin.report.paper import published
from itin.report.paper.reproduction import Reproduction
from itin.report.paper.request import Request
from itin.report.paper.systems import order, systems
from itin.report.paper.tables import table_2
from itin.report.paper.write import report_of
from itin.train.presets import ORIGINAL
from itin.train.runs.folder import load_run
from itin.train.statistics import RESAMPLES, draws

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

SMALL = ["--d", "6", "--k", "4", "--epochs", "2", "--filters", "4", "--lr", "0.01"]
WORDS = ["--seeds", "2", "--figures", "none", "--device", "cpu", "--workers", "1", *SMALL]
SEEDLESS = {"linear", "lexicon", "majority"} & set(HEADS)
SYSTEMS = ["SentiBank&SentiStrength", "CNN-Multi", "DNN-LR", "HSAN", "MultiSentiNet", "CoMN", "MVAN", "ITIN"]


def reproduce(*words: object) -> str:
    result = CliRunner().invoke(main, ["reproduce", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("systems") / "cache", 120, "mvsa-single")


@pytest.fixture(scope="module")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Table II first; then Table III in the same folder, whose ITIN is there already."""
    out = tmp_path_factory.mktemp("made") / "out"
    first = reproduce("--cache", cache, "--tables", 2, "--out", out, *WORDS)
    runs = 2 * len(HEADS) - len(SEEDLESS)
    assert f"{runs} runs, 0 of them there already" in first
    before = stamps(out)
    second = reproduce("--cache", cache, "--out", out, *WORDS)
    assert f"{runs + 8} runs, {runs} of them there already" in second  # four ablations beside ITIN
    assert before.items() <= stamps(out).items()
    return Reproduction(out)


@pytest.fixture
def copy(made: Reproduction, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "out"))


def stamps(folder: Path) -> dict[str, int]:
    """When each run and each file of test predictions was made."""
    files = [*folder.glob("sweep/runs/*/metrics.json"), *folder.glob("test/*.csv")]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def outcome(made: Reproduction, head: str) -> tuple[list[str], list[list[str]]]:
    """Labels and predictions a seed of a row, from the files themselves."""
    trials = [trial for trial in made.trials if trial.axis == "head" and trial.config.head == head]
    trials.sort(key=lambda trial: trial.config.seed)
    tables = [pd.read_csv(made.path / "test" / f"{trial.key}.csv").sort_values("id") for trial in trials]
    return tables[0]["label"].tolist(), [table["predicted"].tolist() for table in tables]


def plant(made: Reproduction, head: str, wrong: list[int]) -> None:
    """Let the runs of a row be wrong on just these pairs."""
    for trial in made.trials:
        if trial.axis == "head" and trial.config.head == head:
            table = paper_evaluate.read(made.path, trial.key, LABELS)
            said = table["label"].tolist()
            for number in wrong:
                said[number] = LABELS[(LABELS.index(said[number]) + 1) % 3]
            table.assign(predicted=said).to_csv(paper_evaluate.path_of(made.path, trial.key), index=False)


# What is asked for ---------------------------------------------------------------------------------------------------


def test_every_head_is_a_row_by_its_own_authors_recipe() -> None:
    trials = [trial for trial in Request(tables=(2,), figures=(), seeds=(3, 4)).plan().trials if trial.axis == "head"]
    configs = [trial.config for trial in trials]
    assert list(dict.fromkeys(config.head for config in configs)) == list(HEADS)
    for head in HEADS:
        seeds = [config.seed for config in configs if config.head == head]
        assert seeds == ([0] if head in SEEDLESS else [3, 4])
    assert {(config.m, config.lam, config.ablation) for config in configs} == {(2, 0.2, "none")}
    by_head = {config.head: config for config in configs}
    multisentinet, comn = by_head["multisentinet"], by_head["comn"]
    assert (multisentinet.optimizer, multisentinet.batch_size, multisentinet.select) == ("rmsprop", 32, "loss")
    assert (multisentinet.d, multisentinet.epochs, multisentinet.patience) == (128, 100, 5)
    assert (comn.d, comn.hops, comn.batch_size, comn.patience, comn.schedule) == (100, 6, 128, 10, "constant")
    assert (by_head["mvan"].hidden, by_head["mvan"].d, by_head["mvan"].epochs) == (512, 1024, 30)
    assert by_head["itin"].optimizer == by_head["concat"].optimizer == "adam"


def test_or_by_the_papers() -> None:
    request = Request(tables=(2,), figures=(), seeds=(0,), settings={"epochs": 7, "gru_layers": 2}, recipe="paper")
    for trial in request.plan().trials:
        config = trial.config
        assert (config.optimizer, config.d, config.hidden, config.select, config.batch_size) == (
            *("adam", 1024, 64, None, None),
        )
        assert (config.epochs, config.gru_layers) == (7, 2)
    assert {request.preset_of(head) for head in HEADS} == {"paper"}
    assert Request().preset_of("comn") == Request(settings={"preset": "official"}).preset_of("comn") == "original"
    assert Request(settings={"preset": "original"}).preset_of("itin") == "paper"
    assert Request(settings={"preset": "official"}).preset_of("itin") == "official"


def test_what_is_set_holds_for_all_rows() -> None:
    trials = Request(tables=(2,), figures=(), seeds=(0,), settings={"d": 8, "patience": 2}).plan().trials
    assert {(trial.config.d, trial.config.patience) for trial in trials} == {(8, 2)}
    assert {trial.config.optimizer for trial in trials if trial.config.head == "multisentinet"} == {"rmsprop"}


def test_a_row_whose_lexicons_are_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that reads them unasked: who asks for lexicons is told in the usual way."""
    request = Request(tables=(2,), figures=(), seeds=(0,))
    own = {trial.config.head for trial in request.plan().trials if trial.config.lexicon_names}
    assert not request.plan().left_out
    monkeypatch.setattr("itin.report.paper.request.is_installed", lambda name: False)
    assert {trial.config.head for trial in request.plan().trials} == set(HEADS) - own
    assert all("pip install 'itin[lexicons]'" in line for line in request.plan().left_out)
    assert len(request.plan().left_out) == len(own)
    asked = Request(tables=(2,), figures=(), seeds=(0,), settings={"lexicons": "vader"})
    assert {trial.config.head for trial in asked.plan().trials} == set(HEADS)


def test_runs_of_several_tables_and_figures_are_the_same(made: Reproduction) -> None:
    """ITIN is a row of both tables and a point of both figures."""
    (full,) = (trials for trials in made.groups.values() if any(one.axis == "ablation" for one in trials)
               and trials[0].config.ablation == "none")  # fmt: skip
    assert sorted(one.axis for one in full) == ["ablation", "head"]
    assert made.row("head", head="itin") is made.full


# The published figures -----------------------------------------------------------------------------------------------


def test_published_figures() -> None:
    """As in the paper's Table II."""
    printed = {
        "mvsa-single": ".5205/.5008 .6120/.5837 .6142/.6103 -/.6690 .6984/.6963 .7051/.7001 .7298/.7298 .7519/.7497",
        "mvsa-multiple": ".6562/.5536 .6639/.6419 .6786/.6633 -/.6776 .6886/.6811 .6992/.6983 .7236/.7230 .7352/.7349",
    }
    for dataset, line in printed.items():
        scores = [[None if one == "-" else float(one) for one in pair.split("/")] for pair in line.split()]
        assert {name: list(score) for name, score in published.TABLE_2[dataset].items()} == dict(
            zip(SYSTEMS, scores, strict=True)
        )
    assert list(published.SYSTEMS) == SYSTEMS
    assert published.ELSEWHERE["mvsa-multiple"]["CoMN"] == (0.6892, 0.6883)
    assert published.ELSEWHERE["mvsa-single"]["MultiSentiNet"] == (None, 0.6984)


def test_they_stand_beside_ours(made: Reproduction) -> None:
    accuracy, f1, both = systems(made.tables["table-2"], made)
    assert [section.name for section in (accuracy, f1, both)] == ["table-2", "table-2-f1", "table-2-published"]
    for section, column in ((accuracy, 0), (f1, 1)):
        table = section.table
        assert table is not None
        assert table["system"].tolist()[:8] == SYSTEMS
        for system, shown in zip(SYSTEMS, table["paper"], strict=False):
            figure = published.TABLE_2["mvsa-single"][system][column]
            assert shown == ("–" if figure is None else f"{100 * figure:.2f}%")
        assert set(table["paper"][8:]) == {"–"}
    assert both.table is not None
    comn = both.table.set_index("system").loc["CoMN"].tolist()
    assert comn == ["70.51%", "70.01%", "69.92%", "69.83%"]
    (note,) = both.notes
    assert "MultiSentiNet on MVSA-Single F1 69.84%" in note
    assert "CoMN on MVSA-Multiple accuracy 68.92%, CoMN on MVSA-Multiple F1 68.83%" in note


# Ours ----------------------------------------------------------------------------------------------------------------


def test_rows(made: Reproduction) -> None:
    table = made.tables["table-2"]
    own = list(published.SYSTEMS.values())
    assert table["head"].tolist() == [*own, *(head for head in HEADS if head not in own)]
    for row in table.to_dict("records"):
        head = row["head"]
        assert row["label"] == (made.label_of(head) if head in HEADS else "")
        if head in HEADS:
            assert row["recipe"] == ("" if head in SEEDLESS else "original" if head in ORIGINAL else "paper")
        else:
            assert np.isnan(row["accuracy"])
    labels = table.set_index("head")["label"]
    assert labels["comn"].startswith("comn*")
    assert labels["hsan"].startswith("hsan*")
    assert labels["multisentinet"] == "multisentinet (mean region as scene)"  # these stores have none


def test_scores_are_those_of_the_runs(made: Reproduction) -> None:
    table = made.tables["table-2"].set_index("head")
    for head in HEADS:
        labels, predicted = outcome(made, head)
        seedless = head in SEEDLESS
        assert len(predicted) == (1 if seedless else 2)
        accuracies = [accuracy_score(labels, one) for one in predicted]
        f1 = [f1_score(labels, one, average="weighted", labels=LABELS, zero_division=0) for one in predicted]
        row = table.loc[head]
        assert row["accuracy"] == pytest.approx(np.mean(accuracies))
        assert row["weighted_f1"] == pytest.approx(np.mean(f1))
        assert np.isnan(row["accuracy_std"]) == seedless
        if not seedless:
            assert row["accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]


def test_differences_and_p_values(made: Reproduction) -> None:
    """Against the bootstrap written out: the same pairs and seeds for both rows; then Holm's method step by step."""
    table = made.tables["table-2"].set_index("head")
    others = [head for head in HEADS if head != "itin"]
    blocks = list(draws(12, 2, RESAMPLES, 0))
    weights, shares = (np.concatenate(parts) for parts in zip(*blocks, strict=True))

    def resampled(head: str) -> tuple[float, np.ndarray]:
        labels, predicted = outcome(made, head)
        right = np.array([[a == b for a, b in zip(one, labels, strict=True)] for one in predicted], float)
        right = np.repeat(right, 2 // len(right), axis=0)
        return right.mean(), ((weights @ right.T / 12) * shares).sum(1)

    value, itin = resampled("itin")
    p = {}
    for head in others:
        own, drawn = resampled(head)
        apart = np.round(drawn - itin, 9)
        p[head] = min(1.0, 2 * (1 + min((apart <= 0).sum(), (apart >= 0).sum())) / (RESAMPLES + 1))
        assert table.loc[head, "accuracy_difference"] == pytest.approx(own - value)
        low, high = np.quantile(apart, [0.025, 0.975])
        assert table.loc[head, "accuracy_difference_low"] == pytest.approx(low, abs=1e-6)
        assert table.loc[head, "accuracy_difference_high"] == pytest.approx(high, abs=1e-6)
        assert table.loc[head, "accuracy_p"] == pytest.approx(p[head], rel=1e-9)  # equal resamples on both sides
    floor = 0.0
    for number, head in enumerate(sorted(others, key=lambda head: table.loc[head, "accuracy_p"])):
        floor = max(floor, min(1.0, table.loc[head, "accuracy_p"] * (len(others) - number)))
        assert table.loc[head, "accuracy_p_holm"] == pytest.approx(floor)
    assert np.isnan(table.loc["itin", "accuracy_p_holm"])


def test_verdicts_and_ranks(copy: Path) -> None:
    """Planted: ITIN loses one pair, comn ten and concat none; the order of the others is turned round."""
    made = Reproduction(copy)
    wrong = {"itin": 1, "comn": 10, "mvan": 2, "multisentinet": 3, "dnn-lr": 4, "cnn-multi": 5, "hsan": 6, "concat": 0}
    for head in HEADS:
        plant(made, head, list(range(wrong.get(head, 7))))
    made = Reproduction(copy)
    table = made.tables["table-2"].set_index("head")
    assert table.loc["comn", "accuracy_difference"] == pytest.approx(-9 / 12)
    assert table.loc["comn", "accuracy_p_holm"] < 0.05 < table.loc["mvan", "accuracy_p_holm"]
    assert (table.loc["comn", "only_here"], table.loc["comn", "only_full"]) == (0, 18)
    ranks = table[["accuracy_rank", "accuracy_rank_paper", "accuracy_rank_here"]]
    assert ranks.loc["concat"].tolist() == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    assert ranks.loc["itin"].tolist() == [2, 1, 1]
    last = 6 + ("lexicon" in HEADS)
    assert ranks.loc["comn"].tolist() == [len(HEADS), 3, last]
    assert ranks.loc["cnn-multi"].tolist() == [6, 6, 5]
    assert ranks.loc["hsan"].tolist() == pytest.approx([7, np.nan, np.nan], nan_ok=True)  # its accuracy is unpublished
    f1 = table[["weighted_f1_rank_paper", "weighted_f1_rank_here"]]
    assert not f1.loc["hsan"].isna().any()
    # Places here and in the paper: itin 1 1, mvan 2 2, multisentinet 3 4, dnn-lr 4 5, cnn-multi 5 6, lexicon 6 7, and
    # comn last against 3: 3 of 15 pairs are turned round, with lexicon 4 of 21.
    told = order(table.reset_index(), "accuracy")
    assert told.startswith("By accuracy: concat, itin, mvan, multisentinet, dnn-lr, cnn-multi, hsan, ")
    assert (f"these {last} is {0.60 if last == 6 else 0.62:.2f}.") in told
    shown = {section.name: section for section in report_of(made).sections}["table-2"].table
    assert shown is not None
    verdicts = dict(zip(shown["head"], shown["larger than chance"], strict=True))
    assert (verdicts["comn*"], verdicts["mvan* (mean region as scene)"], verdicts["itin"]) == ("yes", "no", "–")


def test_of_other_data_sets_the_published_columns_are_left_out(made: Reproduction) -> None:
    table = table_2({}, lambda head: made.row("head", head=head), made.request.preset_of, made.label_of)
    assert not [name for name in table if "paper" in name or "rank_here" in name]
    assert set(table["head"]) == set(HEADS)
    best = table.loc[table["accuracy"].idxmax()]
    assert best["accuracy_rank"] == 1
    assert "Kendall" not in order(table, "accuracy")


# The runs ------------------------------------------------------------------------------------------------------------


def test_a_second_call_trains_and_tests_nothing(made: Reproduction, cache: Path, copy: Path) -> None:
    before = stamps(copy)
    printed = reproduce("--cache", cache, "--out", copy, *WORDS)
    runs = len(before) // 2
    assert f"{runs} runs, {runs} of them there already" in printed
    assert "Evaluating" not in printed
    assert stamps(copy) == before
    for name in ("table-2", "table-3", "runs"):
        assert (copy / "numbers" / f"{name}.csv").read_bytes() == (made.path / "numbers" / f"{name}.csv").read_bytes()


def test_another_seed_or_recipe_adds_its_own_runs_alone(cache: Path, copy: Path) -> None:
    """Rows without a seed stay as they are; with the paper's recipe for all only the systems with another change."""
    before = stamps(copy)
    for key in [trial.key for trial in Reproduction(copy).trials if trial.config.head == "mvan"][:1]:
        shutil.rmtree(next((copy / "sweep" / "runs").glob(f"*-{key}")))  # as an interruption leaves it
    printed = reproduce("--cache", cache, "--tables", 2, "--out", copy, *WORDS, "--recipe", "paper")
    after = stamps(copy)
    added = [load_run(copy / Path(name).parent) for name in after if name.startswith("sweep") and name not in before]
    assert {run.config.head for run in added} == {head for head in ORIGINAL if head in HEADS}
    assert all(run.config.optimizer == "adam" and run.config.select is None for run in added)
    assert f"{2 * len(HEADS) - len(SEEDLESS)} runs" in printed
    assert set(Reproduction(copy).tables["table-2"]["recipe"]) == {"paper", ""}


def test_runs_may_be_trained_elsewhere(cache: Path, tmp_path: Path) -> None:
    """By an ordinary sweep command, though the rows keep their epochs by different scores."""
    out = tmp_path / "out"
    words = ["--cache", cache, "--tables", 2, "--out", out, *WORDS, "--seeds", 1]
    reproduce(*words, "--plan")
    trained = CliRunner().invoke(main, ["sweep", "--resume", str(out / "sweep"), "--workers", "1", "--device", "cpu"])
    assert trained.exit_code == 0, trained.output
    assert f"{len(HEADS)} runs, {len(HEADS)} of them there already" in reproduce(*words)
    assert not Reproduction(out).missing


# The files -----------------------------------------------------------------------------------------------------------


def test_files(made: Reproduction) -> None:
    page = (made.path / "report.html").read_text(encoding="utf-8")
    for name in ("table-2", "table-2-f1", "table-2-published"):
        assert f'id="{name}"' in page
        latex = (made.path / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        assert r"SentiBank\&SentiStrength" in latex
        assert (made.path / "tables" / f"{name}.csv").exists()
    assert "comn*" in (made.path / "tables" / "table-2.csv").read_text(encoding="utf-8")
    numbers = pd.read_csv(made.path / "numbers" / "table-2.csv")
    assert numbers["accuracy"].tolist() == pytest.approx(made.tables["table-2"]["accuracy"].tolist(), nan_ok=True)
    assert "accuracy_p_holm" in numbers


def test_the_page_says_how(made: Reproduction) -> None:
    found: dict[str, Any] = {section.name: section for section in report_of(made).sections}
    told = " ".join(found["method"].text)
    assert "majority: one run, for no seed changes it" in told
    assert "multisentinet: lower validation loss, then the earlier epoch" in told
    notes = " ".join(found["table-2"].notes)
    (line,) = (note for note in found["table-2"].notes if "set for all rows: " in note)
    fixed = set(line.split("set for all rows: ")[1].split(". ")[0].split(", "))
    assert fixed == {"d = 6", "k = 4", "filters = 4", "lr = 0.01", "epochs = 2"}
    assert f"concat: {HEADS['concat'].summary}" in notes
