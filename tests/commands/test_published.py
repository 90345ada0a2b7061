"""Published data sets in the real commands, from annotation files to a run on their own split; the docs' example."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from itin.cache import read_table
from itin.extract.data import datasets
from itin.train.protocols import clmlf
from itin.train.runs.folder import load_run

from .. import published_sets as sets
from ..own_encoders import CONTEXT, current_folder, example
from .test_classes import HEAD, NAMED, itin

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
SIZES = {"train": 24, "val": 9, "test": 10}
SENTIMENTS = ("positive", "neutral", "negative")


class Trained(NamedTuple):
    """A data set that is extracted, its ids by part as its files give them, and what the commands said."""

    kind: str
    parts: dict[str, list[str]]
    extracted: str
    shown: str


def draw(kind: str, root: Path) -> dict[str, list[str]]:
    """Write a small data set of a kind, and return the ids of its parts."""
    if kind == "msed":
        rows = {
            part: [(f"title {n}", f"{part} {n}", SENTIMENTS[n % 3], "sad", "none") for n in range(count)]
            for part, count in SIZES.items()
        }
        sets.msed(root, rows.__getitem__)
        folders = {"train": "train", "val": "dev", "test": "test"}
        return {part: [f"{folders[part]}-{n + 1}" for n in range(count)] for part, count in SIZES.items()}
    lines: dict[str, list[str]] = {}
    ids: dict[str, list[str]] = {}
    for part, count in SIZES.items():  # two aspects a tweet
        lines[part] = [
            f"{n}\t{n % 3}\t{part}{n // 2}.jpg\t$T$ of {part} {n // 2}\taspect {n % 2}" for n in range(count)
        ]
        ids[part] = [f"{part}{n // 2}-{1 + n % 2}" for n in range(count)]
        for n in range(count):
            sets.picture(root / "twitter2015_images" / f"{part}{n // 2}.jpg", n // 2)
    sets.twitter(root, lines)
    return ids


@pytest.fixture(scope="module", params=["msed", "twitter-2015"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with current_folder(tmp_path_factory.mktemp("published")) as folder:
        (folder / "mine.py").write_text(example() + CONTEXT)
        parts = draw(request.param, folder / "data")
        extracted = itin("extract", "--dataset", request.param, "--root", "data", "--cache", "cache", *NAMED)
        (folder / "data").rename(folder / "gone")  # training needs the cache alone
        shown = itin("train", "--cache", "cache", *HEAD, "--protocol", "own", "--out", "run")
        yield Trained(request.param, parts, extracted, shown)


def test_a_run_on_the_own_split(trained: Trained) -> None:
    assert "its own split, --protocol own: 24 train, 9 val, 10 test" in trained.extracted
    assert "protocol own\n" in trained.shown
    run = load_run("run")
    split = run.record["split"]
    part_of = {id: part for part, ids in trained.parts.items() for id in ids}
    assert split == {
        "protocol": "own",
        "kind": "own",
        "digest": clmlf.digest(part_of),
        "not_in_split": 0,
        "not_in_features": 0,
        "sizes": SIZES,
    }
    found = run.predictions
    assert {part: found["id"][found["part"] == part].tolist() for part in set(found["part"])} == {
        part: ids for part, ids in trained.parts.items() if part in set(found["part"])
    }
    assert "own" in itin("runs", "run")


def test_the_texts_of_the_table(trained: Trained) -> None:
    samples = read_table(Path("cache") / trained.kind).samples
    expected = {"msed": "title 0 train 0", "twitter-2015": "$T$ of train 0 [SEP] aspect 0"}
    assert samples["text"][0] == expected[trained.kind]


def test_duplicates_of_later_parts_can_be_dropped(trained: Trained) -> None:
    """The drawn pictures are equal across parts: all of train and val equal one of test."""
    said = itin("train", "--cache", "cache", *HEAD, "--protocol", "own", "--group-duplicates", "--out", "no", code=1)
    assert "drops pairs that equal one of a later part" in said


def test_the_parts_are_counted(trained: Trained) -> None:
    found = json.loads(itin("data", "check", "--cache", "cache", "--protocol", "own", "--json"))
    assert found["split"]["sizes"] == SIZES
    root = itin("data", "check", "--dataset", trained.kind, "--root", "gone", "--protocol", "own")
    assert re.search(r"test +10 ", root)


def test_own_needs_parts(tmp_path: Path) -> None:
    root = sets.memotion(tmp_path / "m", [(f"{n}.png", "x", f"y {n}", *["funny"] * 4, "positive") for n in range(9)])
    for n in range(9):
        sets.picture(root / "images" / f"{n}.png", n)
    said = itin("data", "check", "--dataset", "memotion", "--root", root, "--protocol", "own", code=1)
    assert "memotion has no split of its own" in said
    assert "a part for none of 9 labelled pairs" in said


def test_options_that_a_data_set_lacks(tmp_path: Path) -> None:
    said = itin("extract", "--dataset", "hfm", "--root", tmp_path, "--aspect", "keep", code=2)
    assert "aspect: an option of twitter-2015, twitter-2017, not of the data set 'hfm'" in said
    sets.memotion(tmp_path, [])
    said = itin("extract", "--dataset", "memotion", "--root", tmp_path, "--columns", "label=mood", *NAMED, code=2)
    assert "memotion takes label=overall_sentiment or label=humour or" in said
    assert all(kind in itin("extract", "--help") for kind in datasets.DATASETS)


def test_the_example_of_a_new_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, line = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    module = ModuleType("itin.extract.data.sets.moods")
    module.__package__ = "itin.extract.data.sets"
    exec(compile(file, "moods.py", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (named,) = ast.parse("{" + line + "}", mode="eval").body.keys
    entry = eval(line.partition(":")[2].strip().rstrip(","), {"Reader": datasets.Reader})
    monkeypatch.setitem(datasets.DATASETS, named.value, entry)
    rows = {
        "train": [{"photo": "a", "caption": "sun", "mood": "merry"}, {"photo": "b", "caption": "rain", "mood": "odd"}],
        "val": [{"photo": "c", "caption": "fog", "mood": "calm"}, {"photo": "../d", "caption": "x", "mood": "calm"}],
        "test": [{"photo": "a", "caption": "again", "mood": "sad"}, {"photo": "e", "caption": "night", "mood": "sad"}],
    }
    for part, values in rows.items():
        sets.write(tmp_path / f"{part}.jsonl", "".join(json.dumps(one) + "\n" for one in values))
    dataset = datasets.open_dataset("moods", tmp_path)
    assert [(one.id, one.image.name, one.text, one.label, one.part) for one in dataset.entries] == [
        ("a", "a.jpg", "sun", "merry", "train"),
        ("c", "c.jpg", "fog", "calm", "val"),
        ("e", "e.jpg", "night", "sad", "test"),
    ]
    assert [one.reason for one in dataset.rejected] == [
        "train.jsonl, line 2: unknown label 'odd'; known are calm, merry, sad",
        "val.jsonl, line 2: the image path 'photos/../d.jpg' leads nowhere in the data set's folder",
        "test.jsonl, line 1: id a is on an earlier row too",
    ]
    assert datasets.open_dataset("moods", tmp_path, classes=["sad", "merry"]).classes == ("sad", "merry")


def test_the_page_names_every_data_set() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{kind}`" in page for kind in datasets.DATASETS)
