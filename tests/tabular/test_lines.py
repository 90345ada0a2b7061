"""What ends a line, wherever lines of other people's files are read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itin.cluster.site import read_site
from itin.extract.data.sets.mvsa import read_labels
from itin.extract.foreign.forms.registry import FORMS
from itin.extract.foreign.reading import records
from itin.extract.foreign.record import Asked, Record
from itin.extract.frcnn.vocabulary import read_names
from itin.tabular.lines import BOM, count_lines, lines_of

from ..bua_files import features, tsv_row

NO_ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""Where `str.splitlines` cuts, and no text editor does."""


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (BOM, []),
        (b"a", ["a"]),
        (b"a\nb", ["a\n", "b"]),
        (b"a\r\n\r\nb\r", ["a\r\n", "\r\n", "b\r"]),
        (b"a\rb\n", ["a\r", "b\n"]),
        (b"a\r\r\n", ["a\r", "\r\n"]),
        (BOM + b"a\n" + BOM + b"b", ["a\n", "\ufeffb"]),
        (f"a{NO_ENDS}b\nc".encode(), [f"a{NO_ENDS}b\n", "c"]),
        (b"\xe9\n\xe9", ["\udce9\n", "\udce9"]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert list(lines_of(data, "surrogateescape")) == lines
    assert list(lines_of(io.BytesIO(data), "surrogateescape")) == lines
    assert count_lines(data) == len(lines)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\xe9", BOM, "\u2028".encode(), b"x" * 8191])).map(b"".join))
def test_lines_are_the_file_and_are_counted(data: bytes) -> None:
    lines = list(lines_of(data, "surrogateescape"))
    assert "".join(lines).encode(errors="surrogateescape") == data.removeprefix(BOM)
    assert count_lines(data) == len(lines)


def test_the_label_file_of_mvsa(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(BOM + b"ID\ttext,image\r1\tpositive,neutral\r\n2\x0c\tneutral,neutral\n3\tneutral,neutral")
    rows, rejected = read_labels(path, 1)
    assert [row.id for row in rows] == ["1", "3"]
    assert [row.reason for row in rejected] == ["labels.txt, line 3: the id '2\\x0c' is not a number"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", [False, True])
def test_region_features_with_a_byte_order_mark(tmp_path: Path, end: str, header: bool) -> None:
    made = {"7": features(3, 0), "a\u2028b": features(2, 1)}
    lines = ["image_id\timage_w\timage_h\tnum_boxes\tboxes\tfeatures"] * header
    lines += [tsv_row(id, one) for id, one in made.items()]
    digests = []
    for mark in (b"", BOM):
        (tmp_path / "f.tsv").write_bytes(mark + "".join(line + end for line in lines).encode())
        found = list(records(tmp_path / "f.tsv", FORMS["bua-tsv"], Asked("regions", {})))
        assert [record.id for record in found] == list(made)
        digests.append([record.sha256 for record in found if isinstance(record, Record)])
    assert digests[0] == digests[1]


def test_names_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(BOM + "yolk\r\nteddy\u2028bear,teddy\r\n".encode())
    assert read_names(path, 2) == ("yolk", "teddy\u2028bear")


def test_a_site_s_prologue(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text('prologue: |\n  module load x\n  echo "a\x0cb"\n'.replace("\x0c", "\t"), encoding="utf-8")
    assert read_site(path).prologue == ("module load x", 'echo "a\tb"')
    path.write_text('prologue: "a\\x0cb\\nc"\n', encoding="utf-8")
    assert read_site(path).prologue == ("a\x0cb", "c")
