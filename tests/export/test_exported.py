"""Exported heads: what is in their folders and what is not, that they predict as their runs, and their cards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from itin.errors import RunError
from itin.export import export, head_of, open_run
from itin.export.card import card_of
from itin.itin_head import HeadConfig, ITINHead, make
from itin.itin_head.extras import Extras
from itin.itin_head.outputs import predicted
from itin.targets import Target
from itin.train.features.features import Features
from itin.train.runs.evaluation import predict_part
from itin.train.runs.folder import load_run
from itin.train.statistics import bootstrap, interval

from .graphs import ALL_TARGETS, features_of, needs_vader, padded, run_of

pytestmark = pytest.mark.usefixtures("one_thread")

CASES: dict[str, dict[str, Any]] = {
    "itin": {},
    "pooled": {"head": "pooled", "pooling": "attention"},
    "ensemble": {"ensemble": 2, "target": ALL_TARGETS},
    "linear": {"head": "linear", "means_scale": 0.5},
    "partner": {"head": "pooled", "partner": "linear", "ensemble": 2},
    "no-partner": {"head": "image-only", "partner": "linear"},  # it takes none
    "scene": {"head": "mvan"},
    "lexicon": {"head": "lexicon"},
}


@pytest.fixture(scope="module")
def features() -> Features:
    return features_of()


@pytest.fixture(scope="module")
def run(features: Features, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(features, tmp_path_factory.mktemp("runs") / "run")


def said_of(path: Path, features: Features, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the head that `from_pretrained` gives says of some pairs."""
    head = ITINHead.from_pretrained(path)
    arrays = {name: torch.from_numpy(value) for name, value in padded(features, rows, m=2).items()}
    order = ("regions", "tokens", "token_mask", "context", "region_mask")
    texts = [(features.texts or [])[row] for row in rows]
    values = torch.from_numpy(features.lexicons["vader" if "vader" in features.lexicons else "shape"][rows])
    extras = Extras(values, torch.zeros(0, 2, 0, dtype=torch.int64), scene=arrays["scene"])
    with torch.inference_mode():
        return predicted(head(*(arrays[name] for name in order), texts=texts, extras=extras).logits, head.targets)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[needs_vader] if case == "lexicon" else []) for case in CASES]
)
def test_a_head_of_any_kind_is_read_again(case: str, features: Features, tmp_path: Path) -> None:
    run = load_run(run_of(features, tmp_path / "run", **CASES[case]))
    exported = export(run, "safetensors", tmp_path / "out").path
    head_of(run).save_pretrained(tmp_path / "saved")
    ITINHead.from_pretrained(exported).save_pretrained(tmp_path / "again")
    split, expected = predict_part(run, features)
    rows = split.rows("test")
    for path in (run.path, exported, tmp_path / "saved", tmp_path / "again"):
        said = said_of(path, features, rows)
        assert list(said) == [target.name for target in run.targets]
        for name, values in said.items():
            np.testing.assert_allclose(values, expected[name], atol=1e-6, err_msg=f"{path.name}: {name}")
    for path in (tmp_path / "saved", tmp_path / "again"):
        names = {file.name for file in path.iterdir()}
        assert names == {file.name for file in exported.iterdir()}
        for name in names:
            assert (path / name).read_bytes() == (exported / name).read_bytes(), name
    opened = open_run(exported)
    assert opened.head_config == run.head_config
    assert opened.targets == run.targets
    for name, value in opened.head().state_dict().items():
        assert torch.equal(value, run.head().state_dict()[name])


def test_a_head_without_a_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = make(HeadConfig(head="concat", d=4, hidden=3, region_dim=5, token_dim=3, context_dim=2))
    head.targets = (Target(classes=("a", "b", "c")),)
    head.save_pretrained(tmp_path / "saved")
    again = ITINHead.from_pretrained(tmp_path / "saved")
    assert type(again) is type(head)
    assert again.config == head.config
    assert again.targets == head.targets
    assert not again.training
    for name, value in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert "Nothing is recorded" in (tmp_path / "saved" / "README.md").read_text()


