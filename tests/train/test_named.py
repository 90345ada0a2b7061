"""Names of regions and ends of sentences from stores to batches; hsan and lexicon in training, in keys and in runs."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from itin.cache import StoreWriter
from itin.errors import DataError, RunError
from itin.itin_head.registry import HEADS, label_of
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.load import load_features
from itin.train.features.named import NamedRegions, named_regions
from itin.train.features.resident_extras import sentences_of
from itin.train.features.shared import open_features, save_features
from itin.train.lexicons.values import lexicon_values, values_of_names
from itin.train.loop import Fit, fit
from itin.train.presets import short_name
from itin.train.protocols.split import Split, random_split
from itin.train.runs.evaluation import check_fit, evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import Identity, canonical
from itin.train.steps import ComputeOptions

from ..features import identity, make_store, results_of, sample
from .test_runs import NOW, TABLE, write_of
from .test_runs import make_stores as fake_stores

pytestmark = pytest.mark.usefixtures("one_thread")
needs_vader = pytest.mark.skipif(find_spec("vaderSentiment") is None, reason="needs itin[lexicons]")

CPU = torch.device("cpu")
NAMES = {"objects": ["dog", "war", "hero", "table"], "attributes": ["ugly", "lovely", "wooden"]}
ENDS = (7, 9)
N = 120


@pytest.fixture(scope="module")
def features() -> Features:
    """Images whose label is the mood of what they show, and texts of noise with sentences."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=N)
    lengths = rng.integers(0, 9, size=N)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    counts = rng.integers(1, 4, size=N)
    there = np.arange(3) < counts[:, None]
    attributes = np.where(there, np.array([1, 2, 0])[labels][:, None], -1).astype(np.int32)
    objects = np.where(there, rng.integers(4, size=(N, 3)), -1).astype(np.int32)
    chances = np.where(there, rng.random((N, 3)) / 2 + 0.5, 0).astype(np.float32)
    ids = rng.integers(5, 15, size=offsets[-1]).astype(np.int32)
    texts = [f"text {i}" for i in range(N)]
    return Features(
        ids=[f"s{i}" for i in range(N)],
        labels=labels,
        regions=rng.normal(size=(N, 3, 6)).astype(np.float32),
        counts=counts,
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float32),
        offsets=offsets,
        context=rng.normal(size=(N, 4)).astype(np.float32),
        dataset="my set",
        labelled=N,
        token_ids=ids,
        texts=texts,
        lexicons=lexicon_values(["vader"], texts) if find_spec("vaderSentiment") else {},
        named=NamedRegions(objects, attributes, chances, NAMES),
        sentence_ends=ENDS,
    )


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


HSAN = TrainConfig(head="hsan", m=3, d=6, hidden=5, epochs=4, batch_size=16, lr=0.02)
LEXICON = TrainConfig(head="lexicon", m=3, logistic_c=1.0)


def trained(config: TrainConfig, features: Features, split: Split, **more: Any) -> Fit:
    (result,) = results_of([config], features, split, **more)
    assert isinstance(result, Fit)
    return result


# From stores to batches ----------------------------------------------------------------------------------------------


def stores_of(folder: Path, names: dict[str, list[str]], ends: list[int]) -> dict[str, Any]:
    rows = [(f"id-{i}", f"{i:064x}") for i in range(20)]
    provenance: dict[str, Any] = {"regions": {"names": names}, "tokens": {"sentence_ends": ends}}
    return {
        kind: make_store(folder, identity(kind), rows, lambda id, kind=kind: sample(kind, int(id[3:])),  # type: ignore[misc]
                         provenance=provenance[kind])
        for kind in ("regions", "tokens")
    }  # fmt: skip


