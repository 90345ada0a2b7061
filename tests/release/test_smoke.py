"""The whole job by the package that is installed: what test_build.py asks of the wheel."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from itin.cli import main

pytestmark = [pytest.mark.release, pytest.mark.usefixtures("one_thread")]

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def itin(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], prog_name="itin")
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def test_from_pictures_to_a_report(
    tmp_path: Path, draw_mvsa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITIN_CACHE", raising=False)
    root = draw_mvsa(tmp_path / "MVSA", 60)
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps(BERT))
    small = ["--regions", "grid-small", "--text-encoder", "bert", "--random-init", "0", "--max-regions", "4"]
    printed = itin("extract", "--dataset", "mvsa-single", "--root", root, *small)
    assert len(re.findall(r"^(?:regions|tokens|context) +\S+ +60 +0 +0 ", printed, re.M)) == 3
    itin("train", "--d", 32, "--k", 16, "--epochs", 2, "--out", "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert f"{metrics['test']['accuracy']:.3f}" in itin("evaluate", "run")
    printed = itin("predict", "run", "--image", root / "data" / "1.jpg", "--text", "a positive day")
    chances = re.findall(r" (\d\.\d+)", printed.splitlines()[0])
    assert len(chances) == 3
    assert sum(map(float, chances)) == pytest.approx(1, abs=2e-3)
    itin("report", "run", "--out", "report")
    assert "<html" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    itin("export", "run", "--to", "safetensors", "--out", "head")
    assert (tmp_path / "head" / "model.safetensors").stat().st_size > 10_000
