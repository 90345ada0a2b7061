"""Runs, sweeps and reports from Python: short names, frames, and what a notebook shows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import itin.train
from itin.labels import LABELS
from itin.report.report import Report
from itin.train.runs.folder import UNTRAINED_NOTE, load_run
from itin.train.runs.notebook import block

from ..features import make_data, make_run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    return make_run(make_data(folder, 40), folder / "run")


def test_short_names_load_what_they_stand_for(path: Path) -> None:
    assert itin.train.load is load_run
    assert {name: getattr(itin.train, name).__name__ for name in itin.train.__all__} == {
        "Run": "Run",
        "Sweep": "Sweep",
        "TrainConfig": "TrainConfig",
        "load": "load_run",
        "runs_table": "runs_table",
    }
    with pytest.raises(AttributeError, match=r"module 'itin.train' has no attribute 'nothing'"):
        itin.train.nothing  # noqa: B018


def test_the_package_imports_no_torch() -> None:
    code = "import sys, itin.train, itin.report; itin.train.load; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scores_are_a_frame(path: Path) -> None:
    run = itin.train.load(path)
    frame = run.scores
    assert list(frame["part"]) == ["val", "test"]
    for part, row in frame.set_index("part").iterrows():
        scores = run.metrics[str(part)]
        assert row["accuracy"] == scores["accuracy"]
        assert [row[f"f1_{label}"] for label in LABELS] == [scores["f1"][label] for label in LABELS]
        assert row["majority_accuracy"] == scores["majority"]["accuracy"]


def test_a_run_shows_its_scores_and_its_note(path: Path) -> None:
    run = itin.train.load(path)
    html = replace(run, path=Path("<b>x</b>"))._repr_html_()
    assert "Run &lt;b&gt;x&lt;/b&gt;" in html
    assert "<b>x" not in html
    assert UNTRAINED_NOTE in html
    assert "itin-811, split seed 0" in html
    assert f"{run.metrics['test']['accuracy']:.4g}" in html


def test_texts_and_notes_are_escaped() -> None:
    html = block("<i>", ["<u>"], pd.DataFrame({"<a>": ["<s>"], "x": [None], "y": [0.123456]}), "<em>")
    assert all(f"<{tag}>" not in html for tag in ("i", "u", "a", "s", "em"))
    assert "0.1235" in html
    assert "note" not in block("t", [], pd.DataFrame(), None)


def test_a_report_is_a_frame_of_its_own() -> None:
    html = Report('"><script>', [])._repr_html_()
    assert html.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "<script" not in html
