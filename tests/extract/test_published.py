"""Published data sets: each reader against small files of the real form; ids, texts, labels and parts as they stand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itin.cache.table import options_of
from itin.commands.extract import label_lines
from itin.errors import DataError
from itin.extract.config import ExtractConfig
from itin.extract.data.datasets import DATASETS, open_dataset
from itin.extract.data.samples import DataSet
from itin.extract.data.survey import last_survey, open_config, survey
from itin.labels import LABELS
from itin.targets import Target

from .. import published_sets as sets

BY_PART = {"train": 0, "val": 1, "test": 2}


def told(dataset: DataSet) -> list[tuple[str, str, object, str | None, str | None]]:
    """Return id, image, text, label and part of each entry."""
    return [
        (one.id, one.image.relative_to(dataset.root).as_posix(), one.text, one.label, one.part)
        for one in dataset.entries
    ]


def reasons(dataset: DataSet) -> dict[str, str]:
    assert len({one.id for one in dataset.rejected}) == len(dataset.rejected)
    return {one.id: one.reason for one in dataset.rejected}


# MSED ----------------------------------------------------------------------------------------------------------------

MSED = {
    "train": [
        ('Portrait, "laughing"', "A woman, laughing", "positive", "happiness", "none"),
        ("Same words", "Same words", "negative", "sad", "romance"),
        ("A title", "  ", "Neutral", "neutral", "social-contact"),
        ("NA", "null", "mixed", "anger", "vengeance"),
        ("=cmd()", "<b>x</b>", "negative", "disgust", "wealth"),
    ],
    "val": [("Same words", "Same words", "negative", "fear", "tranquility")],
    "test": [("One", "Two", "positive", "happiness", "family")],
}


def test_msed(tmp_path: Path) -> None:
    dataset = open_dataset("msed", sets.msed(tmp_path, MSED.__getitem__))
    assert told(dataset) == [
        ("train-1", "train/images/1.jpg", 'Portrait, "laughing" A woman, laughing', "positive", "train"),
        ("train-2", "train/images/2.jpg", "Same words", "negative", "train"),
        ("train-3", "train/images/3.jpg", "A title ", "neutral", "train"),
        ("train-5", "train/images/5.jpg", "=cmd() <b>x</b>", "negative", "train"),
        ("dev-1", "dev/images/1.jpg", "Same words", "negative", "val"),
        ("test-1", "test/images/1.jpg", "One Two", "positive", "test"),
    ]
    assert (dataset.name, dataset.classes) == ("msed", ("positive", "neutral", "negative"))
    assert reasons(dataset) == {
        "train-4": "train/train.csv, line 5: unknown label 'mixed'; known are positive, neutral, negative"
    }
    assert dataset.unknown == {"mixed": 1}


def test_another_column_of_msed(tmp_path: Path) -> None:
    sets.msed(tmp_path, MSED.__getitem__)
    emotion = open_dataset("msed", tmp_path, columns={"label": "Emotion"})
    assert [one.label for one in emotion.entries] == ["happiness", "sad", "neutral", "anger", "disgust", "fear",
                                                      "happiness"]  # fmt: skip
    assert emotion.classes == ("anger", "disgust", "fear", "happiness", "neutral", "sad")
    desire = open_dataset("msed", tmp_path, columns={"label": "Desire"})
    assert desire.unknown == {"wealth": 1}
    own = open_dataset("msed", tmp_path, columns={"label": "Desire"}, classes=["wealth", "none"])
    assert [(one.id, one.label) for one in own.entries] == [("train-1", "none"), ("train-5", "wealth")]
    assert own.classes == ("wealth", "none")
    for wrong in ({"label": "Inference Sequence"}, {"text": "Title"}, {"label": "Emotion", "id": "x"}):
        with pytest.raises(ValueError, match=r"msed takes label=Sentiment or label=Emotion or label=Desire, got"):
            open_dataset("msed", tmp_path, columns=wrong)


def test_targets_of_msed(tmp_path: Path) -> None:
    """All columns, whichever is the label; a value that is none of a further target's classes costs no pair."""
    dataset = open_dataset("msed", sets.msed(tmp_path, MSED.__getitem__))
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sad")
    desires = ("curiosity", "family", "none", "romance", "social-contact", "tranquility", "vengeance")
    assert dataset.all_targets == [
        Target(classes=LABELS),
        Target("sentiment", classes=LABELS),
        Target("emotion", classes=emotions),
        Target("desire", classes=desires),
    ]
    assert {one.id: one.targets for one in dataset.entries} == {
        "train-1": {"sentiment": "positive", "emotion": "happiness", "desire": "none"},
        "train-2": {"sentiment": "negative", "emotion": "sad", "desire": "romance"},
        "train-3": {"sentiment": "neutral", "emotion": "neutral", "desire": "social-contact"},
        "train-5": {"sentiment": "negative", "emotion": "disgust"},
        "dev-1": {"sentiment": "negative", "emotion": "fear", "desire": "tranquility"},
        "test-1": {"sentiment": "positive", "emotion": "happiness", "desire": "family"},
    }
    assert dataset.strange == {"desire 'wealth'": 1}
    assert label_lines(dataset)[-1] == "without a value of a target, none of its classes: desire 'wealth' (1)"
    emotion = open_dataset("msed", tmp_path, columns={"label": "Emotion"}, classes=["sad", "happiness"])
    assert emotion.all_targets[0].classes == ("sad", "happiness")
    assert emotion.targets == dataset.targets
    assert emotion.entries[0].targets == dataset.entries[0].targets


