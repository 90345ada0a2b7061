"""Errors of data: folders, tables, archives, splits and pairs that are not what a reader expects."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from itin.cache import write_table
from itin.labels import LABELS

from ..features import make_stores, planted
from .errors import Case, held, removed, wrote
from .world import EXTRACT, NAMED, SMALL

TRAIN = ("train", *SMALL)
LABEL_FILE = "MVSA/labelResultAll.txt"
FOLDER = ("extract", "--dataset", "folder", *NAMED)
STREAM = ("extract", "--dataset", "webdataset", *NAMED)
PREDICT = ("predict", "runs/one", *NAMED)
GOOD = "id,image,text\n1,a.jpg,a day\n"


def of(dataset: str, root: str) -> tuple[object, ...]:
    return ("extract", "--dataset", dataset, "--root", root, *NAMED)


def cut_archive() -> None:
    """A tar archive with a picture, whose end is missing."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.add("MVSA/data/1.jpg", "1.jpg")
    Path("cut.tar").write_bytes(whole.getvalue()[:700])


def many_labels() -> None:
    rows = "".join(f"{n},MVSA/data/1.jpg,a day,mood {n % 1500}\n" for n in range(3000))
    wrote("shop/t.csv", "id,image,text,label\n" + rows)()


def numbered() -> None:
    """A cache of 40 pairs whose ids have four digits."""
    ids = [f"{number:04d}" for number in range(975, 1015)]
    rows = [
        {
            "id": id,
            "label": LABELS[i % 3],
            "image": "i.jpg",
            "text": "a",
            "image_sha256": id * 16,
            "text_sha256": id * 16,
        }
        for i, id in enumerate(ids)
    ]
    write_table(Path("numbered/pairs"), {"name": "pairs", "root": "/pairs"}, rows, [])
    make_stores(Path("numbered/pairs"), rows, lambda kind, i: planted(kind, i, i % 3, [-1, 0, -1]))


def pictures() -> None:
    """A folder with pictures, for tables of one's own."""
    Path("shop").mkdir(exist_ok=True)
    for number in (1, 2, 3):
        shutil.copy(f"MVSA/data/{number}.jpg", f"shop/{number}.jpg")


def scored(*scores: str) -> str:
    rows = [f"{n},{n}.jpg,a day,{score}\n" for n, score in enumerate(scores, 1)]
    return "id,image,text,score\n" + "".join(rows)


