"""The tables of docs/results.md: their figures by scikit-learn and by hand, and the script on a small cache."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from itin.train.config import TrainConfig
from itin.train.presets import with_preset

from .features import make_cache

SCRIPT = Path(__file__).parent / "bench" / "results.py"
CLASSES = ("positive", "neutral", "negative")
FACTS = {"stores": {"tokens": "abcdef0123456789"}, "untrained": [], "protocol": "folds:10"}
FOLDS = (0, 3)


@pytest.fixture(scope="module")
def results() -> Any:
    spec = importlib.util.spec_from_file_location("results_bench", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def labels_of(fold: int) -> np.ndarray:
    return np.random.default_rng(fold).integers(3, size=150 + fold)


def said_of(row: str, fold: int, seed: int) -> np.ndarray:
    """What a run predicts: the label of most pairs, of more of them for a better row."""
    labels, rng = labels_of(fold), np.random.default_rng([len(row), fold, seed])
    right = rng.random(len(labels)) < {"linear": 0.7, "pooled": 0.71, "itin": 0.5}[row]
    return np.where(right, labels, rng.integers(3, size=len(labels)))


def runs_of(results: Any, rows: tuple[Any, ...], seeds: int) -> dict[Any, Any]:
    found = {}
    for row in rows:
        for seed in range(min(seeds, row.seeds)):
            for fold in FOLDS:
                labels, said = labels_of(fold), said_of(row.name, fold, seed)
                ids = [f"{fold}-{i}" for i in range(len(labels))]
                run = results.Run(
                    row.config(seed, fold), FACTS, CLASSES, ids, labels, said, 2.0 + seed, "a machine", []
                )
                found[run.config] = run
    return found


def table_of(results: Any) -> Any:
    rows = {row.name: row for row in results.HEADS.rows}
    return replace(results.HEADS, rows=tuple(rows[name] for name in ("linear", "pooled", "itin")))


def cells_of(page: str, name: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(cell: str) -> float:
    return float(cell.split(" [")[0].rstrip("\\*"))


def ends(cell: str) -> list[float]:
    return [float(end) for end in cell[cell.index("[") + 1 : -1].split(", ")]


def test_figures_are_those_of_scikit_learn_on_the_pairs_of_all_folds(results: Any) -> None:
    table = table_of(results)
    page = results.page(runs_of(results, table.rows, 3), FOLDS, [table])
    labels = np.concatenate([labels_of(fold) for fold in FOLDS])
    accuracies = {}
    for name, seeds in (("linear", 1), ("pooled", 3), ("itin", 3)):
        said = [np.concatenate([said_of(name, fold, seed) for fold in FOLDS]) for seed in range(seeds)]
        accuracies[name] = np.mean([accuracy_score(labels, one) for one in said])
        cells = cells_of(page, name)
        assert number(cells[1]) == pytest.approx(100 * accuracies[name], abs=0.051)
        for place, average in ((2, "weighted"), (3, "macro")):
            expected = np.mean([f1_score(labels, one, average=average) for one in said])
            assert number(cells[place]) == pytest.approx(100 * expected, abs=0.051)
        for cell in cells[1:4]:
            low, high = ends(cell)
            assert low < number(cell) < high
            assert 3 < high - low < 12  # 303 pairs: about 5 points each way, less where seeds differ
        assert cells[6] == ("2.0" if seeds == 1 else "3.0")
    for name in ("pooled", "itin"):
        assert number(cells_of(page, name)[4]) == pytest.approx(
            100 * (accuracies[name] - accuracies["linear"]), abs=0.051
        )
    assert "303 labelled pairs" in page
    assert f"from {2 + 6 + 6} runs" in page


def test_a_difference_is_marked_where_its_interval_is_beyond_0(results: Any) -> None:
    table = table_of(results)
    page = results.page(runs_of(results, table.rows, 3), FOLDS, [table])
    worse, alike = cells_of(page, "itin")[4], cells_of(page, "pooled")[4]
    assert ends(worse)[1] < 0
    assert "\\*" in worse
    assert ends(alike)[0] < 0 < ends(alike)[1]
    assert "\\*" not in alike
    assert cells_of(page, "linear")[4] == ""  # not held against itself


def test_a_row_without_all_of_its_runs_has_no_figures(results: Any) -> None:
    table = table_of(results)
    runs = runs_of(results, table.rows, 3)
    gone = [config for config in runs if config.head == "itin" and config.fold == 3][:2]
    page = results.page({config: run for config, run in runs.items() if config not in gone}, FOLDS, [table])
    assert not re.search(r"^\| itin", page, re.MULTILINE)
    assert "Not complete: itin (2 runs to go)." in page
    assert number(cells_of(page, "linear")[1]) > 0


def test_runs_on_other_features_are_refused(results: Any) -> None:
    table = table_of(results)
    runs = runs_of(results, table.rows, 1)
    config, run = next(iter(runs.items()))
    other = {**runs, config: replace(run, data={**FACTS, "stores": {"tokens": "0000"}})}
    with pytest.raises(SystemExit, match="expected runs on the same features"):
        results.page(other, FOLDS, [table])


def test_a_store_that_some_rows_alone_read_is_one_of_the_stores(results: Any) -> None:
    table = table_of(results)
    runs = runs_of(results, table.rows, 1)
    config, run = next(iter(runs.items()))
    more = {**runs, config: replace(run, data={**FACTS, "stores": {**FACTS["stores"], "scene": "fedc00"}})}
    assert "tokens `abcdef012345`, scene `fedc00`" in results.page(more, FOLDS, [table], seeds=1)


def test_a_row_says_what_stands_in_for_what_the_stores_do_not_hold(results: Any) -> None:
    row = results.Row("mvan*", {"head": "mvan"}, seeds=1)
    run = results.Run(
        row.config(), FACTS, CLASSES, ["a", "b"], np.array([0, 1]), np.array([0, 1]), 1.0, "a machine", []
    )
    said = {
        has: results.outcome_of(row, {row.config(): replace(run, has=list(has))}, [0], 1)
        for has in ((), ("scene_dim",))
    }
    assert [one.stands_in for one in said.values()] == ["(mean region as scene)", ""]


def test_rows_are_recipes_and_one_name_stands_for_one_of_them(results: Any) -> None:
    named: dict[str, Any] = {}
    for table in results.TABLES:
        assert set(table.against) <= {row.name for row in table.rows}
        for row in table.rows:
            assert named.setdefault(row.name, row.config()) == row.config()
    best, bare = named["best"], named["pooled"]
    assert best == TrainConfig(**with_preset({"preset": "best"}))
    for part, fields in results.PARTS.items():
        for name in fields:
            assert getattr(named[f"pooled + {part}"], name) == getattr(best, name) != getattr(bare, name)
            assert getattr(named[f"best − {part}"], name) == getattr(bare, name)


@pytest.mark.long
def test_the_script_trains_once_and_writes_the_page(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache", 120)
    words = ["--runs", str(tmp_path / "runs"), "--folds", "0,4", "--rows", "majority,text-onl?", "--seeds", "1"]

    def call(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *words, "--jobs", "1", *more], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    cache = ["--cache", str(tmp_path / "cache")]
    assert "4 of 4 runs to train" in call(*cache)
    files = sorted((tmp_path / "runs").glob("*.json"))
    assert len(files) == 4
    files[1].unlink()
    assert "1 of 4 runs to train" in call(*cache, "--page", str(tmp_path / "page.md"))
    records = [json.loads(file.read_text()) for file in files]
    accuracy = np.mean(
        [
            np.array(one["test"]["labels"]) == np.array(one["test"]["probabilities"]["label"]).argmax(1)
            for one in records
            if one["config"]["head"] == "text-only"
        ]
    )
    page = (tmp_path / "page.md").read_text()
    assert "24 labelled pairs" in page  # two tenths of 120
    assert number(cells_of(page, "text-only")[1]) == pytest.approx(100 * accuracy, abs=0.051)
    assert "itin (2 runs to go)" in page
