"""Reading the ports' own feature files: values, order, and what is refused."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itin.errors import DataError
from itin.extract.data.samples import Rejected
from itin.extract.foreign.forms import bua
from itin.extract.foreign.forms.registry import FORMS
from itin.extract.foreign.reading import records
from itin.extract.foreign.record import Asked, Record

from ..bua_files import DIM, features, tsv_row, write_npz


def read_npz(source: Path) -> Iterator[Record | Rejected]:
    return records(source, FORMS["bua-npz"], Asked("regions", {}))


def read_tsv(source: Path) -> Iterator[Record | Rejected]:
    return records(source, FORMS["bua-tsv"], Asked("regions", {}))


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def check(record: Record | Rejected, made: dict[str, np.ndarray], scored: bool = True) -> None:
    assert isinstance(record, Record), record
    number = len(made["bbox"])
    order = np.argsort(-made["objects_conf"]) if scored else np.arange(number)
    unknown = np.full(number, -1)
    expected = {
        "regions": made["x"][order],
        "boxes": made["bbox"][order],
        "scores": made["objects_conf"][order] if scored else np.zeros(number),
        "objects": made["objects_id"][order] if scored else unknown,
        "object_scores": made["objects_conf"][order] if scored else np.zeros(number),
        "attributes": made["attrs_id"][order] if scored else unknown,
        "attribute_scores": made["attrs_conf"][order] if scored else np.zeros(number),
    }
    assert list(record.arrays) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(record.arrays[name], values, err_msg=name)
    assert (record.width, record.height, record.scored) == (40, 30, scored)


def test_npz_by_descending_score(tmp_path: Path) -> None:
    made = {name: features(5, seed) for seed, name in enumerate(("10", "9.jpg", "sub"))}
    (tmp_path / "below").mkdir()
    write_npz(tmp_path / "10.npz", made["10"])
    write_npz(tmp_path / "9.jpg.npz", made["9.jpg"])
    write_npz(tmp_path / "below" / "sub.npz", made["sub"])
    found = list(read_npz(tmp_path))
    assert [record.id for record in found] == ["10", "9", "sub"]
    for record, one in zip(found, made.values(), strict=True):
        check(record, one)
    assert len({record.sha256 for record in found if isinstance(record, Record)}) == 3
    assert next(read_npz(tmp_path / "10.npz")).id == "10"


def test_npz_without_scores_keeps_its_order(tmp_path: Path) -> None:
    made = features(4)
    write_npz(tmp_path / "1.npz", made, info=None)
    write_npz(tmp_path / "2.npz", made, info={"image_id": "2"})
    for record in read_npz(tmp_path):
        check(record, made, scored=False)


def test_npz_laid_out_otherwise(tmp_path: Path) -> None:
    made = features(4)
    write_npz(tmp_path / "1.npz", {**made, "x": made["x"].T})
    more = {name: np.concatenate([values, values]) for name, values in made.items()}
    write_npz(tmp_path / "2.npz", more)
    with np.load(tmp_path / "2.npz", allow_pickle=True) as held:
        np.savez(tmp_path / "2.npz", **{**held, "num_bbox": 4})
    check(next(read_npz(tmp_path / "1.npz")), made)
    check(next(read_npz(tmp_path / "2.npz")), made)
    none = next(read_npz(write_npz(tmp_path / "3.npz", features(0))))
    assert isinstance(none, Record)
    assert none.arrays["regions"].shape == (0, DIM)


def test_a_hostile_info_is_left_out_and_never_run(tmp_path: Path) -> None:
    made, trap = features(3), tmp_path / "trap"
    assert pickle.dumps(Hostile(trap))
    record = next(read_npz(write_npz(tmp_path / "1.npz", made, info={"image_id": Hostile(trap)})))
    check(record, made, scored=False)
    assert isinstance(record, Record)
    assert record.note is not None
    assert record.note.startswith("info left out: it asks for ")
    assert not trap.exists()
    record = next(read_npz(write_npz(tmp_path / "2.npz", made, info=[1, 2])))
    assert isinstance(record, Record)
    assert record.note == "info left out: it is no dict"


def test_npz_files_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, trap = features(3), tmp_path / "trap"
    whole = write_npz(tmp_path / "a.npz", made).read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.npz").write_bytes(b"")
    np.savez(tmp_path / "c.npz", x=made["x"], image_h=3, image_w=3)
    write_npz(tmp_path / "d.npz", {**made, "bbox": made["bbox"][:, :3]})
    write_npz(tmp_path / "e.npz", {**made, "x": made["x"][:2]})
    write_npz(tmp_path / "f.npz", made, size=(0, 30))
    np.savez(tmp_path / "g.npz", x=np.array([Hostile(trap)], dtype=object), bbox=made["bbox"], image_h=3, image_w=3)
    found = {row.id: row.reason for row in read_npz(tmp_path) if isinstance(row, Rejected)}
    assert list(found) == list("abcdefg")
    assert found["a"].startswith("a.npz cannot be read: ")
    assert found["b"].startswith("b.npz cannot be read: ")
    assert found["c"] == "c.npz has no bbox"
    assert found["d"] == "d.npz holds features (3, 6) and boxes (3, 3) for 3 regions"
    assert found["e"] == "e.npz holds features (2, 6) and boxes (3, 4) for 3 regions"
    assert found["f"] == "f.npz names an image of 0x30 pixels"
    assert found["g"].startswith("g.npz cannot be read: Object arrays cannot be loaded")
    assert not trap.exists()
    np.savez_compressed(tmp_path / "h.npz", x=np.zeros(10000, np.float32))
    monkeypatch.setattr(bua, "MAX_BYTES", 30000)
    last = list(read_npz(tmp_path))[-1]
    assert isinstance(last, Rejected)
    assert last.reason == "h.npz is too large: more than 30000 bytes unpacked"


@pytest.mark.parametrize("lxmert", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_tsv(tmp_path: Path, lxmert: bool, header: bool) -> None:
    made = {id: features(number, number) for id, number in (("7", 4), ("COCO_9", 1), ("8", 0))}
    rows = [tsv_row(id, one, lxmert=lxmert) for id, one in made.items()]
    if header:
        rows.insert(0, "\t".join(bua.COLUMNS[10 if lxmert else 6]))
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    found = list(read_tsv(tmp_path))
    assert [record.id for record in found] == list(made)
    for record, one in list(zip(found, made.values(), strict=True))[:2]:
        check(record, one, scored=lxmert)
    assert isinstance(found[2], Record)
    assert len(found[2].arrays["scores"]) == 0


def test_tsv_rows_that_cannot_be_used(tmp_path: Path) -> None:
    good = features(3)
    cells = tsv_row("1", good).split("\t")
    rows = [
        cells,
        [*cells[:3], "2", *cells[4:]],
        [*cells[:4], "%%%", cells[5]],
        cells[:5],
        [*cells[:3], "3", f"b'{cells[4]}'", f"b'{cells[5]}'"],
        ["1", "wide", *cells[2:]],
    ]
    path = tmp_path / "x.tsv"
    path.write_text("\r\n".join("\t".join(row) for row in rows))
    found = list(read_tsv(path))
    check(found[0], good, scored=False)
    check(found[4], good, scored=False)
    reasons = [row.reason for row in found if isinstance(row, Rejected)]
    assert [row.id for row in found if isinstance(row, Rejected)] == [f"x.tsv line {n}" for n in (2, 3, 4, 6)]
    assert reasons[0] == "12 numbers of boxes and 18 of features for 2"
    assert reasons[1].startswith("boxes cannot be read: ")
    assert reasons[2] == "5 columns instead of 6"
    assert "invalid literal for int" in reasons[3]


def test_what_is_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.npz files") as error:
        list(read_npz(tmp_path))
    assert "a folder without them" in str(error.value)
    with pytest.raises(DataError, match=r"holds no \.tsv files"):
        list(read_tsv(tmp_path / "nowhere"))
    (tmp_path / "a.tsv").write_text("1\t2\t3\n")
    with pytest.raises(DataError, match=r"is not a \.tsv of region features") as error:
        list(read_tsv(tmp_path))
    assert "6 or 10 columns" in str(error.value)
    assert "3 columns in line 1" in str(error.value)
    (tmp_path / "a.tsv").write_text("image_id\timage_w\timage_h\tboxes\n")
    with pytest.raises(DataError, match="no features, num_boxes among image_id"):
        list(read_tsv(tmp_path))
