"""Imported region features as a store: made-up ones, and the four real files with all that follows them."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from itin.cache import Table, open_store, read_table, write_table
from itin.errors import DataError, RunError
from itin.extract.foreign.importing import UNKNOWN, ImportOptions, ImportSummary, import_features
from itin.predict import Predictor
from itin.train.runs.folder import load_run

from ..bua_files import DIM, features, tsv_row, write_npz
from ..commands.test_cli import encoders, itin

Draw = Callable[..., Path]


def import_regions(source: Path, form: str, table: Table, **options: Any) -> ImportSummary:
    return import_features(source, form, table, ImportOptions(**options))


@pytest.fixture
def cache(tmp_path: Path, draw_mvsa: Draw) -> Path:
    """A cache that knows six pairs, 1 to 6, of 41x31, 42x32, ... pixels."""
    root = draw_mvsa(tmp_path / "data", pairs=6)
    small = encoders(tmp_path / "bert")
    itin(
        "extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", *small, "--only", "tokens"
    )
    return tmp_path / "cache"


def sizes(table: Table) -> dict[str, tuple[int, int]]:
    """Width and height of each image of a data set."""
    return {row["id"]: (row["width"], row["height"]) for row in table.samples.to_dict("records")}


def test_rows_belong_to_the_samples_of_their_ids(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "features"
    source.mkdir()
    made = {id: features(int(id), int(id)) for id in ("3", "1", "5")}
    write_npz(source / "3.npz", made["3"], size=(43, 33))
    write_npz(source / "1.npz", made["1"], size=(82, 62))  # twice as large as the data set's
    write_npz(source / "5.npz", made["5"], size=(45, 30), info=None)
    write_npz(source / "99.npz", made["1"])
    write_npz(source / "2.npz", made["1"], size=(32, 42))  # turned
    write_npz(source / "4.npz", {**made["1"], "x": np.full((1, DIM), np.nan, np.float32)}, size=(44, 34))
    (source / "6.npz").write_bytes(b"nothing")
    table = read_table(cache / "mvsa-single")
    done = import_regions(source, "bua-npz", table, shard_size=2, store_dtype="float32", allow_missing=True)
    assert (done.records, done.made, done.reused) == (7, 3, 0)
    assert (done.match.ours, done.match.theirs) == (("2", "6"), ("99",))
    assert (done.unscored, done.scaled, done.shares) == (1, 1, 0)
    assert {row.id: row.reason for row in done.rejected} == {
        "2": "was made from an image of 32x42 pixels, the data set's has 42x32",
        "4": "regions holds values that are not finite",
        "6": "6.npz cannot be read: File is not a zip file",
    }
    store = open_store(done.path)
    assert done.path.name.startswith("regions-bua-npz-")
    assert (store.name, store.options, store.untrained) == ("bua-npz", None, False)
    assert store.identity["weights"]["imported"] == UNKNOWN
    assert store.identity["dims"] == {"feature": DIM, "max_regions": 5}
    samples = table.samples.set_index("id")
    rows = store.index(list(made), [samples.loc[id, "image_sha256"] for id in made])
    assert (rows >= 0).all()
    for row, (id, one) in zip(rows, made.items(), strict=True):
        number = int(id)
        order = np.arange(number) if id == "5" else np.argsort(-one["objects_conf"])
        assert store.read("counts", [row]) == number
        np.testing.assert_array_equal(store.read("regions", [row])[0, :number], one["x"][order])
        boxes = one["bbox"][order] * (0.5 if id == "1" else 1)
        np.testing.assert_array_equal(store.read("boxes", [row])[0, :number], boxes)
        objects = np.full(number, -1) if id == "5" else one["objects_id"][order]
        np.testing.assert_array_equal(store.read("objects", [row])[0, :number], objects)
    told = store.manifest["provenance"]["imported"]
    assert (told["from"], told["source"], told["scaled_boxes"]) == ("bua-npz", str(source), 1)
    assert "was not checked" in told["images"]
    again = import_regions(source, "bua-npz", table, shard_size=2, store_dtype="float32", allow_missing=True)
    assert (again.path, again.made, again.reused) == (done.path, 0, 3)
    assert {row.id for row in again.rejected} == {"2", "4", "6"}  # that of 4 used to be told once


def test_ports_turn_pictures_and_so_do_we(tmp_path: Path, draw_mvsa: Draw) -> None:
    """`cv2.imread`, by which the ports read, applies EXIF orientation: their images have the sizes of ours."""
    root = draw_mvsa(tmp_path / "data", pairs=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), "red").save(root / "data" / "2.jpg", exif=exif)
    cache = tmp_path / "cache"
    itin(
        *("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache),
        *(*encoders(tmp_path / "bert"), "--only", "tokens"),
    )
    made = features(2)
    write_npz(tmp_path / "2.npz", made, size=(96, 128))  # as shown, and twice as large
    table = read_table(cache / "mvsa-single")
    done = import_regions(tmp_path / "2.npz", "bua-npz", table, store_dtype="float32", allow_missing=True)
    assert (done.made, done.scaled, done.rejected) == (1, 1, [])
    store = open_store(done.path)
    row = store.index(["2"], [table.samples.set_index("id").loc["2", "image_sha256"]])
    order = np.argsort(-made["objects_conf"])
    np.testing.assert_array_equal(store.read("boxes", row)[0, :2], made["bbox"][order] * 0.5)


def test_again_nothing_is_written_and_other_features_are_another_store(cache: Path, tmp_path: Path) -> None:
    table = read_table(cache / "mvsa-single")
    source = tmp_path / "train.tsv"
    rows = [tsv_row("1", features(3), (41, 31)), tsv_row("2", features(4), (42, 32)), tsv_row("1", features(3))]
    source.write_text("\n".join(rows))
    detector = "d2, 10 to 100 boxes"
    first = import_regions(source, "bua-tsv", table, max_regions=2, encoder=detector, allow_missing=True)
    assert (first.made, first.reused, first.unscored) == (2, 0, 2)
    assert [(row.id, row.reason) for row in first.rejected] == [("1", "occurs twice: the first is taken")]
    store = open_store(first.path)
    assert store.identity["dims"]["max_regions"] == 2
    assert store.identity["weights"]["imported"] == "d2, 10 to 100 boxes"
    np.testing.assert_array_equal(store.read("boxes", [1])[0], features(4)["bbox"][:2])
    before = {path.name: path.read_bytes() for path in first.path.iterdir() if path.is_file()}
    again = import_regions(source, "bua-tsv", table, max_regions=2, encoder=detector, allow_missing=True)
    assert (again.made, again.reused, again.path) == (0, 2, first.path)
    assert {path.name: path.read_bytes() for path in first.path.iterdir() if path.is_file()} == before
    source.write_text("\n".join([*rows[:2], tsv_row("3", features(2), (43, 33))]))
    assert import_regions(source, "bua-tsv", table, max_regions=2, allow_missing=True).path != first.path


def test_what_cannot_be_imported(cache: Path, tmp_path: Path) -> None:
    table = read_table(cache / "mvsa-single")
    write_npz(tmp_path / "other.npz", features(2))
    with pytest.raises(DataError, match=r"no features in .* belong to the data set mvsa-single") as error:
        import_regions(tmp_path / "other.npz", "bua-npz", table)
    assert "other" in str(error.value)
    with pytest.raises(ValueError, match=r"can be imported from bua-npz, bua-tsv, .*, not from 'vilbert'"):
        import_regions(tmp_path, "vilbert", table)
    assert "max_regions and shard_size must be at least 1" in itin(
        "cache", "import", tmp_path, "--from", "bua-npz", "--cache", cache, "--max-regions", "0", code=2
    )
    assert "run `itin extract` first" in itin(
        "cache", "import", tmp_path, "--from", "bua-npz", "--cache", tmp_path / "none", code=1
    )


@pytest.mark.parametrize(
    ("write", "cause"),
    [
        (lambda id: f"{id:0>4}.jpg", "leading zeros and file extensions: '1' against '0001.jpg', 6 such"),
        (lambda id: f"{id}.feat", "file extensions: '1' against '1.feat', 6 such"),
        (lambda id: f"val2014/{id}", "folders before the name: '1' against 'val2014/1', 6 such"),
    ],
)
def test_ids_that_do_not_meet(cache: Path, tmp_path: Path, write: Callable[[str], str], cause: str) -> None:
    source = tmp_path / "train.tsv"
    whole = list(sizes(read_table(cache / "mvsa-single")).items())
    source.write_text("\n".join(tsv_row(write(i), features(2), size) for i, size in whole))
    with pytest.raises(DataError) as caught:
        import_regions(source, "bua-tsv", read_table(cache / "mvsa-single"))
    assert "no features in" in str(caught.value)
    assert f"likely cause: {cause}" in str(caught.value)
    some = [tsv_row(i if i < "4" else write(i), features(2), size) for i, size in whole]
    source.write_text("\n".join(some))
    with pytest.raises(DataError, match=r"has no features for 3 of 6 pairs[\s\S]*likely cause: .*, 3 such"):
        import_regions(source, "bua-tsv", read_table(cache / "mvsa-single"))
    assert not list((cache / "mvsa-single").glob("regions-*"))


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (np.nan, "float32", "regions holds values that are not finite"),
        (1e6, "float16", "1: regions overflows float16: 1e+06"),
    ],
)
def test_an_import_in_which_nothing_can_be_used(
    cache: Path, tmp_path: Path, value: float, dtype: str, reason: str
) -> None:
    """It used to leave an empty store, and exit code 0, the first time and every time after it."""
    source = tmp_path / "features"
    source.mkdir()
    for id, size in sizes(read_table(cache / "mvsa-single")).items():
        write_npz(source / f"{id}.npz", {**features(2), "x": np.full((2, DIM), value, np.float32)}, size)
    words = "cache", "import", source, "--from", "bua-npz", "--cache", cache, "--store-dtype", dtype
    for _ in range(2):
        said = itin(*words, code=1)
        assert f"no features in {source} can be used" in said
        assert "cannot be used: 6 (1: " in said
        assert reason in said
        assert not list((cache / "mvsa-single").glob("regions-*"))


def test_boxes_between_0_and_1_are_shares_of_the_image(cache: Path, tmp_path: Path) -> None:
    """They used to be taken as pixels: all regions in the first one."""
    source = tmp_path / "features"
    source.mkdir()
    table = read_table(cache / "mvsa-single")
    made = {id: features(3, int(id)) for id in sizes(table)}
    for id, size in sizes(table).items():
        write_npz(source / f"{id}.npz", made[id], size)
    pixels = import_regions(source, "bua-npz", table, store_dtype="float32")
    for id, (width, height) in sizes(table).items():
        shares = made[id]["bbox"] / np.array([width, height] * 2, np.float32)
        twice = 2 if id == "2" else 1  # the size that they were made at does not matter then
        write_npz(source / f"{id}.npz", {**made[id], "bbox": shares}, (width * twice, height * twice))
    said = itin("cache", "import", source, "--from", "bua-npz", "--cache", cache, "--store-dtype", "float32")
    assert "6 with boxes between 0 and 1: taken as shares of the image's width and height" in said.splitlines()
    (path,) = set((cache / "mvsa-single").glob("regions-*")) - {pixels.path}
    (there, here), rows = (open_store(pixels.path), open_store(path)), np.arange(6)
    assert there.ids == here.ids
    np.testing.assert_allclose(here.read("boxes", rows), there.read("boxes", rows), rtol=1e-5)
    assert "boxes" in here.identity["preprocessing"]
    assert "boxes" not in there.identity["preprocessing"]
    assert here.manifest["provenance"]["imported"]["boxes_as_shares"] == 6


def test_features_of_the_labelled_pairs_alone(tmp_path: Path, draw_mvsa: Draw) -> None:
    """Others made features of the pairs that keep a label: none of these is missing."""
    root, cache, source = draw_mvsa(tmp_path / "data", pairs=6), tmp_path / "cache", tmp_path / "features"
    labels = (root / "labelResultAll.txt").read_text()
    (root / "labelResultAll.txt").write_text(labels.replace("5\tneutral,neutral", "5\tpositive,negative"))
    small = "--text-encoder", "bert-base-uncased", "--random-init", 0, "--only", "context"
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *small)
    source.mkdir()
    for id in (1, 2, 3, 4, 6):
        write_npz(source / f"{id}.npz", features(2), size=(40 + id % 7, 30 + id % 5))
    words = "cache", "import", source, "--from", "bua-npz", "--cache", cache
    assert "pairs without features: 1 (5)" in itin(*words)
    (source / "6.npz").unlink()
    assert "has no features for 2 of 6 pairs" in itin(*words, "--detector", "another", code=1)


def test_the_command_says_what_it_left_out(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "features"
    source.mkdir()
    write_npz(source / "1.npz", features(2), size=(82, 62))
    write_npz(source / "2.npz", features(2), size=(42, 32), info=[1])
    write_npz(source / "7.npz", features(2))
    (source / "3.npz").write_bytes(b"")
    words = "cache", "import", source, "--from", "bua-npz", "--cache", cache, "--detector", "caffe r101"
    said = itin(*words, code=1)
    assert "has no features for 4 of 6 pairs of mvsa-single" in said
    assert (
        "pairs without features: 4 (3, 4, 5, 6); images of no pair of the data set: 1 (7); cannot be used: 1 (3: "
        in said
    )
    assert not list((cache / "mvsa-single").glob("regions-*"))
    said = itin(*words, "--allow-missing")
    for line in (
        "bua-npz: 4 images; 2 imported, 0 there before",
        "1 without scores: their regions keep the order of the source",
        "1 with scores: their regions are sorted by descending score",
        "1 times info left out: it is no dict",
        "1 made from another size of the image: boxes scaled to the data set's images",
        "images of no pair of the data set: 1 (7)",
        "pairs without features: 4 (3, 4, 5, 6)",
        "1 cannot be used:",
        "  3: 3.npz cannot be read: File is not a zip file",
        "Matched by id; it was not checked that they were made from the data set's own images.",
    ):
        assert line in said.splitlines()
    assert "caffe r101" in itin("cache", "info", "--cache", cache)


def test_real_features_train_and_predict_refuses(shared_data: Path, tmp_path: Path) -> None:
    """Four real pairs of MVSA-Single with the features that the original detector gave them."""
    sample, ids = shared_data / "mvsa-single-sample", ["61", "67", "219", "255"]
    root = tmp_path / "MVSA_Single"
    (root / "data").mkdir(parents=True)
    lines = (sample / "labelResultAll.txt").read_text().splitlines()
    (root / "labelResultAll.txt").write_text("\n".join(line for line in lines if line.split("\t")[0] in ["ID", *ids]))
    for id in ids:
        for ending in ("jpg", "txt"):
            shutil.copy(sample / "data" / f"{id}.{ending}", root / "data")
    cache = tmp_path / "cache"
    small = [*encoders(tmp_path / "bert"), "--only", "tokens,context"]
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *small)
    detector = "bottom-up-attention.pytorch, two boxes an image"
    said = itin(
        *("cache", "import", shared_data / "bua-features", "--from", "bua-npz", "--dataset", "mvsa-single"),
        *("--cache", cache, "--detector", detector, "--store-dtype", "float32"),
    )
    assert "4 images; 4 imported" in said
    assert "4 with scores" in said
    store = open_store(next((cache / "mvsa-single").glob("regions-*")))
    samples = read_table(cache / "mvsa-single").samples.set_index("id")
    rows = store.index(ids, [samples.loc[id, "image_sha256"] for id in ids])
    for row, id in zip(rows, ids, strict=True):
        with np.load(shared_data / "bua-features" / f"{id}.npz", allow_pickle=True) as held:
            told = held["info"].item()
            order = np.argsort(-told["objects_conf"], kind="stable")
            np.testing.assert_array_equal(store.read("regions", [row])[0], held["x"][order])
            np.testing.assert_array_equal(store.read("boxes", [row])[0], held["bbox"][order])
            np.testing.assert_array_equal(store.read("scores", [row])[0], told["objects_conf"][order])
            np.testing.assert_array_equal(store.read("objects", [row])[0], told["objects_id"][order])
            np.testing.assert_array_equal(store.read("attributes", [row])[0], told["attrs_id"][order])
    split = tmp_path / "split.csv"
    split.write_text("id,part\n61,train\n67,train\n219,val\n255,test\n")
    run = tmp_path / "run"
    options = ["--d", "32", "--k", "16", "--epochs", "2", "--split", split, "--cache", cache, "--out", run]
    itin("train", "--m", "2", *options)
    record = load_run(run).record
    assert record["stores"]["regions"]["options"] is None
    assert record["samples"]["used"] == 4
    assert json.loads((run / "config.json").read_text())["stores"]["regions"]["identity"]["name"] == "bua-npz"
    with pytest.raises(RunError) as error:
        Predictor(load_run(run), torch.device("cpu"))
    assert "was trained on regions features that were imported" in str(error.value)
    assert f"whose detector weights are missing here: {detector}" in str(error.value)
    said = itin("predict", run, "--image", root / "data" / "61.jpg", "--text", "a day", code=1)
    assert "detector weights are missing here" in said
    assert "--detector-weights FILE" in said


def test_stores_of_the_family_keep_their_fingerprints(tmp_path: Path) -> None:
    """This name was given by the version that could read nothing but the family."""
    folder = tmp_path / "d"
    row = {"id": "1", "label": None, "text": "x", "image": "x", "width": 40, "height": 30}
    write_table(folder, {"name": "d"}, [{**row, "image_sha256": "1" * 64, "text_sha256": "2" * 64}], [])
    arrays = np.arange(8, dtype="<f4"), np.arange(12, dtype="<f4")
    (tmp_path / "t.tsv").write_text("\t".join(["1", "40", "30", "2", *(b64encode(a).decode() for a in arrays)]))
    done = import_regions(tmp_path / "t.tsv", "bua-tsv", read_table(folder))
    assert done.path.name == "regions-bua-tsv-c3a01e91f190"
