"""Tables of text: what is a row, what is wrong, and that no line is lost."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itin.errors import DataError
from itin.extract.data.classes import Labelling
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import Entry, Rejected
from itin.extract.data.sets.folder import read_rows
from itin.tabular import rows
from itin.tabular.lines import BOM, count_lines, lines_of
from itin.tabular.rows import Row, rows_of
from itin.train.protocols.split import read_parts

HEADER = ("id", "image", "text", "label")


def read(data: bytes, name: str = "t.csv") -> tuple[list[str], list[Row]]:
    columns, found = rows_of(Path(name), data)
    return columns, list(found)


def texts(found: list[Row]) -> list[object]:
    return [row.values.get("text", row.problem) for row in found]


# TSV: a quotation mark is a letter ---------------------------------------------------------------------------------

STRAY = {2: '"what a day', 6: 'look at this"', 8: '"', 9: '""', 10: 'say "hi"', 11: '"all of it"', 12: '"a ""b"""'}
"""Texts by their row, of 13."""


@pytest.mark.parametrize("order", [HEADER, ("id", "text", "image", "label"), ("text", "label", "id", "image")])
@pytest.mark.parametrize("kept", [list(STRAY), [2, 6], [8], [2], [11]])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotation_marks_in_a_tsv_are_letters(
    tmp_path: Path, order: tuple[str, ...], kept: list[int], end: str
) -> None:
    expected = {f"{i:03}": STRAY[i] if i in kept else f"text {i}" for i in range(13)}
    lines = ["\t".join(order)]
    for id, text in expected.items():
        row = {"id": id, "image": f"{id}.jpg", "text": text, "label": "positive"}
        lines.append("\t".join(row[column] for column in order))
    (tmp_path / "t.tsv").write_bytes("".join(line + end for line in lines).encode())
    dataset = open_dataset("folder", tmp_path)
    assert {entry.id: entry.text for entry in dataset.entries} == expected
    assert all(entry.image.name == f"{entry.id}.jpg" for entry in dataset.entries)
    assert dataset.rejected == []


