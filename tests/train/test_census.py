"""What a data set holds, on small tables and on the real label files; and `itin data check`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from itin.cli import main
from itin.errors import DataError
from itin.extract.data.sets.mvsa import judge, read_labels
from itin.labels import LABELS
from itin.report.paper.published import TABLE_1, TABLE_2, TABLE_3
from itin.targets import Target
from itin.train.protocols.census import census, class_balance, column_of, number_balance, sorted_parts, target_counts
from itin.train.protocols.split import ALIASES

from ..features import make_cache

P, N, M = LABELS


def table(*rows: tuple[str, str | None, str, str]) -> pd.DataFrame:
    """Rows of id, label, text, image."""
    samples = pd.DataFrame(rows, columns=["id", "label", "text", "image_sha256"])
    return samples.assign(text_sha256=samples["text"])


SAMPLES = table(
    ("a", P, "sun", "1"),
    ("b", M, "sun", "2"),
    ("c", P, "RT @x: sun", "3"),
    ("d", N, "rain", "3"),
    ("e", N, "rain", "3"),
    ("f", P, "http://t.co/1", "4"),
    ("g", P, "http://t.co/2", "5"),
    ("h", None, "sun", "1"),  # unlabelled: counts nowhere
)
PARTS_OF = {"a": "train", "b": "test", "c": "test", "d": "train", "e": "val", "f": "train", "h": "test"}


def test_duplicates_by_hand() -> None:
    found = census(SAMPLES, PARTS_OF, LABELS)
    rows = {str(row.pop("kind")): row for row in found.duplicates.to_dict("records")}
    names = ["groups", "pairs", "conflicting", "across", "val_in_train", "test_in_train", "test_in_val"]
    assert {kind: [row[name] for name in names] for kind, row in rows.items()} == {
        "equal texts": [2, 4, 1, 2, 1, 1, 0],
        "equal texts, stripped": [2, 5, 1, 2, 1, 2, 0],
        "equal images": [1, 3, 1, 1, 1, 1, 1],
        "equal text and image": [1, 2, 0, 1, 1, 0, 0],
    }
    images = found.members[found.members["kind"] == "equal images"]
    assert images[["id", "part", "label"]].to_numpy().tolist() == [["c", "test", P], ["d", "train", N], ["e", "val", N]]
    assert found._repr_html_().count("<table") == 2


def test_classes_by_hand() -> None:
    found = census(SAMPLES, PARTS_OF, LABELS).classes.set_index("part")
    assert found["n"].to_dict() == {"all": 7, "train": 3, "val": 1, "test": 2}
    assert found.loc["all", list(LABELS)].tolist() == [4, 2, 1]
    assert set(found["majority"]) == {P}  # of the training part: two positive, one neutral
    assert found["majority_accuracy"].to_dict() == {"all": 4 / 7, "train": 2 / 3, "val": 0, "test": 0.5}
    assert class_balance([M, M, P], [None] * 3, LABELS)["majority"].tolist() == [M] * 4  # no training part


def test_numbers_by_hand() -> None:
    balance = number_balance([1.0, 0.0, 0.5, -2.0], ["train", "test", "train", None])
    assert balance["part"].tolist() == ["all", "train", "val", "test"]
    assert balance["n"].tolist() == [4, 2, 0, 1]
    assert balance["mean"].tolist()[:2] == [-0.125, 0.75]
    assert balance["sd"].tolist()[:2] == [pytest.approx(np.std([1, 0, 0.5, -2])), 0.25]
    assert balance[["least", "greatest"]].to_numpy()[[0, 1, 3]].tolist() == [[-2, 1], [0.5, 1], [0, 0]]
    assert balance.iloc[2].isna().sum() == 4  # nothing in this part


def test_a_census_of_another_target() -> None:
    scores = [0.5, -1.0, 0.5, None, 1.0, 0.0, None, 1.0]
    samples = SAMPLES.assign(targets=[{} if one is None else {"score": one} for one in scores])
    found = census(samples, PARTS_OF, (), "score")
    assert found.classes["n"].tolist() == [6, 2, 1, 3]
    assert found.classes["mean"].tolist() == [2 / 6, 0.25, 1.0, pytest.approx(0.5 / 3)]
    texts = found.duplicates.set_index("kind").loc["equal texts"]
    assert texts[["groups", "pairs", "conflicting"]].tolist() == [1, 3, 1]  # a, b and h, with three values
    assert set(found.members["label"]) == {"0.5", "-1.0", "1.0"}


def test_targets_by_hand() -> None:
    samples = SAMPLES.assign(targets=[{"level": "low", "score": 1.0}, {"score": -0.5}, *[{}] * 5, {"level": "low"}])
    levels = Target("level", "ordered", ("low", "high"))
    score = Target("score", "number", span=(-1.0, 1.0))
    assert target_counts(samples, [Target(classes=LABELS), levels, score]) == [
        {"name": "label", "kind": "classes", "n": 7, "counts": {P: 4, N: 2, M: 1}},
        {"name": "level", "kind": "ordered", "n": 2, "counts": {"low": 2, "high": 0}},
        {"name": "score", "kind": "number", "n": 2, "mean": 0.25, "sd": 0.75, "least": -0.5, "greatest": 1.0},
    ]


def test_parts_that_are_sorted() -> None:
    """By hand: two classes of five each have six runs in a random order, on average."""
    labels = [*"aaaaabbbbb", *"ababababab", "c"]
    parts = [*["test"] * 10, *["train"] * 10, None]
    assert sorted_parts(parts, labels) == {"test": {"runs": 2, "expected": 6.0}}
    mixed = np.random.RandomState(0).permutation(20)
    assert sorted_parts(["test"] * 20, [labels[row] for row in mixed]) == {}
    for few in ("aabb", "aaaa", "a", ""):  # nothing that chance does not give
        assert sorted_parts(["val"] * len(few), list(few)) == {}
    drawn = [np.random.RandomState(seed).permutation(labels[:10]) for seed in range(4000)]
    assert np.mean([1 + (one[1:] != one[:-1]).sum() for one in drawn]) == pytest.approx(6.0, abs=0.1)


def test_a_table_without_digests() -> None:
    with pytest.raises(DataError, match="the column image_sha256"):
        census(SAMPLES.drop(columns="image_sha256"), {}, LABELS)


@pytest.mark.parametrize(("name", "annotators", "unreadable"), [
    ("mvsa-single", 1, ()), ("mvsa-multiple", 3, ("3910", "5995", "15324")),
])  # fmt: skip
def test_table_1_of_the_real_label_files(
    shared_data: Path, name: str, annotators: int, unreadable: tuple[str, ...]
) -> None:
    rows, _ = read_labels(shared_data / "mvsa-labels" / f"{name}.labelResultAll.txt", annotators)
    judged = {row.id: judge(row.votes)[0] for row in rows if row.id not in unreadable}
    assert Counter(filter(None, judged.values())) == TABLE_1[name]


@pytest.mark.parametrize(("name", "majority"), [("mvsa-single", 268 / 450), ("mvsa-multiple", 1131 / 1700)])
def test_the_majority_class_of_the_published_test_parts(shared_data: Path, name: str, majority: float) -> None:
    split = pd.read_csv(shared_data / "mvsa-labels" / "splits" / f"clmlf-{name}.tsv", sep="\t", dtype=str)
    found = class_balance(split["label"].tolist(), [ALIASES[part] for part in split["split"]], LABELS).set_index("part")
    assert found.loc["test", "majority_accuracy"] == pytest.approx(majority)
    assert found.loc["test", "majority"] == P
    assert found.loc["all", list(LABELS)].to_dict() == TABLE_1[name]


def test_published_figures_hang_together() -> None:
    """Table III ends with Table II's ITIN; every data set has the same rows."""
    for name, rows in TABLE_2.items():
        assert TABLE_3[name]["none"] == rows["ITIN"]
        assert list(rows) == list(TABLE_2["mvsa-single"])
        assert list(TABLE_3[name]) == list(TABLE_3["mvsa-single"])
    assert sum(TABLE_1["mvsa-single"].values()) == 4511
    assert sum(TABLE_1["mvsa-multiple"].values()) == 17024


