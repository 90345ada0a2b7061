"""`itin export` on a run that was made by commands, and what `itin predict` makes of its folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..commands.test_cli import SMALL, encoders, itin
from ..loopback_hub import LoopbackHub

pytest.importorskip("onnxruntime", reason="needs itin[onnx]")
pytest.importorskip("onnx", reason="needs itin[onnx]")

pytestmark = pytest.mark.usefixtures("one_thread")


def test_export_and_predict(
    tmp_path: Path, draw_mvsa: Callable[..., Path], hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=30), tmp_path / "cache"
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *encoders(tmp_path / "bert"))
    itin("train", "--cache", cache, *SMALL, "--out", tmp_path / "runs" / "run")
    monkeypatch.chdir(tmp_path)  # where the folder of the text encoder lies
    printed = itin("export", "runs/run", "--to", "onnx")
    assert printed.startswith(
        "run-onnx: model.onnx, model.json, README.md\nONNX Runtime gives what the head gives, to "
    )
    assert float(printed.split()[-1]) < 1e-5
    printed = itin("export", "runs/run", "--to", "safetensors", "--out", "out", "--with-encoders")
    assert printed == "out: config.json, model.safetensors, README.md, tokenizer.json, encoders.json\n"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**Features come from untrained encoders" in card
    assert "`grid-small`" in card
    assert "one annotator each" in card
    for file in (*(tmp_path / "out").iterdir(), *(tmp_path / "run-onnx").iterdir()):
        assert str(tmp_path).encode() not in file.read_bytes()
    hub.add("org/head", tmp_path / "out")
    pair = ("--image", root / "data" / "1.jpg", "--text", "a positive day")
    expected = itin("predict", "runs/run", *pair)
    assert "positive 0." in expected
    assert itin("predict", "out", *pair) == expected
    assert itin("predict", "org/head", *pair) == expected
    asked = len(hub.requests)
    assert "runs/none is not a run folder" in itin("predict", "runs/none", *pair, code=1)
    assert "holds an exported head, not a run" in itin("evaluate", "out", code=1)
    assert len(hub.requests) == asked