def test_features_hold_what_the_stores_do(tmp_path: Path) -> None:
    """Ids beyond the names, and of padding, are unknown; a chance is the product of both, 0 where one is unknown."""
    many = {"objects": [f"thing {i}" for i in range(900)], "attributes": [f"look {i}" for i in range(250)]}
    stores = stores_of(tmp_path, many, [40, 7])
    found = load_features(_table(), stores, 3, inputs=["regions", "tokens"])
    assert found.named is not None
    assert found.dims == {"region_dim": 6, "token_dim": 6, "objects": 900, "attributes": 250, "sentence_ends": 2}
    assert found.has == {"objects", "attributes", "sentence_ends"}
    assert found.sentence_ends == (40, 7)
    unknown = 0
    for i in range(20):
        own = sample("regions", i)
        for r in range(3):
            o, a = -1, -1
            if r < len(own["scores"]):
                o = int(own["objects"][r]) if own["objects"][r] < 900 else -1
                a = int(own["attributes"][r]) if own["attributes"][r] < 250 else -1
            p = float(own["object_scores"][r] * own["attribute_scores"][r]) if min(o, a) >= 0 else 0.0
            unknown += min(o, a) < 0
            assert (found.named.objects[i, r], found.named.attributes[i, r]) == (o, a)
            assert found.named.chances[i, r] == pytest.approx(p)
    assert 5 < unknown < 55
    save_features(found, tmp_path / "shared")
    again = open_features(tmp_path / "shared")
    assert again.named is not None
    assert (again.dims, again.sentence_ends, again.named.names) == (found.dims, (40, 7), many)
    for name in ("objects", "attributes", "chances"):
        np.testing.assert_array_equal(getattr(again.named, name), getattr(found.named, name))


def test_stores_that_name_nothing(tmp_path: Path) -> None:
    ways: list[tuple[dict[str, list[str]], set[str]]] = [({}, set()), ({"attributes": ["a"]}, set())]
    for number, (names, has) in enumerate([*ways, ({"objects": ["a"]}, {"objects"})]):
        stores = stores_of(tmp_path / str(number), names, [])
        found = load_features(_table(), stores, 2, inputs=["regions", "tokens"])
        assert set(found.has) == has
        assert (found.named is None) == (not has)
        save_features(found, tmp_path / f"{number}.shared")
        assert open_features(tmp_path / f"{number}.shared").has == has


def test_a_later_extraction_adds_what_an_older_store_does_not_know(tmp_path: Path) -> None:
    old = make_store(tmp_path, identity("tokens"), [("id-1", "1" * 64)], provenance={"options": {"a": 1}, "created": 1})
    assert old.sentence_ends == []
    writer = StoreWriter(tmp_path, identity("tokens"))
    made = writer.finish({"options": {"a": 2}, "created": 2, "sentence_ends": [5], "torch": "9"})
    assert made["provenance"] == {"options": {"a": 1}, "created": 1, "sentence_ends": [5]}
    assert json.loads((old.path / "manifest.json").read_text())["provenance"] == made["provenance"]
    same = StoreWriter(tmp_path, identity("tokens")).finish({"sentence_ends": [6], "created": 3})
    assert same["provenance"] == made["provenance"]


def _table() -> Any:
    samples = {
        "id": [f"id-{i}" for i in range(20)],
        "label": ["positive", "negative"] * 10,
        "image_sha256": [f"{i:064x}" for i in range(20)],
        "text_sha256": [f"{i:064x}" for i in range(20)],
    }
    return SimpleNamespace(dataset={"name": "pairs"}, samples=pd.DataFrame(samples))


def test_sentences_end_with_their_last_mark(features: Features) -> None:
    numbers = sentences_of(features)
    several = 0
    for i in range(N):
        begin, end = features.offsets[i : i + 2]
        number, before = 0, False
        for place in range(begin, end):
            ends = int(features.token_ids[place]) in ENDS  # type: ignore[index]
            number += before and not ends
            assert numbers[place] == number
            before = ends
        several += number > 0
    assert several > 30
    with pytest.raises(ValueError, match="expected token ids, by which sentences end"):
        sentences_of(replace(features, token_ids=None))