# On the command line -------------------------------------------------------------------------------------------------


def check(*words: object) -> Any:
    result = CliRunner().invoke(main, ["data", "check", *map(str, words)])
    return result, [line.split() for line in result.output.splitlines()]


def test_check_of_a_folder(draw_mvsa: Callable[..., Path], tmp_path: Path) -> None:
    root = draw_mvsa(tmp_path / "MVSA", 30)
    data = root / "data"
    (data / "4.txt").write_bytes((data / "1.txt").read_bytes())  # both positive
    (data / "5.jpg").write_bytes((data / "6.jpg").read_bytes())  # neutral and negative
    whole = (data / "9.jpg").read_bytes()
    (data / "9.jpg").write_bytes(whole[: len(whole) // 2])  # its header is sound
    parts = tmp_path / "parts.csv"
    of = {1: "train", 4: "test", 5: "val", 6: "train"}
    parts.write_text("\n".join(["id,part", *(f"{i},{of.get(i, 'train')}" for i in range(1, 31))]) + "\n")
    out = tmp_path / "members.csv"
    result, lines = check("--root", root, "--split", parts, "--csv", out)
    assert result.exit_code == 0, result.output
    assert "mvsa-single: 29 labelled pairs that can be used" in result.output
    assert "1 that cannot be used:\n    9: " in result.output
    assert "Table I, MVSA-Single: not the whole data set, or another one" in result.output
    assert ["paper", "2683", "470", "1358", "4511"] in lines
    assert ["here", "10", "10", "9", "29"] in lines
    assert "Classes, protocol file:parts.csv:" in result.output
    assert ["train", "27", "9", "9", "9", "33.3%"] in lines
    assert ["equal", "texts", "1", "2", "0", "1", "1", "0", "0"] in lines
    assert ["equal", "images", "1", "2", "1", "1", "0", "0", "1"] in lines
    assert "--group-duplicates keeps them in one part." in result.output
    members = pd.read_csv(out, dtype=str)
    assert members[members["kind"] == "equal images"]["id"].tolist() == ["5", "6"]

    leaks, lines = check("--root", root, "--split", parts, "--group-duplicates")
    assert "2 in no part: 2 because an equal pair is in a later part" in leaks.output
    assert ["equal", "texts", "1", "2", "0", "0", "0", "0", "0"] in lines

    grouped, lines = check("--root", root, "--group-duplicates", "stripped", "--split-seed", 3)
    assert "protocol itin-811, duplicates together (stripped), split seed 3:" in grouped.output
    assert ["equal", "texts", "1", "2", "0", "0", "0", "0", "0"] in lines


def test_check_of_a_cache(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", 30)
    result, lines = check("--cache", cache, "--protocol", "folds:3", "--fold", 1)
    assert result.exit_code == 0, result.output
    assert "planted: 30 labelled pairs that can be used" in result.output
    assert "Table I" not in result.output
    assert "protocol folds:3, fold 1, split seed 0" in result.output
    assert ["equal", "images", *"0000000"] in lines
    wrong, _ = check("--cache", cache, "--fold", 1)
    assert wrong.exit_code == 2
    assert "only folds:K has folds" in wrong.output
    none, _ = check("--cache", tmp_path / "none")
    assert none.exit_code == 1
    assert "run `itin extract` first" in none.output


def test_check_tells_of_sorted_parts_and_leaked_texts(draw_mvsa: Callable[..., Path], tmp_path: Path) -> None:
    """In the order in which the file of the split lists them."""
    root = draw_mvsa(tmp_path / "MVSA", 60)
    data = root / "data"
    for test in (5, 6):
        (data / f"{test}.txt").write_bytes((data / "1.txt").read_bytes())
    plain = (data / "2.txt").read_bytes().decode("gb18030").removeprefix("RT @a: ").strip()
    (data / "7.txt").write_bytes(f"{plain} https://t.co/7\n".encode("gb18030"))
    (data / "8.jpg").write_bytes((data / "1.jpg").read_bytes())
    (data / "51.txt").write_bytes((data / "9.txt").read_bytes())  # in the validation part: not of the training part
    parts = {id: "test" if 5 <= id < 35 else "val" if id >= 50 else "train" for id in range(1, 61)}
    by_label = sorted(parts, key=lambda id: (id - 1) % 3)
    for name, order in (("sorted.csv", by_label), ("mixed.csv", list(parts))):
        rows = [f"{id},{parts[id]}" for id in order]
        (tmp_path / name).write_text("\n".join(["id,part", *rows]) + "\n")
    result, _ = check("--root", root, "--protocol", f"file:{tmp_path / 'sorted.csv'}")
    assert result.exit_code == 0, result.output
    assert (
        "The test part is sorted by label: 30 pairs in 3 runs of equal labels, about 21 in a random order"
        in result.output
    )
    said = "Of 30 test pairs the training part holds 2 texts (3 without links and retweet prefixes) and 1 images."
    assert said in " ".join(result.output.split())
    result, _ = check("--root", root, "--protocol", f"file:{tmp_path / 'mixed.csv'}")
    assert "sorted" not in result.output
    result, _ = check("--root", root, "--protocol", f"file:{tmp_path / 'sorted.csv'}", "--json")
    found = json.loads(result.stdout)
    assert found["sorted"]["test"] == {"runs": 3, "expected": 21.0}
    leaks = {row["kind"]: row["test_in_train"] for row in found["duplicates"]}
    assert leaks["equal texts"] == 2
    assert leaks["equal texts, stripped"] == 3
    assert leaks["equal images"] == 1
    grouped, _ = check("--root", root, "--protocol", f"file:{tmp_path / 'mixed.csv'}", "--group-duplicates", "stripped")
    assert "holds 0 texts (0 without links and retweet prefixes) and 0 images" in " ".join(grouped.output.split())
    assert found["targets"][0] == {
        "name": "label", "kind": "classes", "n": 60, "counts": {"positive": 20, "neutral": 20, "negative": 20},
    }  # fmt: skip


def test_check_of_scores_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root / "a.png")
    values = [round(-1 + n / 20, 2) for n in range(40)]
    rows = [f"{n},a.png,text {n},{value}" for n, value in enumerate([*values, ""])]
    (root / "t.csv").write_text("\n".join(["id,image,text,score", *rows]) + "\n")
    result, lines = check("--dataset", "folder", "--root", root)
    assert result.exit_code == 0, result.output
    assert "40 pairs with a score that can be used" in result.output
    assert "Score, protocol itin-811, split seed 0:" in result.output
    assert ["all", "40", "-0.025", "0.577", "-1", "0.95"] in lines
    (root / "t.csv").write_text("id,image,text\n1,a.png,x\n")
    result, _ = check("--dataset", "folder", "--root", root)
    assert result.exit_code == 1
    assert "has neither labels nor scores" in result.output


def test_check_of_the_real_sample(shared_data: Path) -> None:
    """389 of the 416 pairs keep a label; among them nine groups of equal texts, five with differing labels."""
    result, lines = check("--root", shared_data / "mvsa-single-sample")
    assert result.exit_code == 0, result.output
    said = "389 labelled pairs that can be used\n  27 without a label by its rule, for other targets: text and image "
    assert said in result.output
    assert ["here", "193", "65", "131", "389"] in lines
    assert ["label", "389", "193", "positive,", "131", "negative,", "65", "neutral"] in lines
    assert ["text-label", "416", "190", "neutral,", "124", "positive,", "102", "negative"] in lines
    assert "mean 0.121, sd 0.691, from -1 to 1" in result.output
    counts = {tuple(line[:-7]): line[-7:-4] for line in lines if line[:1] == ["equal"]}
    assert counts == {
        ("equal", "texts"): ["9", "19", "5"],
        ("equal", "texts,", "stripped"): ["10", "21", "5"],
        ("equal", "images"): ["3", "6", "3"],
        ("equal", "text", "and", "image"): ["2", "4", "2"],
    }


def test_classes_of_any_name() -> None:
    """Also of the names that other columns have."""
    names = ["n", "majority", "part", "z"]
    found = class_balance(["n", "z", "n", "part"], ["train", "train", "train", "val"], names)
    assert found["n"].tolist() == [4, 3, 1, 0]
    assert [found[column_of(name)].iloc[0] for name in names] == [2, 0, 1, 1]
    assert found["majority"].tolist() == ["n"] * 4
    assert found["majority_accuracy"].tolist()[:3] == [0.5, pytest.approx(2 / 3), 0]
