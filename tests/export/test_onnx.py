"""ONNX graphs against the figures that runs computed from packed features, in ONNX Runtime."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itin.errors import RunError
from itin.export import export, onnx_file
from itin.export.graph import Graph, by_rule, entries
from itin.itin_head.registry import HEADS
from itin.train import label_rule
from itin.train.features.features import Features
from itin.train.features.named import NamedRegions
from itin.train.features.word_table import NONE, entries_of, table_of
from itin.train.label_rule import decided
from itin.train.runs.evaluation import predict_part
from itin.train.runs.folder import load_run

from .graphs import ALL_TARGETS, SCORE, features_of, padded, run_of

onnxruntime = pytest.importorskip("onnxruntime", reason="needs itin[onnx]")
pytest.importorskip("onnx", reason="needs itin[onnx]")
needs_vader = pytest.mark.skipif(find_spec("vaderSentiment") is None, reason="needs itin[lexicons]")

pytestmark = pytest.mark.usefixtures("one_thread")

DEMO: dict[str, Any] = {
    "gate": "vector", "normalize": True, "self_attention": True, "fusion_bias": False, "pooling_heads": 4,
    "gru_layers": 2, "gru_dropout": 0.25, "context_gru": True, "mask": False, "max_words": 5,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    **{head: {"head": head} for head, spec in HEADS.items() if not spec.solved},
    "mvan-mean": {"head": "mvan", "scene": False},
    "multisentinet-mean": {"head": "multisentinet", "scene": False},
    "pooled-scene": {"head": "pooled", "scene": True, "lexical": 2, "lexicons": "shape", "ensemble": 2},
    "demo": DEMO,
    **{ablation: {"ablation": ablation} for ablation in ("no-align", "no-gate", "no-context", "only-context")},
    "m0": {"m": 0},
    "attention": {"head": "pooled", "pooling": "attention", "dropout": 0.2},
    "extras": {"head": "concat", "lexicons": "shape", "lexical": 3, "word_dropout": 0.2},
    "few-words": {"head": "text-only", "lexical": 2, "max_words": 3},
    "no-table": {"head": "text-only", "lexical": 2, "max_words": 1, "epochs": 1},
    "ensemble": {"ensemble": 3, "lexicons": "shape", "target": ALL_TARGETS},
    "beyond": {"ensemble": 2, "target": ALL_TARGETS, "lr": 2.0, "head": "concat"},  # numbers beyond their span
    "targets": {"head": "pooled", "lexical": 2, "target": "label+score+level"},
    "rule": {"head": "pooled", "target": "label+text-label+image-label", "label_from": "rule"},
    "mean": {"head": "dnn-lr", "target": "label+text-label+image-label", "label_from": "mean", "ensemble": 2},
}


@pytest.fixture(scope="module")
def features() -> Features:
    return features_of()


@pytest.mark.parametrize("case", CASES)
def test_the_same_probabilities_on_ragged_batches(case: str, features: Features, tmp_path: Path) -> None:
    run = load_run(run_of(features, tmp_path / "run", **CASES[case]))
    made = export(run, "onnx", tmp_path / "out")
    assert made.difference is not None
    assert made.difference < 1e-5
    session = onnxruntime.InferenceSession(made.path / "model.onnx", providers=["CPUExecutionProvider"])
    described = json.loads((made.path / "model.json").read_text())
    names = [one.name for one in session.get_inputs()]
    assert list(described["inputs"]) == names
    assert list(described["outputs"]) == [one.name for one in session.get_outputs()] == [t.name for t in run.targets]
    for part in ("train", "val", "test"):
        split, predicted = predict_part(run, features, part=part)
        expected = decided(predicted, run.config.label_from)
        rows = split.rows(part)
        for some in (rows, rows[:1], rows[::-1]):  # other batches, other padding
            arrays = padded(features, some)
            found = session.run(None, {name: arrays[name] for name in names})
            places = [list(rows).index(row) for row in some]
            if case == "beyond" and part == "train":
                assert np.isin(expected["score"], SCORE.bounds).any()
            for target, values in zip(run.targets, found, strict=True):
                assert values.dtype == np.float32
                np.testing.assert_allclose(values, expected[target.name][places], atol=1e-5, err_msg=target.name)


def test_pairs_without_words_or_regions(features: Features, tmp_path: Path) -> None:
    """Also where no pair of a batch has any, so that m or n is 0."""
    run = load_run(run_of(features, tmp_path / "run"))
    model, _, _ = onnx_file.to_onnx(run)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    bare = np.flatnonzero((np.diff(features.offsets) == 0) & (features.counts == 0))
    assert len(bare) > 1
    arrays = padded(features, bare)
    (wide,) = session.run(None, {name: arrays[name] for name in names})
    arrays = padded(features, bare, m=0, more=0)
    assert arrays["tokens"].shape[1] == arrays["regions"].shape[1] == 0
    (narrow,) = session.run(None, {name: arrays[name] for name in names})
    np.testing.assert_allclose(narrow, wide, atol=1e-6)
    assert wide.std(0).max() > 1e-4  # the contexts differ


def test_entries_are_those_of_the_learned_table(features: Features) -> None:
    rows = np.arange(len(features))
    table = table_of(features, rows, 4)
    expected = entries_of(features, table)
    arrays = padded(features, rows)
    assert len(table) > 8
    for keys in (table, table[:1], table[:0]):
        found = entries(*map(torch.from_numpy, (keys, arrays["token_ids"], arrays["token_mask"]))).numpy()
        for row in rows:
            own = slice(features.offsets[row], features.offsets[row + 1])
            length = own.stop - own.start
            wanted = np.where(expected[:, own] < len(keys), expected[:, own], NONE)
            np.testing.assert_array_equal(found[row, :, :length], wanted)
            assert (found[row, :, length:] == NONE).all()


def test_the_label_rule_is_that_of_training() -> None:
    rng = np.random.default_rng(0)
    text, image = rng.dirichlet([0.3] * 3, size=(2, 50))
    text[0], image[0] = (1, 0, 0), (0, 0, 1)  # they conflict: nothing can be told by the rule
    found = by_rule(*(torch.from_numpy(one).float() for one in (text, image))).numpy()
    np.testing.assert_allclose(found, label_rule.by_rule(text, image), atol=1e-6)


@pytest.mark.parametrize(
    ("told", "recipe"),
    [
        (r"head linear of .*run has no ONNX graph\n[\s\S]*next: +`itin export --to safetensors", {"head": "linear"}),
        pytest.param(r"head lexicon of .*run has no ONNX graph\n", {"head": "lexicon"}, marks=needs_vader),
        (r"partner linear of .*\n[\s\S]*next: .*`--partner none`; or .*--to safetensors", {"partner": "linear"}),
    ],
)
def test_a_head_that_is_solved_for_is_refused(
    told: str, recipe: dict[str, Any], features: Features, tmp_path: Path
) -> None:
    run = load_run(run_of(features, tmp_path / "run", **{"lexicons": "shape", **recipe}))
    with pytest.raises(RunError, match=told):
        export(run, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_head_that_reads_names_is_refused(features: Features, tmp_path: Path) -> None:
    there = np.arange(3) < features.counts[:, None]
    ids = np.where(there, 0, -1).astype(np.int32)
    named = NamedRegions(ids, ids, there.astype(np.float32), {"objects": ["dog"], "attributes": ["sad"]})
    more = replace(features, named=named, sentence_ends=(1000,))
    run = load_run(run_of(more, tmp_path / "run", head="hsan"))
    with pytest.raises(RunError, match=r"the head hsan of .*\n[\s\S]*reads attributes, objects, sentence_ends\n"):
        export(run, "onnx", tmp_path / "out")
    run = load_run(run_of(more, tmp_path / "other", head="comn"))  # it reads none of them
    assert export(run, "onnx", tmp_path / "out").difference is not None


def test_a_graph_that_differs_is_not_written(
    features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(run_of(features, tmp_path / "run", head="image-only"))
    whole = Graph.forward

    def wrong(self: Any, *arrays: Any) -> Any:
        return tuple(one + 1e-4 for one in whole(self, *arrays))

    monkeypatch.setattr(Graph, "forward", wrong)
    with pytest.raises(RunError, match=r"the ONNX graph of .* differs from its head\n[\s\S]*a difference of 0.0001"):
        export(run, "onnx", tmp_path / "out")


def test_without_the_packages(features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(run_of(features, tmp_path / "run", head="image-only"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        RunError, match=r"needs onnxruntime, which is not installed\n  next:     pip install 'itin\[onnx\]'"
    ):
        export(run, "onnx", tmp_path / "out")