def test_batches_hold_what_a_head_uses(features: Features) -> None:
    rows = torch.tensor([[3, 9, 9], [0, 50, 7]])
    named = features.named
    assert named is not None
    resident = ResidentFeatures(features, CPU, 3, 5, uses={"objects", "sentence_ends"}).narrow(2)
    extras = resident.batch(rows).extras
    assert extras is not None
    assert extras.values.shape == (2, 3, 0)
    assert extras.entries.shape == (2, 3, 2, 0)
    assert torch.equal(extras.objects, torch.from_numpy(named.objects[rows, :2]).long())  # type: ignore[arg-type]
    assert torch.equal(extras.attributes, torch.from_numpy(named.attributes[rows, :2]).long())  # type: ignore[arg-type]
    assert torch.equal(extras.chances, torch.from_numpy(named.chances[rows, :2]))  # type: ignore[arg-type]
    numbers, longest = sentences_of(features), int(np.diff(features.offsets)[rows].clip(max=5).max())
    assert extras.sentences is not None
    assert extras.sentences.shape == (2, 3, longest)
    for j in range(2):
        for b in range(3):
            begin, end = features.offsets[rows[j, b] : rows[j, b] + 2]
            want = [int(one) for one in numbers[begin:end]][:longest]
            assert extras.sentences[j, b].tolist() == want + [-1] * (longest - len(want))
    assert ResidentFeatures(features, CPU, 3).batch(rows).extras is None
    only = ResidentFeatures(features, CPU, 3, uses={"sentence_ends"}).batch(rows).extras
    assert only is not None
    assert only.objects is None
    with pytest.raises(ValueError, match="expected names of regions, which the head reads, got none"):
        ResidentFeatures(replace(features, named=None), CPU, 3, uses={"objects"})


# Training ------------------------------------------------------------------------------------------------------------


def test_hsan_learns_from_names(features: Features, split: Split) -> None:
    config = replace(HSAN, epochs=25)
    without = trained(config, replace(features, named=None), split).metrics["test"]["accuracy"]
    assert without < 0.75
    made = trained(config, features, split)
    assert made.metrics["test"]["accuracy"] > 0.9
    assert made.state_dict["E_o"].shape == (4, 6)
    assert made.state_dict["E_a"].abs().min() > 0


@pytest.mark.parametrize("graphs", [False, True])
def test_hsan_side_by_side_as_alone(graphs: bool, features: Features, split: Split) -> None:
    configs = [replace(HSAN, seed=seed, m=3 - seed) for seed in range(3)]
    together = results_of(configs, features, split, compute=ComputeOptions(graphs))
    for config, result in zip(configs, together, strict=True):
        alone = trained(config, features, split)
        assert isinstance(result, Fit)
        np.testing.assert_allclose(result.probabilities["test"], alone.probabilities["test"], atol=1e-5)
        assert result.best_epoch == alone.best_epoch


@needs_vader
@pytest.mark.parametrize("named", [True, False])
def test_lexicon_is_scikit_learns_regression(named: bool, features: Features, split: Split) -> None:
    own = features if named else replace(features, named=None)
    made = fit(LEXICON, own, split)
    assert (made.metrics["test"]["accuracy"] > 0.6) == named
    values = {kind: values_of_names(each) for kind, each in NAMES.items()}
    assert values["objects"].tolist() == [0.0, -0.5994, 0.5574, 0.0]
    assert features.named is not None
    v = values["objects"][features.named.objects] + values["attributes"][features.named.attributes]
    v = np.where(features.named.objects < 0, 0, v) * features.named.chances
    sums = np.stack([v.clip(min=0).sum(1), v.clip(max=0).sum(1)], 1) / 1.0
    sums /= sums[split.train].std(0)
    text = features.lexicons["vader"].astype(np.float64)
    sd = text[split.train].std(0)
    text = (text - text[split.train].mean(0)) * np.divide(1, sd, where=sd > 1e-9, out=np.zeros(4))
    X = np.hstack([sums, text]) if named else text
    there = sparse.csr_matrix(X)
    other = LogisticRegression(C=1.0, max_iter=5000).fit(there[split.train], features.labels[split.train])
    np.testing.assert_allclose(made.predicted["test"]["label"], other.predict_proba(there[split.test]), atol=1e-5)
    assert (made.vocabulary or {})["objects"] == (NAMES["objects"] if named else [])
    assert made.selected_by == "C as given"


@needs_vader
def test_lexicon_always_reads_vader() -> None:
    assert LEXICON.lexicons == "vader"
    assert LEXICON.lexicon_names == ("vader",)
    assert TrainConfig(head="lexicon", lexicons="shape+afinn").lexicon_names == ("vader", "afinn", "shape")
    assert short_name(LEXICON) == "lexicon-m3"
    assert short_name(replace(LEXICON, lexicons="shape")) == "lexicon-m3-vader+shape"
    assert canonical(replace(LEXICON, lr=0.5, d=3, max_words=4, keep_special=True), "x") == canonical(LEXICON, "x")
    assert LEXICON.inputs == {"regions"}


