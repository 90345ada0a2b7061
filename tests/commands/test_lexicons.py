"""Lexicons and the learned table from the command line: trained, evaluated, swept, and predicted with."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from itin.cache import read_table
from itin.train.lexicons import identity
from itin.train.runs.folder import load_run

from .test_cli import SMALL, encoders, itin

pytestmark = [
    pytest.mark.usefixtures("one_thread", "quick_workers"),
    pytest.mark.skipif(
        not all(find_spec(package) for package in ("vaderSentiment", "afinn", "textblob")),
        reason="needs itin[lexicons]",
    ),
]

SPANISH = "Que bonito es el d\u00eda para todos"


def test_the_whole_job(tmp_path: Path, draw_mvsa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache, run = draw_mvsa(tmp_path / "data", pairs=24), tmp_path / "cache", tmp_path / "run"
    (root / "data" / "3.txt").write_text(SPANISH, encoding="utf-8")
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *encoders(tmp_path / "bert"))
    beside = ["--lexicons", "vader,shape", "--lexical", "4"]
    said = itin("train", "--cache", cache, *SMALL, *beside, "--out", run)
    assert "lexicons vader, shape; 1 text gets no values, being in another language than English" in said
    assert load_run(run).config.lexicons == "vader+shape"

    figures = [line.split() for line in said.splitlines() if line.startswith("test")]
    again = itin("evaluate", run)
    assert [line.split() for line in again.splitlines() if line.startswith("test")] == figures

    # The pairs of the test part, predicted as raw pairs, are what the run says of them.
    table = load_run(run).predictions
    texts = read_table(cache / "mvsa-single").samples.set_index("id")["text"]
    rows = [{"id": one, "image": f"data/{one}.jpg", "text": texts[one]} for one in table["id"]]
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    itin("predict", run, "--table", root / "pairs.jsonl", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", dtype={"id": str})
    assert found["id"].tolist() == table["id"].tolist()
    for name in ("p_positive", "p_neutral", "p_negative"):
        assert found[name].to_numpy() == pytest.approx(table[name].to_numpy(), abs=1e-4)

    pair = ["--image", root / "data" / "1.jpg", "--text"]
    told = "1 text is in another language than English: the lexicons give no values."
    assert told in itin("predict", run, *pair, SPANISH)
    assert told in itin("explain", run, *pair, SPANISH, "--out", tmp_path / "seen.html")
    assert told not in itin("predict", run, *pair, "so happy")
    itin("report", run, "--out", tmp_path / "report")
    (page,) = (tmp_path / "report").glob("*.html")
    assert "vader+shape" in page.read_text(encoding="utf-8")

    identity.identity_of.cache_clear()
    monkeypatch.setattr(identity, "version", lambda package: "9.9")
    for command in (("evaluate", run), ("predict", run, *pair, "so happy")):
        said = itin(*command, code=1)
        assert "was trained with another vader lexicon" in said
        assert "pip install 'vaderSentiment==" in said
    identity.identity_of.cache_clear()


def test_a_sweep_over_them(tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    root, cache, out = draw_mvsa(tmp_path / "data", pairs=24), tmp_path / "cache", tmp_path / "sweep"
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *encoders(tmp_path / "bert"))
    axes = ["--head", "text-only,image-only", "--lexicons", "none,vader+shape", "--lexical", "0,2"]
    said = itin("sweep", "--cache", cache, *SMALL, *axes, "--m", "2", "--seeds", "1", "--workers", "1", "--out", out)
    assert "lexicons vader, shape" in said
    names = sorted(path.name.rsplit("-", 2)[0] for path in (out / "runs").iterdir())
    assert names == ["image-only-m2", "text-only", "text-only-lexical2", "text-only-vader+shape",
                     "text-only-vader+shape-lexical2"]  # fmt: skip
    (one,) = (out / "runs").glob("text-only-vader+shape-lexical2-*")
    before = load_run(one).predictions
    for file in one.iterdir():
        file.unlink()
    one.rmdir()
    itin("sweep", "--resume", out, "--workers", "1")
    pd.testing.assert_frame_equal(load_run(one).predictions, before)
