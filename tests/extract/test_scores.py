"""The column of scores of a table of one's own: strict numbers, their range and what of it stands; ordered classes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itin.cache import read_table
from itin.cache.table import options_of
from itin.commands.extract import label_lines
from itin.errors import DataError
from itin.extract.config import ExtractConfig
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import DataSet
from itin.extract.data.sets.scores import number, parse_range
from itin.extract.data.survey import last_survey, open_config, survey
from itin.targets import Target, cells_of, targets_of


def write(root: Path, columns: str, *rows: str) -> Path:
    """Write a folder with a picture and a row for each line of further cells."""
    root.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(root / "a.png")
    lines = [f"id,image,text,{columns}", *(f"{n},a.png,a day,{row}" for n, row in enumerate(rows))]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    return root


def scores(dataset: DataSet) -> dict[str, Any]:
    return {entry.id: entry.targets.get("score") for entry in dataset.entries}


def reasons(dataset: DataSet) -> dict[str, str]:
    return {row.id: row.reason.partition(": ")[2] for row in dataset.rejected}


def extracted(root: Path, **options: Any) -> DataSet:
    """Write the data set's table into the cache as `itin extract` does, and return the data set."""
    dataset, folder = open_config(ExtractConfig(dataset="folder", root=root, name="d", cache=root / "cache", **options))
    return survey(dataset, folder, 1, lambda done: None).dataset


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1", 1.0), (" -0.25 ", -0.25), ("+.5", 0.5), ("3.", 3.0), ("1e-3", 0.001), (2, 2.0), (-1.5, -1.5), ("", None),
     ("  ", None), (None, None)],
)  # fmt: skip
def test_numbers(cell: Any, value: float | None) -> None:
    assert number(cell) == value


@pytest.mark.parametrize(
    "cell",
    [
        "x",
        "nan",
        "-inf",
        "Infinity",
        "1e999",
        "1_000",
        "1 2",
        "0x1",
        "١",
        "1,5,5",
        True,
        [1],
        math.nan,
        math.inf,
        10**400,
    ],
)
def test_no_numbers(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a finite number$"):
        number(cell)


def test_a_decimal_comma_is_named() -> None:
    with pytest.raises(ValueError, match=r"the score '1,5' is not a finite number: write 1\.5$"):
        number("1,5")


@pytest.mark.parametrize("text", ["1", "1,1", "2,1", "a,b", "0,1,2", "nan,1", "", "0,"])
def test_wrong_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="score_range: expected two numbers"):
        ExtractConfig(dataset="folder", score_range=text)
    assert parse_range(" -1, 0.5") == (-1.0, 0.5)


def test_a_column_of_scores_is_taken_by_itself(tmp_path: Path) -> None:
    root = write(tmp_path, "label,score", "a,0.5", "b,-2", "a,", ",3", 'b,"1,5"', "b,much")
    dataset = open_dataset("folder", root)
    assert dataset.targets == (Target("score", "number", span=(-2.0, 3.0)),)
    assert [target.name for target in dataset.all_targets] == ["label", "score"]
    assert scores(dataset) == {"0": 0.5, "1": -2.0, "2": None, "3": 3.0}
    assert [entry.label for entry in dataset.entries] == ["a", "b", "a", None]
    assert reasons(dataset) == {
        "4": "the score '1,5' is not a finite number: write 1.5", "5": "the score 'much' is not a finite number",
    }  # fmt: skip


@pytest.mark.parametrize("cells", [("high", "low"), ("", ""), ("3", "3")])
def test_another_column_of_that_name_is_left_alone(tmp_path: Path, cells: tuple[str, str]) -> None:
    dataset = open_dataset("folder", write(tmp_path, "label,score", *(f"a,{cell}" for cell in cells)))
    assert (dataset.targets, dataset.rejected, scores(dataset)) == ((), [], {"0": None, "1": None})
    with pytest.raises(DataError, match=r"the column 'score' of .*t.csv has no range\n(.|\n)*--score-range LO,HI"):
        open_dataset("folder", tmp_path, columns={"score": "score"})


def test_a_column_that_is_something_else_is_no_score(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write(tmp_path, "score", "1", "5", "n/a", "n/a"), columns={"label": "score"})
    assert (dataset.classes, dataset.targets) == (("n/a",), ())


