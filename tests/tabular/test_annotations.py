"""Annotation files without a header of their own; nothing in a Python literal is ever run."""

from __future__ import annotations

from pathlib import Path

import pytest

from itin.tabular.annotations import MAX_LITERAL_BYTES, cells, json_array, literals

COLUMNS = ("id", "text", "label")


def one(line: str | bytes) -> str:
    """Return what is wrong with a line."""
    (row,) = literals(line if isinstance(line, bytes) else line.encode(), COLUMNS)
    assert row.values == {} or not row.problem
    return row.problem


def test_literals_are_what_python_says_they_are() -> None:
    lines = [
        "['7', 'plain', 1]",
        """['8', "it's <b>\\n\\u2026 …", -1]""",
        "",
        "[ 'a\\'b' , \"\\\"\" , None , ]",
        r"['\d', '', 0.5]",
        "['[1, [2]]', '__import__(\"os\")', True]",
    ]
    rows = list(literals("\r\n".join(lines).encode(), COLUMNS))
    assert [tuple(row.values.values()) for row in rows] == [
        ("7", "plain", 1),
        ("8", "it's <b>\n… …", -1),
        ("a'b", '"', None),
        ("\\d", "", 0.5),
        ("[1, [2]]", '__import__("os")', True),
    ]
    assert [row.where for row in rows] == ["line 1", "line 2", "line 4", "line 5", "line 6"]
    assert all(list(row.values) == list(COLUMNS) for row in rows)


@pytest.mark.parametrize(
    "line",
    [
        "[__import__('pathlib').Path('RAN').touch(), 'a', 1]",
        "__import__('pathlib').Path('RAN').touch()",
        "['a', f'{open(\"RAN\", \"w\")}', 1]",
        "['a', ['b'], 1]",
        "['a', {'b': 1}, 1]",
        "['a', ('b',), 1]",
        "('a', 'b', 1)",
        "{'a', 'b', 1}",
        "['a', 'b', 1 + 2]",
        "['a', 'b' * 99999999, 1]",
        "['a', 'b', 1j]",
        "['a', b'b', 1]",
        "['a', 'b' 'c', 1]",
        "['a', 'b', 1] # more",
        "['a', 'b', 1], ['c']",
        "['a', 'b, 1]",
        "['a', x, 1]",
        "['a',, 1]",
        "[,]",
        f"['a', 'b', {'9' * 5000}]",
        "[" * 30_000,
        "[" * 3000 + "]" * 3000,
        "['a', " + "-" * 60_000 + "1]",
    ],
)
def test_anything_but_a_flat_list_is_refused(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert one(line).startswith("not one flat list of plain values such as ['7', 'a text', 1]: ")
    assert len(one(line)) < 200
    assert list(tmp_path.iterdir()) == []


def test_other_lines_that_are_refused() -> None:
    assert one("['a', 'b']") == "2 values instead of 3: id, text, label"
    assert one("[]") == "0 values instead of 3: id, text, label"
    assert one(r"['a', '\x1', 1]").startswith("not a Python list: ")
    assert one(r"['a', '\N{no such}', 1]").startswith("not a Python list: ")
    assert one(b"['a', 'caf\xe9', 1]").startswith("not a Python list: ")
    assert one("['a', 'b\0', 1]").startswith("not a Python list: ")
    text = "x" * (MAX_LITERAL_BYTES - len("['a', '', 1]"))
    assert one(f"['a', '{text}', 1]") == ""
    assert one(f"['a', '{text}x', 1]") == "longer than 64 kB"
    assert one(f"['a', '{text[2:]}éé', 1]") == "longer than 64 kB"  # bytes count, not characters


def test_cells_by_position() -> None:
    rows = list(cells('\ufeffn\n1\t"a\tb"\n\n2\tc\r\n3\n4\td\te'.encode(), ("n", "x")))
    assert [(row.where, row.values.get("x"), row.problem) for row in rows] == [
        ("line 2", None, "3 values instead of 2: n, x"),
        ("line 4", "c", ""),
        ("line 5", None, "1 values instead of 2: n, x"),
        ("line 6", None, "3 values instead of 2: n, x"),
    ]
    assert [row.values for row in cells(b"1\tn\n", ("n", "x"))] == [{"n": "1", "x": "n"}]  # no line of names


def test_items_of_a_json_array() -> None:
    rows = list(json_array('\ufeff[{"id": 840006160660983809}, 3, {"id": null}]'.encode()))
    assert [(row.where, row.values, row.problem) for row in rows] == [
        ("item 1", {"id": 840006160660983809}, ""),
        ("item 2", {}, "a JSON object is expected, this is int"),
        ("item 3", {"id": None}, ""),
    ]
    for data in (b'{"a": 1}', b"[1", b"", b"\xff", b"[" * 200_000):
        with pytest.raises(ValueError, match=r"JSON|Expecting|decode|nested"):
            list(json_array(data))
