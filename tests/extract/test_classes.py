"""Which labels of a table are classes, in which order, what becomes of the others; and what stands as it grows."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itin.cache import read_table
from itin.cache.table import options_of
from itin.commands.extract import label_lines
from itin.errors import DataError
from itin.extract.config import ExtractConfig
from itin.extract.data.classes import Labelling, decide, parse_classes
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import DataSet
from itin.extract.data.survey import last_survey, open_config, survey

ODD = ["=cmd()", "a|b", "<b>", "two words", "радость", "007", "7", 'a "quoted", one', "$x_1 & 100%", "👩‍🚀"]


def write(root: Path, *labels: object) -> Path:
    """Write a folder with a picture and a row for each label."""
    root.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(root / "a.png")
    with (root / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["id", "image", "text", "label"], *([n, "a.png", "a day", one] for n, one in enumerate(labels))]
        )
    return root


def labels(dataset: DataSet) -> list[str | None]:
    return [entry.label for entry in dataset.entries]


def extracted(root: Path, **options: Any) -> DataSet:
    """Write the data set's table into the cache as `itin extract` does, and return the data set."""
    dataset, folder = open_config(ExtractConfig(dataset="folder", root=root, name="d", cache=root / "cache", **options))
    return survey(dataset, folder, 1, lambda done: None).dataset


def test_all_labels_are_classes_by_name_and_stand_as_they_are(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write(tmp_path, *ODD, *ODD, "", "  ", f" {ODD[0]} "))
    assert dataset.classes == tuple(sorted(ODD))
    assert labels(dataset) == [*ODD, *ODD, None, None, ODD[0]]
    assert (dataset.rejected, dataset.rare, dataset.unknown) == ([], {}, {})


def test_case_tells_classes_apart_but_for_the_sentiments(tmp_path: Path) -> None:
    assert open_dataset("folder", write(tmp_path, "Joy", "joy", "Joy", "joy")).classes == ("Joy", "joy")
    dataset = open_dataset("folder", write(tmp_path, "Negative", "POSITIVE", "negative"))
    assert dataset.classes == ("positive", "neutral", "negative")  # all three, in their order, as always
    assert labels(dataset) == ["negative", "positive", "negative"]
    dataset = open_dataset("folder", write(tmp_path, "Positive", "joy", "joy", "Positive", "positive"))
    assert (dataset.classes, dataset.rare) == (("Positive", "joy"), {"positive": 1})


@pytest.mark.parametrize(
    ("counts", "named", "least", "classes", "rare"),
    [
        ({"b": 3, "a": 2, "typo": 1}, (), None, ("a", "b"), {"typo": 1}),
        ({"b": 3, "a": 2, "typo": 1}, (), 1, ("a", "b", "typo"), {}),
        ({"b": 3, "a": 2, "typo": 1}, (), 3, ("b",), {"a": 2, "typo": 1}),
        ({"b": 3, "a": 2, "typo": 1}, ("b", "c", "a"), None, ("b", "c", "a"), {}),
        ({"b": 3, "a": 2, "typo": 1}, ("b", "c", "a"), 3, ("b",), {"a": 2}),
        ({"positive": 9, "Neutral": 1, "typo": 1}, (), None, ("positive", "neutral", "negative"), {}),
        ({"positive": 9, "neutral": 1, "joy": 2}, (), None, ("joy", "positive"), {"neutral": 1}),
        ({"Positive": 2, "positive": 2, "neutral": 3}, (), 4, ("positive",), {"neutral": 3}),
        ({"NEGATIVE": 1}, ("negative", "positive"), None, ("negative", "positive"), {}),
        ({}, (), None, (), {}),
    ],
)
def test_what_is_a_class(
    counts: dict[str, int], named: tuple[str, ...], least: int | None, classes: tuple[str, ...], rare: dict[str, int]
) -> None:
    assert decide(Counter(counts), named, least) == Labelling(classes, rare)


def test_labels_that_are_none_of_the_named_classes_are_rejected(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write(tmp_path, "b", "a", "c", "B", "c"), classes=["b", "a"])
    assert (dataset.classes, labels(dataset)) == (("b", "a"), ["b", "a"])
    assert [(row.id, row.reason) for row in dataset.rejected] == [
        ("2", "t.csv, line 4: unknown label 'c'; known are b, a"),
        ("3", "t.csv, line 5: unknown label 'B'; known are b, a"),
        ("4", "t.csv, line 6: unknown label 'c'; known are b, a"),
    ]
    assert dataset.unknown == {"B": 1, "c": 2}