@pytest.mark.parametrize("suffix", [".tsv", ".txt"])
def test_quotation_marks_in_the_table_of_a_split(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    path.write_text('id\ttext\tpart\n1\t"what\ttrain\n2\tb\ttest\n3\tc"\tval\n4\t"\ttest\n5\te\ttrain\n')
    assert read_parts(path)[0] == {"1": "train", "2": "test", "3": "val", "4": "test", "5": "train"}


def test_a_tsv_with_all_cells_in_quotation_marks(tmp_path: Path) -> None:
    text = '\n"id"\t"part"\t"text"\n"1"\t"train"\t"a ""good"" day"\r\n\n"2"\t""\t""""\n"3"\t"x"\t"lone " one"'
    columns, found = read(text.encode(), "t.tsv")
    assert columns == ["id", "part", "text"]
    assert texts(found) == ['a "good" day', '"', 'lone " one']
    assert [row.line for row in found] == [3, 5, 6]
    (tmp_path / "s.tsv").write_text('"id"\t"part"\n"1"\t"train"\n')
    assert read_parts(tmp_path / "s.tsv")[0] == {"1": "train"}


@pytest.mark.parametrize("line", ['3\t"b"', '"3"\tb', '"3"\t"two', '"3"\t"', "x"])
def test_a_tsv_that_is_quoted_in_part(tmp_path: Path, line: str) -> None:
    path = tmp_path / "s.tsv"
    path.write_text(f'"id"\t"part"\n"1"\t"train"\n{line}\n')
    with pytest.raises(DataError, match=r"s.tsv, line 3: the header's cells are in quotation marks, and not all of"):
        read_parts(path)
    with pytest.raises(DataError, match=r"line 3: the header's cells"):
        open_dataset("folder", tmp_path)


# CSV: cells that run over lines ------------------------------------------------------------------------------------


def test_a_quotation_mark_that_is_never_closed(tmp_path: Path) -> None:
    """The message names the line on which it opens, wherever that is in its row, and the file is refused as a whole."""
    lines = [f"{i},{i}.jpg,text,positive" for i in range(20_000)]
    for at, line, opened in (
        (1000, '1000,a.jpg,"what a day,positive', 1002),
        (0, '"0,a.jpg,text,positive', 2),
        (19_999, '19999,a.jpg,text,"', 20_001),
        (3, '3,"a\n\nb.jpg","two\r\nlines","pos', 8),
        (3, '3,a.jpg,"doubled "" and """,' + '"""', 5),
    ):
        mine = [*lines[:at], line, *lines[at + 1 :]]
        (tmp_path / "t.csv").write_bytes("\n".join([",".join(HEADER), *mine]).encode())
        with pytest.raises(DataError, match=rf"t.csv, line {opened}: a quotation mark opens a cell and none closes it"):
            open_dataset("folder", tmp_path)
    (tmp_path / "s.csv").write_text('id,part\n1,train\n2,"val\n3,test\n')
    with pytest.raises(DataError, match=r"s.csv, line 3: a quotation mark opens a cell.*(.|\n)*found: .*, line 4\n"):
        read_parts(tmp_path / "s.csv")
    with pytest.raises(DataError, match=r"h.csv, line 1: a quotation mark opens"):
        read(b'id,"part\n1,train\n', "h.csv")


def test_the_first_bad_row_is_named_where_marks_were_paired_wrongly() -> None:
    text = 'id,text\n1,"lone\n2,"b"\n3,c\n4,"d"\n5,"e"\n6,"f\n'
    with pytest.raises(DataError, match=r"line \d+: a quotation mark(.|\n)*first malformed row .* begins on line 2,"):
        read(text.encode())


def test_a_cell_closed_by_a_later_row_s_quotation_mark(tmp_path: Path) -> None:
    """The rows that it takes in are rejected, all lines named; those below are read."""
    body = '1,a.jpg,one\n2,b.jpg,"what\n3,c.jpg,three\n4,d.jpg,"four"\n5,e.jpg,"five, and"\n'
    (tmp_path / "t.csv").write_text("id,image,text\n" + body)
    dataset = open_dataset("folder", tmp_path)
    assert [entry.id for entry in dataset.entries] == ["1", "5"]
    assert [(row.id, row.reason.partition(": ")[0]) for row in dataset.rejected] == [("lines 3-5", "t.csv, lines 3-5")]
    assert "quotation mark that opens a cell on an earlier line" in dataset.rejected[0].reason


@pytest.mark.parametrize("order", [HEADER, ("id", "text", "image", "label"), ("image", "id", "label", "text")])
def test_rows_put_together_by_stray_marks_are_rejected(tmp_path: Path, order: tuple[str, ...]) -> None:
    """By the rules of CSV this is one row, with a text of several lines."""
    lines = [",".join(order)]
    for i in range(13):
        text = {2: '"what a day', 4: "with, a comma", 6: 'look at this"'}.get(i, f"text {i}")
        row = {"id": f"{i:03}", "image": f"{i}.JPG", "text": text, "label": "neutral"}
        lines.append(",".join(row[column] for column in order))
    (tmp_path / "t.csv").write_text("\n".join(lines))
    dataset = open_dataset("folder", tmp_path)
    if order[-1] == "text":
        assert [entry.id for entry in dataset.entries] == [f"{i:03}" for i in (0, 1, 7, 8, 9, 10, 11, 12)]
        assert "t.csv, lines 4-8: a cell in quotation marks runs over these lines, and line 5" in str(dataset.rejected)
    else:
        assert {f"{i:03}" for i in (0, 1)} == {entry.id for entry in dataset.entries} - {
            f"{i:03}" for i in range(7, 13)
        }
        assert not {"002", "003", "004", "005", "006"} & {entry.id for entry in dataset.entries}


def test_texts_of_several_lines_stay(tmp_path: Path) -> None:
    made = ["red, white, blue\ngreen, black, brown", "a\r\n\r\nb", "1,2.png,x\n3,4.png,y", 'see 1.jpg,\n"2.jpg", 3.jpg']
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "image", "text"), *((str(i), f"{i}.jpg", text) for i, text in enumerate(made))])
    dataset = open_dataset("folder", tmp_path)
    assert [entry.text for entry in dataset.entries] == made
    assert dataset.rejected == []


