"""hsan and lexicon from pictures to explanations, on a seeded detector with a small vocabulary."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES
from itin.predict.pairs import pairs_of
from itin.report.explain import Explanation
from itin.report.thumbnails import Images
from itin.train.features.find import stores_of_run
from itin.train.lexicons.values import values_of_names
from itin.train.runs.folder import load_run

from ..commands.test_cli import encoders, itin
from ..conftest import draw
from ..frcnn_small import SMALL, recipe

pytest.importorskip("vaderSentiment")

OBJECTS = ["dog,canine", "smile", "war", *[f"thing {i}" for i in range(17)]]
ATTRIBUTES = ["happy", "sad", "ugly", "lovely", "great", "awful", "nice", "dead", "free", "bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 20 pairs whose texts have three sentences, its features with names, and a run of each head."""
    made = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        _small(patch)
        root = draw(made / "data", 20)
        for i in range(1, 21):
            mood = ("so happy", "plain", "awful")[i % 3]
            (root / "data" / f"{i}.txt").write_text(f"A {mood} day!! Number {i}. And now")
        (made / "objects.txt").write_text("\n".join(OBJECTS))
        (made / "attributes.txt").write_text("\n".join(ATTRIBUTES))
        names = ("--object-names", made / "objects.txt", "--attribute-names", made / "attributes.txt")
        words = encoders(made / "bert")[2:6]
        source = ("extract", "--dataset", "mvsa-single", "--root", root)
        itin(*source, "--cache", made / "cache", *words, *names, "--max-regions", 4)
        itin("train", "--cache", made / "cache", "--head", "hsan", "--d", 8, "--epochs", 2, "--out", made / "hsan")
        itin("train", "--cache", made / "cache", "--head", "lexicon", "--m", 4, "--out", made / "lexicon")
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    _small(monkeypatch)


def _small(patch: pytest.MonkeyPatch) -> None:
    for name in RECIPES:
        patch.setitem(RECIPES, name, recipe(name))
    for family in ARCHITECTURES:
        patch.setitem(ARCHITECTURES, family, SMALL)


def test_a_new_pair_is_predicted_as_in_the_data_set(folder: Path) -> None:
    for head in ("hsan", "lexicon"):
        run = load_run(folder / head)
        row = run.predictions[run.predictions["part"] == "test"].iloc[0]
        image, text = folder / "data" / "data" / f"{row['id']}.jpg", folder / "data" / "data" / f"{row['id']}.txt"
        said = itin("predict", run.path, "--image", image, "--text", text.read_text())
        chances = re.search(r"positive ([\d.]+), neutral ([\d.]+), negative ([\d.]+)", said)
        assert chances is not None
        for name, chance in zip(("positive", "neutral", "negative"), chances.groups(), strict=True):
            assert float(chance) == pytest.approx(row[f"p_{name}"], abs=1e-3)
        (pair,) = [one for one in pairs_of(run, "test") if one.id == row["id"]]
        if head == "hsan":
            assert re.search(r"  sentences   A .* day ! ! 0\.\d+  \|  Number \d+ \. 0\.\d+  \|  And now 0\.\d+", said)
            assert pair.prediction.by_sentence in said
            assert sum(weight for _, weight in pair.prediction.sentences) == pytest.approx(1, abs=1e-5)
            assert len(pair.prediction.sentences) == 3
            assert sum(pair.prediction.attended.values()) == pytest.approx(1, abs=1e-5)
        else:
            assert f"because: {pair.prediction.because}" in " ".join(said.split())
            assert list(pair.prediction.reasons)[-4:] == ["vader neg", "vader neu", "vader pos", "vader compound"]


def test_reasons_of_lexicon_name_what_the_regions_show(folder: Path) -> None:
    """The pairs are those of the image's regions that VADER gives a value."""
    run = load_run(folder / "lexicon")
    store = stores_of_run(run).stores["regions"]
    value = dict(zip(ATTRIBUTES, values_of_names(ATTRIBUTES), strict=True))
    objects = [name.split(",")[0] for name in OBJECTS]
    value |= dict(zip(objects, values_of_names(objects), strict=True))
    named = 0
    for pair in pairs_of(run, "test"):
        row = store.index([pair.id])
        there = int(store.read("counts", row)[0])
        ids = zip(store.read("attributes", row)[0, :there], store.read("objects", row)[0, :there], strict=True)
        pairs = {(ATTRIBUTES[a], objects[o]) for a, o in ids}
        want = {f"{a} {o}" for a, o in pairs if value[a] + value[o]}
        assert set(list(pair.prediction.reasons)[:-4]) == want
        named += len(want)
    assert named


def test_explanations_show_sentences_and_reasons(folder: Path) -> None:
    for head, on_page, in_figure in (("hsan", "Sentences: A ", "sentences: "), ("lexicon", "vader pos", "vader pos")):
        one = Explanation.of(pairs_of(load_run(folder / head), "test")[0], Images(folder / "data" / "data"))
        assert on_page in one.html()
        shown = "".join(text.get_text() for text in one.figure().axes[0].texts)
        assert in_figure in shown
        said = one.prediction.by_sentence or f"vader pos {one.prediction.reasons['vader pos']:+.2f}"
        assert " ".join(said.split()) in " ".join(shown.split())


def test_names_of_heads_tell_what_was_missing(folder: Path, tmp_path: Path) -> None:
    """Of the same pairs, with grid cells for regions; stores with names give hsan* alone."""
    source = ("extract", "--dataset", "mvsa-single", "--root", folder / "data", "--cache", tmp_path / "cache")
    itin(*source, *encoders(tmp_path / "bert"))
    for head in ("hsan", "lexicon"):
        itin("train", "--cache", tmp_path / "cache", "--head", head, "--d", 8, "--epochs", 1, "--out", tmp_path / head)
    said = itin("runs", folder / "hsan", folder / "lexicon", tmp_path / "hsan", tmp_path / "lexicon", "--json")
    assert [row["has"] for row in json.loads(said)] == [
        *["attributes+objects+sentence_ends"] * 2,
        *["sentence_ends"] * 2,
    ]
    shown = itin("runs", folder / "hsan", folder / "lexicon", tmp_path / "hsan", tmp_path / "lexicon")
    for name, count in (("hsan* (no names)", 1), ("lexicon (no names)", 1), ("hsan* ", 2), ("lexicon ", 2)):
        assert shown.count(name) >= count, name
    image = folder / "data" / "data" / "1.jpg"
    said = itin("predict", tmp_path / "lexicon", "--image", image, "--text", "A lovely day")
    assert re.search(r"because: vader neg [-+.\d]+, vader neu [-+.\d]+, vader pos [-+.\d]+, vader compound", said)