def test_labels_of_json_and_labels_that_cannot_be(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    values = [0, 1, "1", 0, True, True, None, "x\x1b[31m", "x\ny", "y" * 201, ["z"], 1.5]
    rows = [{"id": n, "image": "a.png", "text": "a day", "label": value} for n, value in enumerate(values)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = open_dataset("folder", tmp_path)
    assert dataset.classes == ("0", "1", "true")
    assert labels(dataset) == ["0", "1", "1", "0", "true", "true", None]
    reasons = [row.reason.partition(": ")[2] for row in dataset.rejected]
    assert reasons[:2] == [
        f"the label {one!a} holds characters that cannot be printed" for one in ("x\x1b[31m", "x\ny")
    ]
    assert reasons[2].endswith("is longer than 200 characters")
    assert reasons[3:] == ["label is of type list, not text", "label is of type float, not text"]


def test_a_column_of_texts_is_no_column_of_labels(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(1001)] * 2
    with pytest.raises(
        DataError, match=r"t.csv has too many different labels\n(.|\n)*1001: text 0, text 1, text 10 and"
    ):
        open_dataset("folder", write(tmp_path, *texts))
    assert len(open_dataset("folder", tmp_path, classes=["text 1", "text 2"]).entries) == 4


def test_classes_stand_when_the_table_grows(tmp_path: Path) -> None:
    """Later rows change neither the classes nor their order: old runs stay valid. Options decide anew."""
    root = write(tmp_path, "b", "b", "d", "d", "typo")
    first = extracted(root)
    assert (first.classes, first.rare) == (("b", "d"), {"typo": 1})
    table = read_table(root / "cache" / "d")
    assert (table.dataset["classes"], table.dataset["rare"]) == (["b", "d"], {"typo": 1})
    assert table.dataset["source"] == {
        "kind": "folder", "root": str(root), "name": "d", "table": str(root / "t.csv"), "columns": None,
        "allow_outside": False, "encoding": None,
    }  # fmt: skip
    write(root, "b", "b", "d", "d", "typo", "a", "a", "typo")
    grown = extracted(root)
    assert (grown.classes, grown.rare, grown.unknown) == (("b", "d"), {"typo": 2}, {"a": 2})
    assert labels(grown) == ["b", "b", "d", "d", None, None]
    assert label_lines(grown) == [
        "2 classes: b, d",
        "left unlabelled, too few rows of a label: 'typo' (2)",
        "in quarantine, labels that are no classes: 'a' (2)",
        "--classes NAME,... says which labels are classes; runs on other classes must be trained again",
    ]
    named = extracted(root, classes="a,b,d")
    assert (named.classes, named.unknown) == (("a", "b", "d"), {"typo": 2})
    assert extracted(root).classes == ("a", "b", "d")  # what was given stays
    assert options_of(read_table(root / "cache" / "d").dataset)[-2:] == ["--classes", "a,b,d"]
    dataset, folder = open_config(ExtractConfig(dataset="folder", root=root, name="d", cache=root / "cache"))
    assert last_survey(dataset, folder) is not None  # parts of an extraction take the table as it is
    smaller = extracted(root, min_class_size=3)
    assert (smaller.classes, smaller.rare) == ((), {"a": 2, "b": 2, "d": 2})
    again = extracted(root, classes="d,b", min_class_size=1)
    assert again.classes == ("d", "b")
    source: dict[str, Any] = dict(again.source)
    assert open_dataset(**source).classes == ("d", "b")


def test_a_table_from_before_has_the_three_classes(tmp_path: Path) -> None:
    root = write(tmp_path, "positive", "negative")
    extracted(root)
    path = root / "cache" / "d" / "dataset.json"
    from itin.cache.format.sealed_json import read_json, write_json

    record = {name: value for name, value in read_json(path).items() if name not in ("classes", "checksum")}
    write_json(path, record)
    write(root, "positive", "negative", "happy", "happy")
    dataset = extracted(root)
    assert dataset.classes == ("positive", "neutral", "negative")
    assert [row.id for row in dataset.rejected] == ["2", "3"]


def test_another_column_of_labels_is_decided_anew(tmp_path: Path) -> None:
    root = write(tmp_path, "b", "b")
    assert extracted(root).classes == ("b",)
    (root / "t.csv").write_text("id,image,text,label,mood\n1,a.png,x,b,glad\n2,a.png,x,b,glad\n")
    assert extracted(root, columns={"label": "mood"}).classes == ("glad",)


@pytest.mark.parametrize("text", ["a", "a,,b", "a,b,a", "", "a, "])
def test_wrong_classes(text: str) -> None:
    with pytest.raises(ValueError, match=r"classes: expected at least two names such as joy,anger"):
        ExtractConfig(dataset="folder", classes=text)


def test_classes_with_commas() -> None:
    assert parse_classes('a, "b, c" ,d') == ["a", "b, c", "d"]


def test_mvsa_has_no_other_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"classes: an option of .*, not of the data set 'mvsa-single'"):
        open_dataset("mvsa-single", tmp_path, classes=["a", "b"])