def test_a_long_cell_is_one_cell() -> None:
    long = "x\n" * 200_000
    found = read(f'id,text\n1,"{long}"\n2,b\n'.encode())[1]
    assert texts(found) == [long, "b"]
    assert [row.where for row in found] == ["lines 2-200002", "line 200003"]


# JSONL -------------------------------------------------------------------------------------------------------------

ODD = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\x1eeight"
"""A text in which `str.splitlines` finds nine lines."""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", BOM])
def test_what_ends_no_line(tmp_path: Path, end: str, mark: bytes) -> None:
    lines = {
        "t.jsonl": [
            json.dumps({"id": str(i), "image": f"{i}.jpg", "text": ODD, "part": "test"}, ensure_ascii=False)
            for i in (1, 2)
        ],
        "t.csv": ["id,image,text,part", *(f"{i},{i}.jpg,{ODD},test" for i in (1, 2))],
        "t.tsv": ["id\timage\ttext\tpart", *(f"{i}\t{i}.jpg\t{ODD}\ttest" for i in (1, 2))],
    }
    for name, own in lines.items():
        path = tmp_path / name
        path.write_bytes(mark + "".join(line + end for line in own).encode())
        found, *_ = read_rows(path, tmp_path, {}, False)
        assert [entry.id for entry in found] == ["1", "2"], name
        assert all(isinstance(entry, Entry) and "one\u2028two\u2029three\x85four" in str(entry.text) for entry in found)
        assert read_parts(path)[0] == {"1": "test", "2": "test"}


@pytest.mark.parametrize(
    "make",
    [
        lambda rows: json.dumps(rows),
        lambda rows: json.dumps(rows, indent=1),
        lambda rows: "\n\n [" + ",\n".join(map(json.dumps, rows)) + "]",
        lambda rows: "\ufeff[\r\n" + ",\r\n".join(map(json.dumps, rows)) + "\r\n]\r\n",
        lambda rows: json.dumps(rows[:1]),
    ],
)
def test_a_json_array_is_told_and_the_command_converts_it(
    tmp_path: Path, make: Callable[[list[dict[str, str]]], str]
) -> None:
    made = [{"id": str(i), "image": f"{i}.jpg", "text": 'it\'s "é"', "part": "val"} for i in (1, 2, 3)]
    path = tmp_path / "a b.jsonl"
    path.write_text(make(made), encoding="utf-8")
    for reader in (read_parts, lambda path: open_dataset("folder", tmp_path, table=path)):
        with pytest.raises(
            DataError, match=r"a b.jsonl is a JSON array, not JSONL(.|\n)*one JSON object a line"
        ) as error:
            reader(path)
    path.write_text(path.read_text(encoding="utf-8").removeprefix("\ufeff"), encoding="utf-8")
    command = str(error.value).partition("  next:     ")[2]
    subprocess.run(command, shell=True, check=True)
    converted = open_dataset("folder", tmp_path, table=tmp_path / "a b-lines.jsonl")
    assert [entry.text for entry in converted.entries] == [one["text"] for one in made][: len(converted.entries)]
    assert len(converted.entries) in (1, 3)


def test_one_object_over_many_lines(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"id": "1", "image": "1.jpg", "text": "a"}, indent=1))
    with pytest.raises(DataError, match=r"no line of .*t.jsonl is a JSON object(.|\n)*found: +line 1: malformed: "):
        open_dataset("folder", tmp_path)


# No line is lost ---------------------------------------------------------------------------------------------------