def test_a_range_that_is_given(tmp_path: Path) -> None:
    root = write(tmp_path, "mood", "0.5", "-2", "1", "-1.0001")
    dataset = open_dataset("folder", root, columns={"score": "mood"}, score_range=(-1, 1))
    assert scores(dataset) == {"0": 0.5, "2": 1.0}
    assert reasons(dataset) == {
        id: f"the score {value} is outside of the range -1 to 1 (--score-range LO,HI sets another)"
        for id, value in (("1", "-2"), ("3", "-1.0001"))
    }
    assert [target.to_dict() for target in dataset.all_targets] == [
        {"name": "score", "kind": "number", "span": [-1.0, 1.0]}
    ]
    assert dataset.source["score_range"] == [-1.0, 1.0]
    source = json.loads(json.dumps(dataset.source))
    assert open_dataset(**source) == dataset
    assert options_of({"source": source})[-4:] == ["--columns", "score=mood", "--score-range", "-1.0,1.0"]
    with pytest.raises(DataError, match=r"t.csv has no column 'score'"):
        open_dataset("folder", root, score_range=(-1, 1))
    with pytest.raises(DataError, match=r"no row of .* can be used"):
        open_dataset("folder", root, columns={"score": "mood"}, score_range=(5, 6))


def test_the_range_stands_when_the_table_grows(tmp_path: Path) -> None:
    root = write(tmp_path, "score", "0", "10")
    first = extracted(root)
    assert first.targets[0].span == (0.0, 10.0)
    table = read_table(root / "cache" / "d")
    assert (table.dataset["classes"], table.dataset["labelled"]) == ([], 0)
    assert targets_of(table.dataset) == {"score": first.targets[0]}
    assert cells_of(table.samples, "score") == [0.0, 10.0]
    assert "score_range" not in first.source
    write(root, "score", "0", "10", "11", "5")
    grown = extracted(root)
    assert grown.targets == first.targets
    assert list(reasons(grown)) == ["2"]
    wider = extracted(root, score_range="0,20")
    assert (scores(wider)["2"], wider.targets[0].span) == (11.0, (0.0, 20.0))
    again = extracted(root)  # what was given stays
    assert again == wider
    dataset, folder = open_config(ExtractConfig(dataset="folder", root=root, name="d", cache=root / "cache"))
    seen = last_survey(dataset, folder)
    assert seen is not None
    assert [sample.targets for sample in seen.scan.samples] == [{"score": value} for value in (0.0, 10.0, 11.0, 5.0)]
    write(root, "score", "0", "10", "12", "5")
    dataset, folder = open_config(ExtractConfig(dataset="folder", root=root, name="d", cache=root / "cache"))
    assert last_survey(dataset, folder) is None  # a score has changed
    (root / "t.csv").write_text("id,image,text,mood\n1,a.png,x,3\n2,a.png,x,4\n")
    assert extracted(root, columns={"score": "mood"}).targets[0].span == (3.0, 4.0)


def test_ordered_classes(tmp_path: Path) -> None:
    root = write(tmp_path, "label", "low", "mid", "high", "mid", "low", "high")
    named = extracted(root, classes="low,mid,high", ordered=True)
    assert named.all_targets == [Target("label", "ordered", ("low", "mid", "high"))]
    assert named.all_targets[0].outputs == 2
    record = read_table(root / "cache" / "d").dataset
    assert targets_of(record)["label"].kind == "ordered"
    assert options_of(record)[-3:] == ["--classes", "low,mid,high", "--ordered"]
    assert label_lines(named) == ["3 classes from the least to the greatest: low, mid, high"]
    assert extracted(root) == named  # what was said stays, the classes too
    plain = extracted(root, ordered=False)
    assert plain.all_targets == [Target(classes=("low", "mid", "high"))]
    assert extracted(root) == plain
    assert extracted(root, ordered=True, min_class_size=1).classes == ("low", "mid", "high")
    assert open_dataset("folder", root, ordered=True).all_targets[0].classes == ("high", "low", "mid")
    with pytest.raises(DataError, match=r"t.csv has no classes to be ordered\n(.|\n)*--columns label=NAME"):
        open_dataset("folder", write(tmp_path, "other", "x"), ordered=True)
    with pytest.raises(ValueError, match="ordered: an option of folder, not of the data set 'msed'"):
        open_dataset("msed", root, ordered=True)
