"""Runs on imported features of all kinds: the same as on the stores that they came from, and what they cannot do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itin.cache import find_stores, open_store, read_table
from itin.cache.export.export import export
from itin.predict.pairs import pairs_of
from itin.train.runs.folder import load_run

from ..commands.test_cli import itin
from ..features import Made, make_data, make_run

SMALL = ("--m", "3", "--d", "8", "--k", "8", "--epochs", "2", "--batch-size", "16", "--lr", "0.02")
FORMS = {"regions": ("out.parquet", None), "tokens": ("out.h5", None), "context": ("out", "npz-files")}
"""By kind: the file that it is exported to, and `--to`."""


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_data(tmp_path, 40)


def moved(made: Made, tmp_path: Path) -> dict[str, str]:
    """Take the stores of a data set out of its cache into files of other tools; returns their fingerprints."""
    fingerprints = {}
    for kind, (name, to) in FORMS.items():
        (path,) = find_stores(made.cache / "made-up", kind)
        store = open_store(path)
        fingerprints[kind] = store.fingerprint
        (tmp_path / kind).mkdir()
        export(store, tmp_path / kind / name, to=to)
        shutil.rmtree(path)
    return fingerprints


def imported(made: Made, source: Path, kind: str, *options: object) -> str:
    return itin("cache", "import", source, "--kind", kind, "--cache", made.cache, *options)


def test_a_run_on_imported_features_is_that_on_the_stores(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    before = load_run(make_run(made, tmp_path / "before"))
    shown = pairs_of(before)
    old = moved(made, tmp_path)
    for kind, (name, _) in FORMS.items():
        said = imported(made, tmp_path / kind / name, kind)
        assert "40 samples; 40 imported, 0 there before" in said
        assert "Matched by id, and by the digest of the image or text that each was made from." in said
    after = load_run(make_run(made, tmp_path / "after"))
    pd.testing.assert_frame_equal(before.predictions, after.predictions, check_exact=True)
    stores = {kind: find_stores(made.cache / "made-up", kind) for kind in FORMS}
    new = {kind: open_store(path).fingerprint for kind, (path,) in stores.items()}
    assert {kind: entry["fingerprint"] for kind, entry in after.record["stores"].items()} == new
    assert not set(new.values()) & set(old.values())
    assert before.record["key"] != after.record["key"]
    assert [one.prediction.probabilities for one in shown] == [one.prediction.probabilities for one in pairs_of(after)]
    assert "an encoder that was not named" in itin("cache", "info", "--cache", made.cache)


def test_vectors_alone_train_and_what_does_not_work_is_said(made: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for path in find_stores(made.cache / "made-up", "tokens") + find_stores(made.cache / "made-up", "regions"):
        shutil.rmtree(path)
    lengths = {id: len(text.split()) for id, text in zip(made.ids, made.texts, strict=True)}
    tokens = {id: rng.normal(size=(length, 5)).astype(np.float32) for id, length in lengths.items()}
    regions = {id: rng.normal(size=(4, 6)).astype(np.float32) for id in made.ids}
    for kind, arrays in (("tokens", tokens), ("regions", regions)):
        (tmp_path / kind).mkdir()
        for id, array in arrays.items():
            np.save(tmp_path / kind / f"{id}.npy", array)
    said = imported(made, tmp_path / "tokens", "tokens", "--name", "glove", "--encoder", "GloVe 5d")
    assert "without token ids: a head with a learned table cannot be trained on these features" in said
    assert "without a map to words: each vector is taken as one, and reports show numbers in place of words" in said
    said = imported(made, tmp_path / "regions", "regions", "--name", "mine")
    assert "without boxes: reports and `itin explain` do not draw these regions" in said
    store = open_store(find_stores(made.cache / "made-up", "tokens")[0])
    assert (store.name, store.lacks, store.identity["dtype"]) == ("glove", ("token_ids", "word_ids"), "float32")
    words = "--cache", made.cache, *SMALL
    said = itin("train", *words, "--lexical", 4, "--out", tmp_path / "no", code=1)
    assert "was imported without token ids, of which a head's learned table is made" in said
    assert "train with --lexical 0" in said
    assert not (tmp_path / "no").exists()
    itin("train", *words, "--text-encoder", "glove", "--regions", "mine", "--out", tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert np.isfinite(run.predictions.filter(like="p_").to_numpy()).all()
    texts = read_table(made.cache / "made-up").samples.set_index("id")["text"]
    for one in pairs_of(run):
        assert one.prediction.words == [f"#{number + 1}" for number in range(len(texts[one.id].split()))]
        assert [region.box for region in one.prediction.regions] == [(0, 0, 0, 0)] * 3
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["stores"]["tokens"]["identity"]["weights"]["imported"] == "GloVe 5d"
    picture = next(made.images.glob("*.jpg"))
    said = itin("predict", tmp_path / "run", "--image", picture, "--text", "a lovely day", code=1)
    assert "features that were imported, not made here" in said


def test_boxes_beyond_the_image_are_of_another_one(made: Made, tmp_path: Path) -> None:
    shutil.rmtree(find_stores(made.cache / "made-up", "regions")[0])
    arrays: dict[str, Any] = {"regions": np.ones((40, 2, 6), np.float32)}
    boxes = np.tile(np.float32([1, 2, 60, 40]), (40, 2, 1))
    boxes[7] = [1, 2, 90, 40]
    np.savez(tmp_path / "all.npz", ids=np.array(made.ids), boxes=boxes, **arrays)
    said = imported(made, tmp_path / "all.npz", "regions")
    assert f"{made.ids[7]}: has boxes up to 90x40 pixels, the data set's image has 64x48" in said
    assert "40 samples; 39 imported" in said
    store = open_store(find_stores(made.cache / "made-up", "regions")[0])
    np.testing.assert_array_equal(store.read("boxes", [0])[0], [[1, 2, 60, 40]] * 2)
    arrays["boxes"] = boxes[:1].repeat(40, 0) / [64, 48, 64, 48]
    np.savez(tmp_path / "shares.npz", ids=np.array(made.ids), **arrays)
    assert "40 with boxes between 0 and 1" in imported(made, tmp_path / "shares.npz", "regions", "--name", "shares")
    path = next(path for path in find_stores(made.cache / "made-up", "regions") if "shares" in path.name)
    np.testing.assert_allclose(open_store(path).read("boxes", [0])[0], [[1, 2, 60, 40]] * 2, rtol=1e-6)


def test_names_of_images_and_texts_mean_their_pairs(made: Made, tmp_path: Path) -> None:
    shutil.rmtree(find_stores(made.cache / "made-up", "context")[0])
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "images.npz", ids=np.array([f"{i}.jpg" for i in range(40)]), features=vectors)
    imported(made, tmp_path / "images.npz", "context", "--name", "images")
    np.savez(tmp_path / "texts.npz", ids=np.array(made.texts), features=vectors)
    said = imported(made, tmp_path / "texts.npz", "context", "--name", "texts", "--by", "text", "--allow-missing")
    same_text = {text for text in made.texts if made.texts.count(text) > 1}
    for path in find_stores(made.cache / "made-up", "context"):
        store = open_store(path)
        rows = store.index(made.ids)
        for i, row in enumerate(rows.tolist()):
            if store.name == "texts" and made.texts[i] in same_text:
                assert row == -1
                assert "pairs without features: " in said
            else:
                np.testing.assert_array_equal(store.read("context", [row])[0], vectors[i])


def test_options_that_do_not_fit(made: Made, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(4))
    words = "cache", "import", tmp_path / "x.npy", "--cache", made.cache, "--kind", "context"
    assert "--map takes NAME=ARRAY, got boxes" in itin(*words, "--map", "boxes", code=2)
    said = itin(*words, "--map", "boxes=b", code=2)
    assert "context features have the arrays context, sha256, ids, not boxes" in said
    assert "bua-npz holds regions, not context" in itin(*words, "--from", "bua-npz", code=2)
    (tmp_path / "x.txt").touch()
    assert "x.txt with --from" in itin("cache", "import", tmp_path / "x.txt", "--cache", made.cache, code=2)
    said = itin(*words, code=1)
    assert "no features in" in said
    assert "belong to the data set made-up" in said