def check_lines(data: bytes, name: str) -> None:
    """Every line belongs to the header, to one row, or is blank; a refusal is a clear error."""
    try:
        columns, found = read(data, name)
    except DataError as error:
        if "this is a bug in itin" in str(error):
            raise
        return
    lines = list(lines_of(data, "surrogateescape"))
    taken = [number for row in found for number in range(row.line, row.last + 1)]
    assert len(taken) == len(set(taken))
    assert taken == sorted(taken)
    others = [line for number, line in enumerate(lines, 1) if number not in set(taken)]
    blank = [line for line in others if not (line.strip() if name.endswith("jsonl") else line.strip("\r\n"))]
    header = 0 if name.endswith("jsonl") or not columns else len(others) - len(blank)
    assert len(taken) + len(blank) + header == len(lines) == count_lines(data)
    if name == "t.tsv":
        assert header == bool(columns)
    for row in found:
        assert bool(row.problem) != bool(row.values) or row.values == {}


pieces = st.sampled_from(
    [
        '"',
        '"',
        '""',
        ",",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "a",
        "id",
        "\u2028",
        "\x85",
        "\0",
        "{",
        "}",
        "[",
        "]",
        '{"id": 1}',
        "é",
    ]
)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
@settings(deadline=None)
@given(parts=st.lists(pieces, max_size=40), mark=st.sampled_from([b"", BOM, b"\xe9"]))
def test_every_line_is_accounted_for(name: str, parts: list[str], mark: bytes) -> None:
    check_lines(mark + "".join(parts).encode(), name)


cells = st.text(st.sampled_from('ab",\t \u2028\x85\x0b\x0cé'), max_size=6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[cells.map(lambda cell: cell.replace("\t", "") or "x")] * 3), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_a_tsv_gives_back_what_was_written(table: list[tuple[str, ...]], end: str, quoted: bool) -> None:
    table = [("p", "q", "r"), *table]
    written = [[f'"{cell}"' if quoted else cell for cell in row] for row in table]
    if quoted:
        written = [['"' + cell[1:-1].replace('"', '""') + '"' for cell in row] for row in written]
    columns, found = read("".join("\t".join(row) + end for row in written).encode(), "t.tsv")
    assert columns == list(table[0])
    assert [tuple(row.values.values()) for row in found] == table[1:]


multiline = st.text(st.sampled_from('ab",\t \n\r\u2028\x85\x0cé'), max_size=8)


@settings(deadline=None)
@given(
    st.lists(st.tuples(multiline, multiline), max_size=8),
    # With the line end "\n", Python's writer puts no quotation marks around a cell for its "\r".
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_a_csv_gives_back_what_was_written(table: list[tuple[str, ...]], form: tuple[str, Any]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=form[0], quoting=form[1])
    writer.writerows([("p", "q"), *table])
    columns, found = read(text.getvalue().encode())
    assert columns == ["p", "q"]
    assert [tuple(row.values.values()) for row in found] == table


def test_a_reader_that_loses_a_line_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rows._tsv

    def loses(*arguments: object) -> object:
        return (record for record in real(*arguments) if record[0] != 3)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "_tsv", loses)
    for text in ("id\tpart\n1\ttrain\n2\ttest\n", "id\tpart\n1\ttrain\n2\ttest\n3\tval\n"):
        with pytest.raises(DataError, match=r"t.tsv: the rows were read wrongly after line 2 of [34]"):
            read(text.encode(), "t.tsv")


def test_rows_of_a_folder_keep_their_order(tmp_path: Path) -> None:
    text = 'id,image,text,label\n3,a.jpg,"x\ny",4\n1,a.jpg,b\n2,c.jpg,d,neutral\n\n2,e.jpg,f,neutral\n'
    (tmp_path / "t.csv").write_text(text)
    found, labels, _ = read_rows(tmp_path / "t.csv", tmp_path, {}, False, lambda counts: Labelling(tuple(counts)[1:]))
    assert labels.classes == ("neutral",)  # 4 was counted too
    assert [row.id for row in found] == ["3", "line 4", "2", "line 7"]
    assert [isinstance(row, Rejected) for row in found] == [True, True, False, True]
    without, *_ = read_rows(tmp_path / "t.csv", tmp_path, {"label": "mood"}, False)
    assert [(row.id, getattr(row, "label", "-")) for row in without] == [
        ("3", None), ("line 4", "-"), ("2", None), ("line 7", "-")
    ]  # fmt: skip
