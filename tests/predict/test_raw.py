"""Predictions for Parquet and tar archives: those of the same pairs in a folder, in order; labels are not looked at."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itin.errors import DataError
from itin.extract.data.images import read_image
from itin.predict import Predictor
from itin.predict.table import CHUNK, predict_table

from ..extract.forms import as_folder, as_parquet, as_tars, pairs, picture, table_of, write_tar
from ..web_server import Server
from .test_table import Fake

COUNT = CHUNK + 8


def predicted(table: Path, out: Path, **options: bool | dict[str, str]) -> list[dict[str, str]]:
    run = out.parent / "run"
    good, bad = predict_table(cast(Predictor, Fake(run)), table, out, **options)  # type: ignore[arg-type]
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (good, bad) == (sum(not row["error"] for row in rows), sum(bool(row["error"]) for row in rows))
    return rows


@pytest.mark.parametrize("form", ["struct", "binary", "path", "shards", "tar", "tars", "remote csv", "remote tar"])
def test_each_form_gives_what_the_folder_gives(form: str, tmp_path: Path) -> None:
    given = pairs(COUNT)
    plain = predicted(as_folder(tmp_path / "folder", given) / "pairs.csv", tmp_path / "plain.csv")
    assert [row["id"] for row in plain] == [one.id for one in given]
    bright = [float(read_image(one.image).mean()) / 255 for one in given]
    assert [float(row["p_positive"]) for row in plain] == pytest.approx(bright, abs=1e-6)
    root = tmp_path / "data"
    if form.startswith("remote"):
        as_folder(root, given) if form == "remote csv" else as_tars(root, given)
        server = Server(root)
        try:
            name = "pairs.csv" if form == "remote csv" else "00000.tar"
            assert predicted(Path(server.url) / name, tmp_path / "out.csv") == plain
        finally:
            server.close()
        return
    if form.startswith("tar"):
        as_tars(root, given, 2 if form == "tars" else 1)
        table = root / ("*.tar" if form == "tars" else "00000.tar")
    else:
        as_parquet(root, given, "struct" if form == "shards" else form, 7, 2 if form == "shards" else 1)
        table = root / ("pairs-*.parquet" if form == "shards" else "pairs-00000.parquet")
    assert predicted(table, tmp_path / "out.csv") == plain


def test_what_cannot_be_used_is_a_line_with_the_reason(tmp_path: Path) -> None:
    given = pairs(6)
    table = table_of([*given, given[2]])
    cells = table.column("image").combine_chunks()
    bad = [cells[n].as_py() for n in range(7)]
    bad[1], bad[3] = {"bytes": b"no image", "path": None}, {"bytes": None, "path": "../up.png"}
    texts = [one.text for one in given] + ["again"]
    texts[4] = "  "
    table = table.set_column(1, "image", pa.array(bad, cells.type)).set_column(2, "text", pa.array(texts))
    pq.write_table(table.set_column(3, "label", pa.array([[1.5]] * 7)), tmp_path / "t.parquet")
    rows = predicted(tmp_path / "t.parquet", tmp_path / "out.csv")
    assert [row["id"] for row in rows] == [*(one.id for one in given), "t.parquet, row 6"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, True, False, True]
    assert "t.parquet, row 1: image in row 1: not a JPEG" in rows[1]["error"]
    assert "lies outside the root" in rows[3]["error"]
    assert rows[4]["error"] == "t.parquet, row 4: text is empty"
    assert f"id {given[2].id} is at an earlier place too" in rows[6]["error"]


def test_labels_of_archives_are_not_looked_at(tmp_path: Path) -> None:
    members = {"1.png": picture(1), "1.json": b'{"caption": "a", "label": [1, {}]}', "2.png": picture(2)}
    write_tar(tmp_path / "a.tar", {**members, "2.txt": b"b", "2.cls": b"\xff"})
    assert [row["error"] for row in predicted(tmp_path / "a.tar", tmp_path / "out.csv")] == ["", ""]
    named = predicted(tmp_path / "a.tar", tmp_path / "out.csv", columns={"text": "label"})
    assert "label" in named[0]["error"] or "text" in named[0]["error"]
    with pytest.raises(ValueError, match="id cannot be named"):
        predicted(tmp_path / "a.tar", tmp_path / "out.csv", columns={"id": "key"})


def test_none_of_the_files_is_written_over(tmp_path: Path) -> None:
    as_parquet(tmp_path, pairs(4), files=2)
    before = {one: one.read_bytes() for one in tmp_path.glob("*.parquet")}
    with pytest.raises(DataError, match="is the table itself"):
        predicted(tmp_path / "*.parquet", tmp_path / "pairs-00001.parquet")
    with pytest.raises(DataError, match=r"the table https://h/t.csv\?\*\*\* holds a query"):
        predicted(Path("https://h/t.csv?token=s3cret"), tmp_path / "out.csv")
    assert {one: one.read_bytes() for one in tmp_path.glob("*.parquet")} == before