def test_lexicon_needs_texts(features: Features, split: Split) -> None:
    with pytest.raises(DataError, match="my set has no texts, which the head lexicon reads"):
        fit(LEXICON, replace(features, texts=None), split)


# Keys and runs -------------------------------------------------------------------------------------------------------


def test_keys_depend_on_what_is_read(features: Features, split: Split) -> None:
    def key(config: TrainConfig, **changes: Any) -> str:
        return Identity(replace(features, **changes), TABLE, fake_stores()).key(config, split)

    named = features.named
    assert named is not None
    renamed = replace(named, names={**NAMES, "objects": ["cat", *NAMES["objects"][1:]]})
    unattributed = replace(named, names={"objects": NAMES["objects"]})
    ways: list[dict[str, Any]] = [{}, {"named": None}, {"named": unattributed}]
    assert len({key(HSAN, **each) for each in ways}) == 3
    assert key(HSAN, named=renamed) == key(HSAN)  # it reads ids alone
    assert len({key(HSAN, sentence_ends=ends) for ends in [(), (7,), (7, 8), (7, 9)]}) == 4
    assert len({key(LEXICON), key(LEXICON, named=renamed), key(LEXICON, named=None)}) == 3
    assert key(LEXICON, named=unattributed) == key(LEXICON, named=None)
    assert key(LEXICON, sentence_ends=()) == key(LEXICON)
    other = TrainConfig(head="itin", m=3)
    assert key(other) == key(other, named=None, sentence_ends=())


def test_the_key_of_hsan_is_another_than_before(
    monkeypatch: pytest.MonkeyPatch, features: Features, split: Split
) -> None:
    bare = Identity(replace(features, named=None, sentence_ends=()), TABLE, fake_stores())
    now = bare.key(HSAN, split)
    monkeypatch.setitem(HEADS, "hsan", HEADS["hsan"]._replace(revision=1))
    assert bare.key(HSAN, split) != now


@pytest.mark.parametrize("config", [HSAN, pytest.param(LEXICON, marks=needs_vader)])
def test_a_run_keeps_what_it_read(config: TrainConfig, features: Features, split: Split, tmp_path: Path) -> None:
    path = write_of(trained(config, features, split), features, split, fake_stores(), parent=tmp_path, now=NOW)
    run = load_run(path)
    assert (run.head_config.objects, run.head_config.attributes, run.head_config.sentence_ends) == (4, 3, 2)
    assert label_of(run.config.head, run.head_config.has) == ("hsan*" if config.head == "hsan" else "lexicon")
    assert evaluate(run, features)["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-6)
    bare = replace(features, named=None)
    with pytest.raises(RunError, match=r"the features do not fit the run[\s\S]*attributes = 3[\s\S]*attributes = None"):
        evaluate(run, bare)
    check_fit(run, features)
    if config.head == "lexicon":
        vocabulary = json.loads((path / "vocabulary.json").read_text())
        assert (vocabulary["objects"], vocabulary["attributes"]) == (NAMES["objects"], NAMES["attributes"])
        values = load_file(path / "model.safetensors")["attribute_values"]
        assert values.tolist() == values_of_names(NAMES["attributes"]).tolist()
    older = write_of(trained(config, bare, split), bare, split, fake_stores(), parent=tmp_path / "older", now=NOW)
    old = load_run(older)  # trained before there were names: it goes on without them
    assert evaluate(old, features)["loss"] == pytest.approx(old.metrics["test"]["loss"], abs=1e-6)
    assert "no names" in label_of(old.config.head, old.head_config.has)


def test_named_regions_of_a_new_image() -> None:
    shown = {"objects": np.array([[0, 9, -1]]), "attributes": np.array([[1, 0, 1]]),
             "object_scores": np.full((1, 3), 0.5), "attribute_scores": np.full((1, 3), 0.25)}  # fmt: skip
    found = named_regions(shown, {"objects": 4, "attributes": 2})
    assert found.objects.tolist() == [[0, -1, -1]]
    assert found.chances.tolist() == [[0.125, 0, 0]]
    assert named_regions(shown, {"objects": 4}).attributes.tolist() == [[-1, -1, -1]]