def test_a_column_that_is_missing_is_no_target_of_a_row(tmp_path: Path) -> None:
    sets.msed(tmp_path, MSED.__getitem__)
    for path in tmp_path.rglob("*.csv"):
        path.write_text(path.read_text(encoding="utf-8").replace("Desire", "Wish"), encoding="utf-8")
    dataset = open_dataset("msed", tmp_path)
    assert len(dataset.entries) == 6
    assert dataset.entries[0].targets == {"sentiment": "positive", "emotion": "happiness"}


def test_rows_of_msed_number_its_images(tmp_path: Path) -> None:
    """A malformed row keeps its number; one that swallowed others would shift the numbers of all that follow."""
    sets.msed(tmp_path, MSED.__getitem__)
    path = tmp_path / "train" / "train.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:2], "one,cell,too,few,here\n", *lines[3:]]), encoding="utf-8")
    dataset = open_dataset("msed", tmp_path)
    assert [one.id for one in dataset.entries][:3] == ["train-1", "train-3", "train-5"]
    assert reasons(dataset)["train/train.csv, line 3"] == (
        "train/train.csv, line 3: malformed: 5 cells in a table of 6 columns"
    )
    path.write_text("".join([*lines[:2], '"open,a,b,c,d,e\nnext",a,b,c,d,e\n', *lines[3:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"train.csv, lines 3-4: one row over several lines(.|\n)*numbers the images"):
        open_dataset("msed", tmp_path)


# HFM and MMSD2.0 -----------------------------------------------------------------------------------------------------

HFM = {
    "train": [
        "['910308516510011393', 'most # funny quotes : 21 # humor ... <url> …', 1]",
        "['725333760762363905', \"it 's  a day <user> \", 1]",
        "['725333760762363905', 'twice', 0]",
        "['840006160660983809', 'humorous and ironically fine', 0]",
        "['1', 'other', 2]",
        "['2', ['nested'], 1]",
        "['../../etc', 'out', 1]",
        "['3', 'no label']",
    ],
    "val": ["['915657464401580032', 'whew ... emoji_92', 1, 0]"],
    "test": ["['862902619928506372', 'i am guessing', 0, 1]", "['863', 'so much irony', 1, 1]"],
}


def test_hfm(tmp_path: Path) -> None:
    dataset = open_dataset("hfm", sets.hfm(tmp_path, HFM))
    assert told(dataset) == [
        ("725333760762363905", "dataset_image/725333760762363905.jpg", "it 's  a day <user> ", "sarcastic", "train"),
        ("840006160660983809", "dataset_image/840006160660983809.jpg", "humorous and ironically fine", "non-sarcastic",
         "train"),
        ("915657464401580032", "dataset_image/915657464401580032.jpg", "whew ... emoji_92", "non-sarcastic", "val"),
        ("862902619928506372", "dataset_image/862902619928506372.jpg", "i am guessing", "sarcastic", "test"),
    ]  # fmt: skip
    assert dataset.dropped == {"a word such as sarcasm or <url>, whose posts the authors leave out": 2}
    found = reasons(dataset)
    assert found == {
        "text/train.txt, line 3": "text/train.txt, line 3: id 725333760762363905 is on an earlier row too",
        "1": "text/train.txt, line 5: unknown label '2'; known are non-sarcastic, sarcastic",
        "text/train.txt, line 6": "text/train.txt, line 6: not one flat list of plain values such as ['7', 'a text', "
        "1]: \"['2', ['nested'], 1]\"",
        "../../etc": found["../../etc"],
        "text/train.txt, line 8": "text/train.txt, line 8: 2 values instead of 3: id, text, label",
    }
    assert found["../../etc"].endswith("leads nowhere in the data set's folder")
    assert len(dataset.entries) + len(dataset.rejected) + sum(dataset.dropped.values()) == 11  # every row


def test_images_of_hfm_beside_those_of_mmsd2(tmp_path: Path) -> None:
    sets.hfm(tmp_path, HFM)
    (tmp_path / "data").mkdir()
    (tmp_path / "dataset_image").rename(tmp_path / "data" / "dataset_image")
    assert open_dataset("hfm", tmp_path).entries[0].image.parent == tmp_path / "data" / "dataset_image"


def test_mmsd2(tmp_path: Path) -> None:
    items: dict[str, Any] = {
        "train": [
            {"image_id": 840006160660983809, "text": "<user> thanks", "label": 1},
            {"image_id": "x7", "text": "haha …", "label": 0},
            {"image_id": True, "text": "a", "label": 0},
            {"image_id": 8, "text": None, "label": 0},
            {"image_id": 9, "text": "\ud800", "label": 0},
            {"image_id": 10, "label": 0},
            {"image_id": 11, "text": "a", "label": "sarcastic?"},
            [12, "a", 0],
        ],
        "val": [{"image_id": 1, "text": "NA", "label": 1}],
        "test": [{"image_id": 2, "text": "null", "label": 0}, {"image_id": 1, "text": "again", "label": 0}],
    }
    dataset = open_dataset("mmsd2", sets.mmsd2(tmp_path, items))
    images = "data/dataset_image"
    assert told(dataset) == [
        ("840006160660983809", f"{images}/840006160660983809.jpg", "<user> thanks", "sarcastic", "train"),
        ("x7", f"{images}/x7.jpg", "haha …", "non-sarcastic", "train"),
        ("1", f"{images}/1.jpg", "NA", "sarcastic", "val"),
        ("2", f"{images}/2.jpg", "null", "non-sarcastic", "test"),
    ]
    train, test = "data/text_json_final/train.json", "data/text_json_final/test.json"
    assert [one.reason for one in dataset.rejected] == [
        f"{train}, item 3: image_id is of type bool, not text",
        f"{train}, item 4: text is of type NoneType, not text",
        f"{train}, item 5: text is not UTF-8",
        f"{train}, item 6: no text",
        f"{train}, item 7: unknown label 'sarcastic?'; known are non-sarcastic, sarcastic",
        f"{train}, item 8: a JSON object is expected, this is list",
        f"{test}, item 2: id 1 is on an earlier row too",
    ]


# TumEmo --------------------------------------------------------------------------------------------------------------


def tumblr(id: str, label: str = "fear", **more: object) -> dict[str, object]:
    image = f"data/image_data/val_image/{id}.jpg"
    return {"id": id, "text": f"post {id}", "image": image, "label": label, "places": [219], "objects": [48], **more}


def test_tumemo(tmp_path: Path) -> None:
    lines: dict[str, list[object]] = {
        "train": [tumblr("1", "angry"), '{"id": "2", ', tumblr("3", "joy"), tumblr("4", image="/etc/passwd")],
        "val": [tumblr("82578"), tumblr("6", image="../out.jpg"), tumblr("7", image="a/../../b.jpg")],
        "test": [tumblr("8", "sad", image="a/../b.jpg"), tumblr("9", "love")],
    }
    dataset = open_dataset("tumemo", sets.tumemo(tmp_path, lines))
    assert told(dataset) == [
        ("1", "data/image_data/val_image/1.jpg", "post 1", "angry", "train"),
        ("82578", "data/image_data/val_image/82578.jpg", "post 82578", "fear", "val"),
        ("9", "data/image_data/val_image/9.jpg", "post 9", "love", "test"),
    ]
    assert dataset.classes == ("angry", "bored", "calm", "fear", "happy", "love", "sad")
    assert list(reasons(dataset)) == ["data/all_anno_json/train_all_anno.json, line 2", "3", "4", "6", "7", "8"]


# Twitter-15 and Twitter-17 -------------------------------------------------------------------------------------------

TWITTER = {
    "train": [
        "1\t2\t1860693.jpg\tRT @ user : $T$ is everything # MCM\tChuck Bass",
        "2\t1\t1860693.jpg\tRT @ user : Chuck Bass is everything $T$\t# MCM",
        '3\t0\t16_05_02_82.jpg\t" $T$ , they say\tA & B',
        "4\t1\t16_05_02_82.jpg\tno place for it\tA",
        "5\t1\t16_05_02_82.jpg\t$T$ alone\t ",
        "6\t3\t16_05_02_82.jpg\t$T$ here\tA",
        "7\t1\t16_05_02_82.jpg\tfour cells",
    ],
    "val": ["1\t1\t16_05_02_82.jpg\t$T$ here\tA"],
    "test": ["1\t2\t../x.jpg\t$T$ here\tA", "2\t2\t5.jpg\t$T$ and $T$\tB"],
}


@pytest.mark.parametrize(
    ("aspect", "texts"),
    [
        (None, ["RT @ user : $T$ is everything # MCM [SEP] Chuck Bass",
                "RT @ user : Chuck Bass is everything $T$ [SEP] # MCM", '" $T$ , they say [SEP] A & B',
                "$T$ here [SEP] A", "$T$ and $T$ [SEP] B"]),
        ("insert", ["RT @ user : Chuck Bass is everything # MCM"] * 2 + ['" A & B , they say', "A here", "B and B"]),
        ("keep", ["RT @ user : $T$ is everything # MCM", "RT @ user : Chuck Bass is everything $T$",
                  '" $T$ , they say', "$T$ here", "$T$ and $T$"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "folder", "images"),
    [
        ("twitter-2015", "absa_data/twitter2015", "twitter2015_images"),
        ("twitter-2015", "twitter2015", "twitter15_images"),
        ("twitter-2017", "absa_data/twitter", "twitter_subimages"),
        ("twitter-2017", "twitter2017", "twitter2017_images"),
    ],
)
def test_twitter(tmp_path: Path, kind: str, folder: str, images: str, aspect: str | None, texts: list[str]) -> None:
    """A number counts an image's rows through all parts, for one of Twitter-17 is in two; bad rows count too."""
    (tmp_path / images).mkdir()
    dataset = open_dataset(kind, sets.twitter(tmp_path, TWITTER, folder), aspect=aspect)
    assert told(dataset) == [
        ("1860693-1", f"{images}/1860693.jpg", texts[0], "positive", "train"),
        ("1860693-2", f"{images}/1860693.jpg", texts[1], "neutral", "train"),
        ("16_05_02_82-1", f"{images}/16_05_02_82.jpg", texts[2], "negative", "train"),
        ("16_05_02_82-5", f"{images}/16_05_02_82.jpg", texts[3], "neutral", "val"),
        ("5-1", f"{images}/5.jpg", texts[4], "positive", "test"),
    ]
    assert dataset.classes == ("positive", "neutral", "negative")
    assert [one.reason.partition(": ")[2] for one in dataset.rejected] == [
        "no $T$ in the text",
        "no aspect",
        "unknown label '3'; known are positive, neutral, negative",
        "4 values instead of 5: index, label, image, text, aspect",
        f"the image path '{images}/../x.jpg' leads nowhere in the data set's folder",
    ]


# Memotion ------------------------------------------------------------------------------------------------------------

MEMOTION = [
    ("image_1.jpg", "LOOK\nTHERE ", "Look\nthere", "hilarious", "general", "not_offensive", "not_motivational",
     "very_positive"),
    ("image_2.jpeg", "only ocr", "", "not_funny", "not_sarcastic", "slight", "motivational", "negative"),
    ("image_3.JPG", "x", '<html><head> "a"', "funny", "very_twisted", "slight", "motivational", "very_negative"),
    ("image_4.png", "x", "y", "funny", "very_twisted", "slight", "motivational", "fine"),
]  # fmt: skip


def test_memotion(tmp_path: Path) -> None:
    dataset = open_dataset("memotion", sets.memotion(tmp_path, MEMOTION))
    assert told(dataset) == [
        ("image_1.jpg", "images/image_1.jpg", "Look\nthere", "very_positive", None),
        ("image_2.jpeg", "images/image_2.jpeg", "only ocr", "negative", None),
        ("image_3.JPG", "images/image_3.JPG", '<html><head> "a"', "very_negative", None),
    ]
    assert dataset.classes == ("very_negative", "negative", "neutral", "positive", "very_positive")
    assert dataset.unknown == {"fine": 1}
    assert reasons(dataset)["image_4.png"].startswith("labels.csv, line 7: unknown label 'fine'")
    humour = open_dataset("memotion", tmp_path, columns={"label": "humour"})
    assert [one.label for one in humour.entries] == ["hilarious", "not_funny", "funny", "funny"]
    assert humour.classes == ("not_funny", "funny", "very_funny", "hilarious")
    names = ["sentiment", "humour", "sarcasm", "offensive", "motivational"]
    for one, label in ((dataset, "very_negative"), (humour, "not_funny")):
        assert [(target.name, target.kind) for target in one.all_targets] == [
            (name, "ordered") for name in ("label", *names)
        ]
        assert (one.all_targets[0].classes[0], one.all_targets[1].classes[-1]) == (label, "very_positive")
        assert one.entries[1].targets == dict(
            zip(names, ("negative", "not_funny", "not_sarcastic", "slight", "motivational"), strict=True)
        )
    assert humour.entries[3].targets["humour"] == "funny"
    assert "sentiment" not in humour.entries[3].targets
    assert humour.strange == {"sentiment 'fine'": 1}


# All of them ---------------------------------------------------------------------------------------------------------


def small(kind: str, root: Path) -> Path:
    """Write a small folder of a data set."""
    makers: dict[str, Callable[[], Path]] = {
        "msed": lambda: sets.msed(root, MSED.__getitem__),
        "hfm": lambda: sets.hfm(root, HFM),
        "mmsd2": lambda: sets.mmsd2(root, {part: [{"image_id": n, "text": "a", "label": 0}]
                                           for part, n in BY_PART.items()}),
        "tumemo": lambda: sets.tumemo(root, {part: [tumblr(str(n))] for part, n in BY_PART.items()}),
        "twitter-2015": lambda: sets.twitter(root, TWITTER),
        "twitter-2017": lambda: sets.twitter(root, TWITTER, "twitter2017"),
        "memotion": lambda: sets.memotion(root, MEMOTION),
    }  # fmt: skip
    return makers[kind]()


KINDS = [kind for kind in DATASETS if kind != "folder" and not kind.startswith("mvsa")]


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_lies(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_DATA", raising=False)
    with pytest.raises(DataError, match=rf"the folder of {kind} is not known(.|\n)*https://") as error:
        open_dataset(kind)
    assert f"(or put it at $ITIN_DATA/{kind})" in str(error.value)
    root = small(kind, tmp_path / kind)
    monkeypatch.setenv("ITIN_DATA", str(tmp_path))
    dataset = open_dataset(kind)
    assert (dataset.root, dataset.name) == (root, kind)
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=rf"is not the folder of {kind}(.|\n)*an empty folder"):
        open_dataset(kind, tmp_path / "other")
    with pytest.raises(DataError, match=rf"use --root '{root}'"):
        open_dataset(kind, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_source_and_options_open_it_again(kind: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"name": "mine"}
    if "aspect" in DATASETS[kind].options:
        more["aspect"] = "keep"
    if kind == "msed":
        more |= {"columns": {"label": "Emotion"}, "classes": ["sad", "happiness"]}
    dataset = open_dataset(kind, small(kind, tmp_path), **more)
    assert open_dataset(**json.loads(json.dumps(dataset.source))) == dataset
    words = options_of({"source": dataset.source})
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given.pop("--name") == "mine"
    assert given.pop("--aspect", None) == more.get("aspect")
    assert given.pop("--columns", None) == ("label=Emotion" if kind == "msed" else None)
    assert given.pop("--classes", None) == ("sad,happiness" if kind == "msed" else None)
    assert given == {"--dataset": kind, "--root": str(tmp_path)}


def first_file(kind: str, root: Path) -> Path:
    names = ("train.csv", "train.txt", "train.json", "train_all_anno.json", "train.tsv", "labels.csv")
    return next(path for path in sorted(root.rglob("*")) if path.name in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("content", "message"), [(b"", "has no rows|cannot be read"), (b"\0\xff{[ \n{\n", "")])
def test_damaged_annotations(kind: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = first_file(kind, small(kind, tmp_path))
    path.write_bytes(content)
    try:
        dataset = open_dataset(kind, tmp_path)
    except DataError as error:
        assert str(path.name) in str(error)  # noqa: PT017
    else:
        assert not message
        assert dataset.rejected


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memotion"])
def test_a_missing_part(kind: str, tmp_path: Path) -> None:
    path = first_file(kind, small(kind, tmp_path))
    other = next(one for one in sorted(tmp_path.rglob("*")) if one.is_file() and "test" in one.name)
    assert other != path
    other.unlink()
    with pytest.raises(DataError, match=rf"{other.name} is missing"):
        open_dataset(kind, tmp_path)


def test_no_row_can_be_used(tmp_path: Path) -> None:
    root = sets.memotion(tmp_path, [])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image_name", "text"], ["a.jpg", "b"], ["c.jpg", "d"]])
    with pytest.raises(DataError, match=r"no row of labels.csv in (.|\n)*2 bad rows; labels.csv, line 2: no text_corr"):
        open_dataset("memotion", root)


def test_parts_and_missing_images_in_the_table(tmp_path: Path) -> None:
    """The part of each sample stands in the table; a part that changes makes a table of before an old one."""
    root = sets.msed(tmp_path / "msed", MSED.__getitem__)
    (root / "train/images/2.jpg").unlink()
    dataset, folder = open_config(ExtractConfig(dataset="msed", root=root, cache=tmp_path / "cache"))
    survey(dataset, folder, 1, lambda done: None)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["part"], row["label"]) for row in rows] == [
        ("train-1", "train", "positive"),
        ("train-3", "train", "neutral"),
        ("train-5", "train", "negative"),
        ("dev-1", "val", "negative"),
        ("test-1", "test", "positive"),
    ]
    rejected = [json.loads(line) for line in (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rejected] == ["train-4", "train-2"]
    assert "image file is missing" in rejected[1]["reason"]
    assert last_survey(dataset, folder) is not None
    text = (folder / "samples.jsonl").read_text(encoding="utf-8").replace('"part": "val"', '"part": "test"')
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    assert last_survey(dataset, folder) is None


def test_mvsa_has_no_parts_in_its_table(tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    root = draw_mvsa(tmp_path / "mvsa", 3)
    dataset, folder = open_config(ExtractConfig(dataset="mvsa-single", root=root, cache=tmp_path / "cache"))
    survey(dataset, folder, 1, lambda done: None)
    assert '"part"' not in (folder / "samples.jsonl").read_text(encoding="utf-8")
