"""People's own tables: CSV, TSV and JSONL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itin.errors import DataError, TransientError
from itin.extract.data import reading, tables
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import DataSet
from itin.extract.data.sets import decided


def write(root: Path, name: str, content: str | bytes) -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def contents(dataset: DataSet) -> list[tuple[str, str, object, str | None]]:
    return [(e.id, e.image.relative_to(dataset.root).as_posix(), e.text, e.label) for e in dataset.entries]


EXPECTED = [
    ("7", "p/1.jpg", "NA", "positive"),
    ("x", "2.png", 'a "good", day', None),
    ("z", "3.png", "null", "neutral"),
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'id,image,text,label\n7,p/1.jpg,NA,Positive\nx,2.png,"a ""good"", day",\nz,3.png,null, NEUTRAL \n'),
        ("t.csv", '\ufefflabel,text,image,id\r\npositive,NA,p/1.jpg,7\r\n,"a ""good"", day",2.png,x\r\n\r\n'
                  "neutral,null,3.png,z\r\n"),
        ("T.TSV", 'id\timage\ttext\tlabel\n7\tp/1.jpg\tNA\tpositive\nx\t2.png\ta "good", day\t\n'
                  "z\t3.png\tnull\tneutral"),
        ("t.jsonl", '\ufeff{"id": 7, "image": "p/1.jpg", "text": "NA", "label": "positive"}\n'
                    '{"id": "x", "image": "2.png", "text": "a \\"good\\", day", "label": null}\r\n\n'
                    '{"id": "z", "image": "3.png", "text": "null", "label": "Neutral", "more": [1]}\n'),
    ],
)  # fmt: skip
def test_the_same_from_every_kind_of_table(tmp_path: Path, name: str, content: str) -> None:
    dataset = open_dataset("folder", write(tmp_path, name, content))
    assert contents(dataset) == EXPECTED
    assert dataset.rejected == []


def test_no_label_column_and_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "t.csv", "tweet,pic,key\nhello,a.jpg,1\n")
    dataset = open_dataset("folder", tmp_path, columns={"id": "key", "image": "pic", "text": "tweet"})
    assert contents(dataset) == [("1", "a.jpg", "hello", None)]


def test_text_keeps_its_white_space_and_line_ends(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write(tmp_path, "t.csv", 'id,image,text\n1,a.jpg," two\nlines "\n2,b.jpg,one\n'))
    assert [entry.text for entry in dataset.entries] == [" two\nlines ", "one"]


def test_bad_csv_rows_are_rejected_by_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        "t.csv",
        b"id,image,text,label\n"
        b'1,a.jpg,"two\nlines",positive\n'
        b"1,b.jpg,twice,positive\n"
        b"2,a.jpg,short\n"
        b'3,a.jpg,"quo"te,positive\n'
        b"4,a.jpg,ok,happy\n"
        b",a.jpg,no id,positive\n"
        b"6,,no image,positive\n"
        b"7,a.jpg,caf\xe9,positive\n"
        b"8\x07,a.jpg,bell,positive\n"
        b"4,a.jpg,second chance,negative\n",
    )
    dataset = open_dataset("folder", tmp_path)
    assert contents(dataset) == [
        ("1", "a.jpg", "two\nlines", "positive"),
        ("4", "a.jpg", "second chance", "negative"),
    ]
    assert [(r.id, r.reason) for r in dataset.rejected] == [
        ("line 4", "t.csv, line 4: id 1 is on an earlier line too"),
        ("line 5", "t.csv, line 5: malformed: 3 cells in a table of 4 columns"),
        ("line 6", "t.csv, line 6: malformed: ',' expected after '\"'"),
        ("line 7", "t.csv, line 7: unknown label 'happy'; known are positive, neutral, negative"),
        ("line 8", "t.csv, line 8: no id"),
        ("6", "t.csv, line 9: no image path"),
        ("7", "t.csv, line 10: text is not UTF-8"),
        ("line 11", "t.csv, line 11: the id '8\\x07' holds characters that cannot be printed"),
    ]


def test_bad_json_lines_are_rejected_by_line(tmp_path: Path) -> None:
    good = {"id": "1", "image": "a.jpg", "text": "fine"}
    lines = [
        json.dumps(good),
        '{"id": "2", "image": ',
        '["3"]',
        json.dumps({**good, "id": 4.5}),
        json.dumps({**good, "id": True}),
        json.dumps({**good, "id": "6", "text": 6}),
        '{"id": "7", "image": "a.jpg", "text": "\\ud800"}',
        json.dumps({**good, "id": "8", "image": "a\0b"}),
        "[" * 100_000,
        json.dumps({**good, "id": "10", "label": 2.5}),
        json.dumps({"image": "a.jpg", "text": "no id"}),
    ]
    dataset = open_dataset("folder", write(tmp_path, "t.jsonl", "\n".join(lines)))
    assert contents(dataset) == [("1", "a.jpg", "fine", None)]
    reasons = {r.id: r.reason.partition(": ")[2] for r in dataset.rejected}
    assert reasons.pop("line 9").startswith("malformed: ")
    assert reasons == {
        "line 2": "malformed: Expecting value at column 22",
        "line 3": "malformed: a JSON object is expected, this is list",
        "line 4": "id is of type float, not text",
        "line 5": "id is of type bool, not text",
        "6": "text is of type int, not text",
        "7": "text is not UTF-8",
        "8": "the image path holds a NUL character",
        "10": "label is of type float, not text",
        "line 11": "no id",
    }


def test_images_stay_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "t.csv", "")
    (root / "sub").mkdir()
    write(root, "real.jpg", b"x")
    write(tmp_path, "secret.jpg", b"x")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "inner.jpg").symlink_to("real.jpg")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.jpg").symlink_to("loop.jpg")
    good = ["real.jpg", "sub/../real.jpg", str(root / "real.jpg"), "inner.jpg", "missing/1.jpg", "x" * 300, "loop.jpg"]
    bad = ["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "up/secret.jpg", "sub/..", "sub/../..", "..", "/"]
    rows = "".join(f"{id},{image},text\n" for id, image in enumerate(good + bad))
    write(root, "t.csv", "id,image,text\n" + rows)
    dataset = open_dataset("folder", root)
    # the root itself is no escape; that it is no image, the scan will say
    assert [entry.image for entry in dataset.entries] == [root / image for image in [*good, "sub/.."]]
    bad.remove("sub/..")
    assert [r.reason.partition(": ")[2] for r in dataset.rejected] == [
        f"the image {image!r} lies outside the root (--allow-outside accepts it)" for image in bad
    ]
    assert len(open_dataset("folder", root, allow_outside=True).entries) == len(good) + len(bad) + 1


def test_default_name_tells_folders_apart(tmp_path: Path) -> None:
    table = "id,image,text\n1,a.jpg,hi\n"
    names = [open_dataset("folder", write(tmp_path / name, "t.csv", table)).name for name in ("My pictures!", "b")]
    (tmp_path / "c").mkdir()
    names.append(open_dataset("folder", write(tmp_path / "c" / "b", "t.csv", table)).name)
    assert [name[:-9] for name in names] == ["My-pictures", "b", "b"]
    assert names[1] != names[2]
    (tmp_path / "again").symlink_to(tmp_path / "b")
    assert open_dataset("folder", tmp_path / "again").name == names[1]
    assert open_dataset("folder", tmp_path / "b", name="mine").name == "mine"
    assert open_dataset("folder", tmp_path / "b", name=names[1]).name == names[1]
    assert decided.default_name(Path("/")).startswith("folder-")


def test_which_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "r", "notes.txt", "")
    with pytest.raises(DataError, match=r"r holds no table(.|\n)*found: +notes.txt\n.*--table FILE"):
        open_dataset("folder", root)
    write(root, "a.csv", "id,image,text\n1,a.jpg,hi\n")
    write(root, ".b.csv", "")
    write(root, "b.jsonl", "")
    with pytest.raises(DataError, match=r"more than one table(.|\n)*found: +a.csv, b.jsonl\n"):
        open_dataset("folder", root)
    monkeypatch.chdir(tmp_path)
    for table in ("a.csv", "r/a.csv", root / "a.csv"):
        assert open_dataset("folder", "r", table=table).source["table"] == str(root / "a.csv")
    with pytest.raises(DataError, match=f"the table {root}/c.csv is missing\n.*name another with --table FILE"):
        open_dataset("folder", root, table="c.csv")
    refused = r"not a table that can be read(.|\n)*ends in .csv, .tsv, .jsonl\n.*'notes.txt'"
    with pytest.raises(DataError, match=refused):
        open_dataset("folder", root, table="notes.txt")


def test_wrong_root(tmp_path: Path) -> None:
    write(tmp_path, "t.csv", "")
    with pytest.raises(DataError, match=r"the data set 'folder' needs a folder\n.*name it with --root DIR"):
        open_dataset("folder")
    with pytest.raises(DataError, match=r"none is not a folder\n(.|\n)*found: +nothing\n.*name another with --root"):
        open_dataset("folder", tmp_path / "none")
    with pytest.raises(DataError, match=f"found: +a file\n.*use --root '{tmp_path}' --table 't.csv'"):
        open_dataset("folder", tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "id;image;text\n1;a;b\n", "t.csv has no column 'id' and no column 'image' and no column 'text'"),
        ("t.csv", "id;image;text\n1;a;b\n", "found: +'id;image;text'\n"),
        (
            "t.csv",
            "id,image,caption\n1,a,b\n",
            "no column 'text'\n.*\n.*'id', 'image', 'caption'\n.*--columns text=caption",
        ),
        ("t.jsonl", '{"id": 1, "image": "a"}\n', "has no column 'text'"),
        (
            "t.jsonl",
            "x\ny\n",
            r"no line of .*t.jsonl is a JSON object(.|\n)*found: +line 1: malformed: Expecting value at column 1",
        ),
        ("t.jsonl", "\n{}\n", "found: +no column"),
        ("t.csv", "id,image,text\n", "t.csv has no rows(.|\n)*found: +a header line"),
        ("t.csv", "", "t.csv has no rows"),
        ("t.csv", "id,image,text,text\n1,a,b,c\n", "t.csv has more than one column 'text'"),
        ("t.csv", "id,image,text".encode("utf-16"), "t.csv is in UTF-16\n.*expected: UTF-8\n.*save the table again"),
        ("t.csv", "id,image,text,label\n1,,b,0\n", "no row of .*t.csv can be used\n.*1 bad row; .*no image path"),
    ],
)
def test_wrong_table(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset("folder", write(tmp_path, name, content))


def test_wrong_columns(tmp_path: Path) -> None:
    write(tmp_path, "t.csv", "id,image,text\n1,a,b\n")
    with pytest.raises(ValueError, match=r"columns: expected names of id, image, text, label, score, got body"):
        open_dataset("folder", tmp_path, columns={"body": "text"})
    with pytest.raises(DataError, match=r"has no column 'mood'"):
        open_dataset("folder", tmp_path, columns={"label": "mood"})


def test_a_table_that_cannot_be_read_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "t.csv", "id,image,text\n1,a,b\n")
    monkeypatch.setattr(reading, "WAITS", ())

    def broken(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tables.Path, "read_bytes", broken)
    with pytest.raises(TransientError, match=r"t.csv could not be read: Input/output error"):
        open_dataset("folder", tmp_path)