def test_neither_pairs_nor_paths_leave_the_machine(run: Path, tmp_path: Path) -> None:
    for to, more in (("safetensors", {"config.json", "model.safetensors"}), ("onnx", {"model.onnx", "model.json"})):
        pytest.importorskip("onnxruntime", reason="needs itin[onnx]")
        out = export(load_run(run), to, tmp_path / to, with_encoders=True).path
        assert {path.name for path in out.iterdir()} == {"README.md", "encoders.json", *more}
        for path in out.iterdir():
            data = path.read_bytes()
            for word in (b"/home/me", b"/cache", b"/data", str(tmp_path).encode(), b'"s1"', b"s17"):
                assert word not in data, (path.name, word)
    record = json.loads((tmp_path / "safetensors" / "config.json").read_text())
    own = json.loads((run / "config.json").read_text())
    assert record["train"] == own["train"]
    assert record["key"] == own["key"]
    assert record["stores"]["tokens"]["options"]["text_encoder"] == "bert"
    assert record["stores"]["tokens"]["options"]["detector_weights"] is None
    assert record["stores"]["tokens"]["options"]["max_regions"] == 36
    assert record["metrics"] == json.loads((run / "metrics.json").read_text())
    assert (tmp_path / "safetensors" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_encoders_are_named(run: Path, tmp_path: Path) -> None:
    out = export(load_run(run), "safetensors", tmp_path / "out", with_encoders=True).path
    encoders = json.loads((out / "encoders.json").read_text())
    assert list(encoders) == ["context", "regions", "tokens"]
    assert encoders["tokens"]["encoder"] == "x"
    assert encoders["tokens"]["weights"] == {
        "file": "w.bin",
        "repo": "org/tokens",
        "commit": "c0ffee",
        "sha256": "ab" * 32,
    }
    assert encoders["tokens"]["preprocessing"] == {"layer": "last"}
    card = (out / "README.md").read_text()
    assert "| tokens | `x` | file w.bin, repo org/tokens, commit c0ffee, sha256 abababababab | 6 | layer last |" in card
    assert "trained on features of context, regions, tokens rounded to float16" in card


def test_the_card_tells_data_protocol_figures_and_licence(run: Path, tmp_path: Path) -> None:
    opened = load_run(run)
    text = (export(opened, "safetensors", tmp_path / "out", licence="cc-by-4.0").path / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "itin",
        "tags": ["itin", "sentiment-analysis", "image-text", "multimodal"],
        "license": "cc-by-4.0",
    }
    assert body.startswith("\n# itin on my set\n")
    assert "classes positive, neutral, negative" in body
    sizes = opened.record["split"]["sizes"]
    told = f"({sizes['train']} training, {sizes['val']} validation, {sizes['test']} test)"
    assert f"- Protocol: itin-811, split seed 0 {told}." in body
    rows = opened.predictions[opened.predictions["part"] == "test"]
    right = [opened.classes.index(each) for each in rows["label"]], [opened.classes.index(e) for e in rows["predicted"]]
    low, high = interval(bootstrap(right[0], [right[1]], 3)["accuracy"][0])
    accuracy = float(np.mean(np.array(right[0]) == np.array(right[1])))
    assert f"| test | {len(rows)} | {accuracy:.3f} ({low:.3f}–{high:.3f}) |" in body
    majority = opened.metrics["test"]["majority"]
    assert f"| always {majority['class']}: accuracy {majority['accuracy']:.3f} |" in body
    assert "The weights of the head: cc-by-4.0." in body
    open_card = (export(opened, "safetensors", tmp_path / "other").path / "README.md").read_text()
    assert "license" not in open_card
    assert "No licence is stated" in open_card


def test_the_card_of_a_number(features: Features, tmp_path: Path) -> None:
    score = features.further["score"]
    whole = replace(
        features, further={"score": replace(score, values=np.where(np.isnan(score.values), 0.5, score.values))}
    )
    opened = load_run(run_of(whole, tmp_path / "run", head="pooled", target="score"))
    body = (export(opened, "safetensors", tmp_path / "out").path / "README.md").read_text()
    assert "- `score`: a number from -2 to 3" in body
    assert f"| test | {opened.metrics['test']['n']} | {opened.metrics['test']['mae']:.3f} (" in body
    assert f"| always {opened.metrics['test']['baseline']['value']:.3f}: MAE" in body
    assert "For 90% of pairs like these the true `score` is within" in body


@pytest.mark.parametrize(
    ("kind", "word"), [("mvsa-single", "one annotator each"), ("mvsa-multiple", "three annotators")]
)
def test_the_card_warns_of_the_labels_of_mvsa(kind: str, word: str, run: Path) -> None:
    opened = load_run(run)
    source = {"name": kind, "source": {"kind": kind}, "undecided": {"text and image labels conflict": 27}}
    card = card_of(replace(opened, record={**opened.record, "dataset": source, "note": "Untrained."}))
    assert word in card
    assert "- Left out: 27 pairs, text and image labels conflict." in card
    assert "**Untrained.**" in card


def test_the_card_is_named_by_what_the_head_reads(features: Features, tmp_path: Path) -> None:
    for name, scene, title in (("with", None, "mvan*"), ("without", False, "mvan* (mean region as scene)")):
        run = load_run(run_of(features, tmp_path / name, head="mvan", scene=scene))
        assert f"# {title} on my set" in card_of(run).splitlines()
        assert ("| scene | `x` |" in card_of(run)) == (scene is None)


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="out is already there"):
        export(load_run(run), "safetensors", tmp_path / "out")
    with pytest.raises(ValueError, match="to: expected one of onnx, safetensors, got 'pickle'"):
        export(load_run(run), "pickle", tmp_path / "new")


def test_an_exported_head_is_not_a_run(run: Path, tmp_path: Path) -> None:
    out = export(load_run(run), "safetensors", tmp_path / "out").path
    with pytest.raises(RunError, match=r"out holds an exported head, not a run\n[\s\S]*give the run itself"):
        load_run(out)
    assert load_file(out / "model.safetensors").keys() == load_file(run / "model.safetensors").keys()
    record = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**record, "exported": 2}))
    with pytest.raises(RunError, match="another format version, newer than this itin"):
        open_run(out)
    (out / "config.json").write_text(
        json.dumps({**record, "targets": [{"name": "x", "kind": "classes", "classes": ["a"]}]})
    )
    with pytest.raises(RunError, match="does not describe an exported head"):
        open_run(out)
    with pytest.raises(RunError, match="is not a run folder"):
        open_run(tmp_path / "nothing")