CASES: dict[str, Case] = {
    # MVSA
    "no folder of the data set": [of("mvsa-single", "none"), ("extract", "--dataset", "mvsa-single", *NAMED)],
    "another folder than the data set's": [of("mvsa-single", "runs"), of("mvsa-single", "own.py")],
    "MVSA without its pictures": [removed("MVSA/data"), EXTRACT],
    "pictures that lie elsewhere": [removed("MVSA/data/*.jpg"), EXTRACT],
    "a label file of nothing": [wrote(LABEL_FILE), EXTRACT],
    "a label file of another kind": [wrote(LABEL_FILE, "one,two\n1,2\n"), EXTRACT],
    "a label file with a wrong label": [wrote(LABEL_FILE, "ID\ttext,image\n1\tgood,positive\n"), EXTRACT],
    "a label file of three annotators": [
        wrote(LABEL_FILE, "ID\ttext,image\ttext,image\ttext,image\n1" + "\tneutral,neutral" * 3 + "\n"),
        EXTRACT,
    ],
    "MVSA-Single as MVSA-Multiple": [of("mvsa-multiple", "MVSA")],
    # Published data sets
    "published data sets in another folder": [of(name, "MVSA") for name in ("msed", "hfm", "tumemo", "memotion")],
    # A table of one's own
    "a folder that is none": [FOLDER, (*FOLDER, "--root", "none"), (*FOLDER, "--root", "own.py")],
    "a table in place of its folder": [wrote("shop/t.csv", GOOD), (*FOLDER, "--root", "shop/t.csv")],
    "no table": [pictures, (*FOLDER, "--root", "shop"), (*FOLDER, "--root", "shop", "--table", "shop/t.csv")],
    "two tables": [wrote("shop/a.csv", GOOD), wrote("shop/b.tsv", GOOD), (*FOLDER, "--root", "shop")],
    "a table of another kind": [wrote("shop/t.xlsx", b"PK"), (*FOLDER, "--root", "shop", "--table", "shop/t.xlsx")],
    "a table without a column": [
        wrote("shop/t.csv", "id,image,tweet\n1,a.jpg,a day\n"),
        (*FOLDER, "--root", "shop"),
        (*FOLDER, "--root", "shop", "--columns", "text=tweets"),
    ],
    "a table with a column twice": [wrote("shop/t.csv", "id,image,text,text\n1,a,b,c\n"), (*FOLDER, "--root", "shop")],
    "a table without rows": [wrote("shop/t.csv", "id,image,text\n"), (*FOLDER, "--root", "shop")],
    "an empty table": [wrote("shop/t.csv"), (*FOLDER, "--root", "shop")],
    "a table in UTF-16": [wrote("shop/t.csv", GOOD.encode("utf-16")), (*FOLDER, "--root", "shop")],
    "lines that are no JSON": [wrote("shop/t.jsonl", "id,image\n1,2\n"), (*FOLDER, "--root", "shop")],
    "no row that can be used": [wrote("shop/t.csv", "id,image,text\n,a.jpg,a\n"), (*FOLDER, "--root", "shop")],
    "pictures that are not there": [wrote("shop/t.csv", GOOD), (*FOLDER, "--root", "shop")],
    "too many labels": [many_labels, (*FOLDER, "--root", "shop", "--allow-outside")],
    "an order of no classes": [wrote("shop/t.csv", GOOD), (*FOLDER, "--root", "shop", "--ordered")],
    "scores without a range": [
        pictures,
        wrote("shop/t.csv", scored("1", "1", "1")),
        (*FOLDER, "--root", "shop", "--columns", "score=score"),
        wrote("shop/t.csv", scored("high", "low", "")),
        (*FOLDER, "--root", "shop", "--columns", "score=score"),
    ],
    "a damaged Parquet file": [wrote("shop/t.parquet", b"PAR1 and no more PAR1"), (*FOLDER, "--root", "shop")],
    # Archives, and the library datasets
    "archives that are not there": [STREAM, (*STREAM, "--root", "none"), (*STREAM, "--root", "MVSA/{00..03}.tar")],
    "a damaged archive": [cut_archive, (*STREAM, "--root", "cut.tar")],
    "a data set that the library cannot load": [("extract", "--dataset", "hf:none/none", *NAMED)],
    # Which pairs
    "ids": [
        (*EXTRACT, "--ids", "none.txt"),
        wrote("empty.txt", "\n\n"),
        (*EXTRACT, "--ids", "empty.txt"),
        wrote("ids.txt", "01\n02\n99\n"),
        (*EXTRACT, "--ids", "ids.txt"),
    ],
    # Splits
    "a split that is not there": [(*TRAIN, "--split", "split.csv")],
    "a split without a column": [wrote("split.csv", "id,set\n1,train\n"), (*TRAIN, "--split", "split.csv")],
    "a split of unknown parts": [wrote("split.csv", "id,part\n1,practice\n"), (*TRAIN, "--split", "split.csv")],
    "a split with an id twice": [
        wrote("split.csv", "id,part\n1,train\n1,test\n2,val\n"),
        (*TRAIN, "--split", "split.csv"),
    ],
    "a split of other ids": [
        wrote("split.csv", "id,part\n" + "".join(f"{n:04d},train\n" for n in range(1, 25))),
        (*TRAIN, "--split", "split.csv"),
        ("data", "check", "--split", "split.csv"),
    ],
    "a split of ids that lost their zeros": [  # docs/protocols.md
        numbered,
        wrote("split.csv", "id,part\n" + "".join(f"{n},{('train', 'val', 'test')[n % 3]}\n" for n in range(975, 1015))),
        ("train", "--cache", "numbered", "--split", "split.csv"),
    ],
    "a split without a test part": [
        wrote("split.csv", "id,part\n" + "".join(f"{n},train\n" for n in range(1, 25))),
        (*TRAIN, "--split", "split.csv"),
    ],
    "CLMLF's own files": [
        wrote("clmlf/train.json", "[]"),
        ("data", "fetch", "clmlf", "--from", "clmlf"),
        ("data", "fetch", "clmlf", "--from", "none"),
    ],
    # What is predicted
    "a picture that is not there": [(*PREDICT, "--image", "none.jpg", "--text", "a day")],
    "a picture that is none": [
        wrote("page.jpg", "<!DOCTYPE html><p>not found"),
        (*PREDICT, "--image", "page.jpg", "--text", "a day"),
    ],
    "a picture that ends too early": [(*PREDICT, "--image", "MVSA/data/7.jpg", "--text", "a day")],
    "a text of nothing": [(*PREDICT, "--image", "MVSA/data/1.jpg", "--text", " ")],
    "a table to predict": [
        (*PREDICT, "--table", "none.csv"),
        wrote("tweets.csv", "id,picture,text\n1,MVSA/data/1.jpg,a day\n"),
        (*PREDICT, "--table", "tweets.csv"),
        wrote("more.csv", "id,image,text\n1,../a.jpg,a day\n2,MVSA/data/7.jpg,\n3,MVSA/data/7.jpg,a day\n"),
        (*PREDICT, "--table", "more.csv"),
        (*PREDICT, "--table", "more.csv", "--out", "more.csv"),
    ],
}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("data", CASES, title)
