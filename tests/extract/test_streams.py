"""Data sets in archives and tables: the same samples and stores as from a folder, and what is wrong is named."""

# ruff: noqa: F811  (the fixture that is imported)
from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itin.cache import open_store, read_table
from itin.errors import DataError, TransientError
from itin.extract import fill
from itin.extract.config import ExtractConfig
from itin.extract.data.images import read_image
from itin.extract.data.places import locator
from itin.extract.data.samples import Sample
from itin.extract.data.sets import webdataset
from itin.extract.data.streams.lines import SampleLines
from itin.extract.progress import SilentProgress
from itin.extract.run import extract
from itin.extract.summary import Summary
from itin.parts import Part

from . import forms
from .forms import Pair, as_folder, as_parquet, as_saved, as_tars, pairs, write_tar
from .test_run import Fake, fakes, made  # noqa: F401

Make = Callable[[Path, list[Pair]], dict[str, Any]]


@pytest.fixture(autouse=True)
def _own_datasets_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def config(options: dict[str, Any], cache: Path, **more: Any) -> ExtractConfig:
    return ExtractConfig(**options, name="d", cache=cache, workers=2, shard_size=4, **more)


def hf(split: str = "", **more: Any) -> Make:
    def make(root: Path, given: list[Pair]) -> dict[str, Any]:
        as_saved(root, given, **more)
        return {"dataset": f"hf:{root}{split}"}

    return make


FORMS: dict[str, Make] = {
    "parquet with a struct": lambda root, given: {"dataset": "folder", "root": as_parquet(root, given)},
    "parquet with bytes": lambda root, given: {"dataset": "folder", "root": as_parquet(root, given, "binary", 3)},
    "parquet with paths": lambda root, given: {"dataset": "folder", "root": as_parquet(root, given, "path")},
    "parquet in files": lambda root, given: {"dataset": "folder", "root": as_parquet(root, given, rows=5, files=3)},
    "one tar": lambda root, given: {"dataset": "webdataset", "root": as_tars(root, given)},
    "tars": lambda root, given: {"dataset": "webdataset", "root": as_tars(root, given, 3) / "{00000..00002}.tar"},
    "saved by datasets": hf(),
    "parquet by datasets": hf(parquet=True),
}


@pytest.fixture
def given() -> list[Pair]:
    return pairs(12)


@pytest.fixture
def plain(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> Summary:
    """The pairs in a folder, extracted."""
    root = as_folder(tmp_path / "folder", given)
    return extract(config({"dataset": "folder", "root": root}, tmp_path / "plain"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_samples_and_stores_of_a_folder(
    form: str,
    tmp_path: Path,
    given: list[Pair],
    plain: Summary,
) -> None:
    summary = extract(config(FORMS[form](tmp_path / "other", given), tmp_path / "cache"))
    assert made(summary) == {"regions": 12, "tokens": 12, "context": 12}
    assert (summary.scan.rejected, summary.scan.unread, summary.dataset.rejected) == ([], [], [])
    assert summary.dataset.classes == plain.dataset.classes == ("anger", "fear", "joy") or "datasets" in form
    where = ("image", "image_bytes", "image_mtime_ns", "within", "part")
    for one, other in zip(plain.scan.samples, summary.scan.samples, strict=True):
        assert {name: value for name, value in vars(one).items() if name not in where} == {
            name: value for name, value in vars(other).items() if name not in where
        }
        np.testing.assert_array_equal(read_image(other.place), read_image(one.place))
    for left, right in zip(plain.stores, summary.stores, strict=True):
        one_store, other_store = open_store(left.path), open_store(right.path)
        assert one_store.fingerprint == other_store.fingerprint
        assert one_store.ids == other_store.ids
        assert one_store.sha256 == other_store.sha256
    for left, right in zip(plain.stores, summary.stores, strict=True):
        files = sorted(path.relative_to(left.path) for path in left.path.rglob("*.h5"))
        assert files
        if len(list(right.path.glob("plan*.json"))) == 1:  # else blocks end where archives do
            assert all((left.path / file).read_bytes() == (right.path / file).read_bytes() for file in files)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_read_again_where_nothing_has_changed(
    form: str,
    tmp_path: Path,
    given: list[Pair],
    fakes: dict[str, Fake],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = config(FORMS[form](tmp_path / "other", given), tmp_path / "cache")
    first = extract(options)
    files = {path: path.stat() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    reads: list[Any] = []
    for module, name in ((fill, "read_image"), (locator, "read_bytes")):
        monkeypatch.setattr(module, name, lambda *arguments: reads.append(arguments))
    monkeypatch.setattr("itin.extract.data.places.cells.Cells.read", lambda *arguments: reads.append(arguments))
    monkeypatch.setattr("itin.extract.data.streams.survey.image_input", lambda data: reads.append(data))
    again = extract(options)
    assert not reads
    assert made(again) == {"regions": 0, "tokens": 0, "context": 0}
    assert list(again.scan.samples) == list(first.scan.samples)
    assert {path: path.stat().st_mtime_ns for path in files} == {path: one.st_mtime_ns for path, one in files.items()}


def test_an_image_is_decoded_once_from_an_archive(
    tmp_path: Path,
    given: list[Pair],
    fakes: dict[str, Fake],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[Any] = []
    real = fill.read_image
    monkeypatch.setattr(fill, "read_image", lambda place: decoded.append(place.within["member"]) or real(place))
    extract(config({"dataset": "webdataset", "root": as_tars(tmp_path / "tars", given, 2)}, tmp_path / "cache"))
    assert sorted(decoded) == sorted(f"{one.id}.{one.ending}" for one in given)


def test_a_changed_archive_costs_its_changed_pairs(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    root = as_tars(tmp_path / "tars", given, 2)
    options = config({"dataset": "webdataset", "root": root}, tmp_path / "cache")
    extract(options)
    changed = given[6]._replace(image=forms.picture(99, "PNG"), text="another text")
    members = {f"{one.id}.png": one.image for one in (changed,)} | {f"{changed.id}.txt": b"another text"}
    members |= {f"{given[7].id}.{given[7].ending}": given[7].image, f"{given[7].id}.txt": given[7].text.encode()}
    write_tar(root / "00001.tar", members)
    summary = extract(options)
    assert made(summary) == {"regions": 1, "tokens": 1, "context": 1}
    assert [one.id for one in summary.scan.samples] == [one.id for one in given[:8]]


def test_an_archive_that_changes_after_the_scan_is_left_for_the_next_run(
    tmp_path: Path,
    given: list[Pair],
    fakes: dict[str, Fake],
) -> None:
    root = as_tars(tmp_path / "tars", given, 2)
    options = config({"dataset": "webdataset", "root": root}, tmp_path / "cache")
    summary = extract(replace(options, plan=True))
    write_tar(root / "00001.tar", {"a.png": forms.picture(1), "a.txt": b"x"})
    samples = summary.scan.samples
    from itin.extract.data.survey import has_changed

    assert [has_changed(one) for one in samples] == [False] * 6 + [True] * 6


def test_a_quarantined_member_is_tried_again(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    cut = given[3]._replace(image=given[3].image[:-60])
    root = as_tars(tmp_path / "tars", [*given[:3], cut, *given[4:]])
    options = config({"dataset": "webdataset", "root": root}, tmp_path / "cache")
    for _ in range(2):
        summary = extract(options)
        (reason,) = summary.stores[0].quarantined.values()
        assert "JPEG image cannot be decoded" in reason
        assert list(summary.stores[0].quarantined) == [cut.id]
        options = replace(options, retry_quarantined=True)


BAD_MEMBERS: dict[str, tuple[dict[str, bytes], str]] = {
    "no text": ({"k.png": forms.picture(1)}, r"0\.tar: no \.txt or \.json beside it"),
    "no image": ({"k.txt": b"x"}, r"0\.tar: no image beside it"),
    "an empty text": ({"k.png": forms.picture(1), "k.txt": b" \n"}, "text is empty"),
    "no UTF-8": ({"k.png": forms.picture(1), "k.txt": b"\xff"}, "not UTF-8: byte 0"),
    "JSON of another kind": ({"k.png": forms.picture(1), "k.json": b"[1]"}, "is no object but of type list"),
    "broken JSON": ({"k.png": forms.picture(1), "k.json": b'{"text": '}, "its .json is malformed"),
    "deep JSON": ({"k.png": forms.picture(1), "k.json": b"[" * 100_000}, "nested too deeply"),
    "a number for a text": ({"k.png": forms.picture(1), "k.json": b'{"text": 1}'}, "text is of type int"),
    "no picture": ({"k.png": b"GIF, not", "k.txt": b"x"}, r"image member k\.png: not a JPEG"),
    "an empty picture": ({"k.png": b"", "k.txt": b"x"}, "is empty"),
    "a lone surrogate": ({"k.png": forms.picture(1), "k.json": b'{"text": "\\ud800"}'}, "text is not UTF-8"),
    "a long text": ({"k.png": forms.picture(1), "k.txt": b"x" * (2**20 + 1)}, "is too large: 1048577 bytes"),
    "a bomb": ({"k.png": forms.picture(1)[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + bytes(99), "k.txt": b"x"},
               "too large: 2147483647 x 2147483647 pixels|header is damaged"),
    "a way out": ({"../../k.png": forms.picture(1), "../../k.txt": b"x"}, "leads out of the archive"),
    "an absolute name": ({"/etc/k.png": forms.picture(1), "/etc/k.txt": b"x"}, "leads out of the archive"),
    "a control character": ({"k\x07.png": forms.picture(1), "k\x07.txt": b"x"}, "cannot be printed"),
    "the id of another": ({"00001.png": forms.picture(1), "00001.txt": b"x"}, "id 00001 is at an earlier place too"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_MEMBERS)
def test_a_bad_pair_is_one_named_reject(case: str, tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    members, reason = BAD_MEMBERS[case]
    root = as_tars(tmp_path / "tars", given[:2], 1)
    write_tar(root / "0.tar", {**members, "last.png": forms.picture(7), "last.txt": b"the last"})
    if "id of another" in case:
        (root / "0.tar").rename(root / "1.tar")
    summary = extract(config({"dataset": "webdataset", "root": root}, tmp_path / "cache"))
    assert {one.id for one in summary.scan.samples} == {"00000", "00001", "last"}
    (rejected,) = summary.scan.rejected
    assert re.search(reason.replace(r"0\.tar", r"[01]\.tar"), rejected.reason), rejected.reason
    assert read_table(summary.folder).rejected["id"].tolist() == [rejected.id]


def test_damaged_archives_cost_what_they_damage(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    root = as_tars(tmp_path / "tars", given, 3)
    data = bytearray((root / "00000.tar").read_bytes())
    data[124] ^= 1  # the header of the first image
    (root / "00000.tar").write_bytes(data)
    (root / "00001.tar").write_bytes((root / "00001.tar").read_bytes()[:1700])
    (root / "00003.tar").write_bytes(b"\x1f\x8b rest")
    (root / "00004.tar").write_bytes(b"nothing that is a tar" * 100)
    summary = extract(config({"dataset": "webdataset", "root": root}, tmp_path / "cache"))
    assert [one.id for one in summary.scan.samples] == [one.id for one in (*given[1:4], *given[8:])]
    reasons = {one.id: one.reason for one in summary.scan.rejected}
    assert reasons[given[0].id].startswith("00000.tar: the archive is damaged at byte 0: ")
    assert "is cut short" in reasons[given[4].id]
    assert reasons["00003.tar"] == "00003.tar: is compressed with gzip: unpack it, plain .tar files alone are read"
    assert "the archive is damaged at byte 0" in reasons["00004.tar, byte 0"]
    assert len(reasons) == 4


def test_labels_and_scores_of_archives(tmp_path: Path, fakes: dict[str, Fake]) -> None:
    cells = [("b", 0.5), ("a", -1), ("b", "2"), ("a", None), ("rare", 1), (7, 1), (7, "x")]
    members: dict[str, bytes] = {}
    for n, (label, score) in enumerate(cells):
        values = {"words": f"text {n}", "mood": label, **({} if score is None else {"score": score})}
        members |= {f"d/{n:02d}.PNG": forms.picture(n), f"d/{n:02d}.json": json.dumps(values).encode()}
    members |= {"d/07.png": forms.picture(9), "d/07.json": b'{"words": "text 7"}', "d/07.cls": b"b"}
    write_tar(tmp_path / "a.tar", members)
    options = config({"dataset": "webdataset", "root": tmp_path / "a.tar"}, tmp_path / "cache")
    summary = extract(replace(options, columns={"text": "words", "label": "mood"}))
    found = {one.id: (one.text, one.label, one.targets.get("score")) for one in summary.scan.samples}
    assert found == {
        "d/00": ("text 0", "b", 0.5), "d/01": ("text 1", "a", -1.0), "d/02": ("text 2", "b", 2.0),
        "d/03": ("text 3", "a", None), "d/04": ("text 4", None, 1.0), "d/05": ("text 5", "7", 1.0),
        "d/07": ("text 7", None, None),
    }  # fmt: skip
    assert summary.dataset.classes == ("7", "a", "b")
    assert summary.dataset.rare == {"rare": 1}
    assert [target.name for target in summary.dataset.all_targets] == ["label", "score"]
    assert summary.dataset.targets[0].span == (-1.0, 2.0)
    (rejected,) = summary.scan.rejected
    assert rejected.id == "d/06"
    assert "the score 'x' is not a finite number" in rejected.reason
    write_tar(
        tmp_path / "a.tar", {**members, "d/08.png": forms.picture(8), "d/08.json": b'{"words": "y", "mood": "new"}'}
    )
    again = extract(replace(options, columns={"text": "words", "label": "mood"}))
    assert again.dataset.classes == ("7", "a", "b")  # what was decided stays
    assert "unknown label 'new'" in again.scan.rejected[-1].reason


def test_splits_labels_and_ids_of_the_library_datasets(
    tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]
) -> None:
    root = as_saved(tmp_path / "saved", given)
    summary = extract(config({"dataset": f"hf:{root}"}, tmp_path / "cache"))
    assert summary.dataset.classes == tuple(forms.LABELS)  # the order of its ClassLabel
    assert [one.part for one in summary.scan.samples] == ["train"] * 9 + ["test"] * 3
    assert [one.label for one in summary.scan.samples] == [one.label for one in given]
    only = extract(config({"dataset": f"hf:{root}:test"}, tmp_path / "test"))
    assert [one.id for one in only.scan.samples] == [one.id for one in given[9:]]
    with pytest.raises(DataError, match="has no split 'dev'"):
        extract(config({"dataset": f"hf:{root}:dev"}, tmp_path / "test"))
    with pytest.raises(DataError, match="cannot load"):
        extract(config({"dataset": f"hf:{tmp_path / 'nothing'}"}, tmp_path / "test"))


def test_rows_without_ids_have_their_numbers(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    import pyarrow.parquet as pq

    for n, own in enumerate((given[:5], given[5:])):
        pq.write_table(forms.table_of(own).drop_columns(["id"]), tmp_path / f"{n}.parquet", row_group_size=2)
    summary = extract(config({"dataset": "folder", "root": tmp_path}, tmp_path / "cache"))
    assert [(one.id, one.text) for one in summary.scan.samples] == [(str(n), one.text) for n, one in enumerate(given)]


def test_rows_of_parquet_that_cannot_be_used(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "outside.png").write_bytes(forms.picture(1))
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.png").write_bytes(forms.picture(2))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows: list[tuple[Any, Any, str]] = [
        ({"bytes": forms.picture(3), "path": "../outside.png"}, "sound: the bytes count", ""),
        ({"bytes": None, "path": "in.png"}, "sound: a path", ""),
        ({"bytes": None, "path": "../outside.png"}, "x", "lies outside the root"),
        ({"bytes": None, "path": "/etc/passwd"}, "x", "lies outside the root"),
        ({"bytes": None, "path": "s3://bucket/x.png"}, "x", "lies outside the root"),
        ({"bytes": None, "path": None}, "x", "is empty"),
        (None, "x", "is empty"),
        ({"bytes": b"", "path": None}, "x", "image file is empty"),
        ({"bytes": b"\x89PNG\r\n\x1a\n", "path": None}, "x", "header is damaged"),
        ({"bytes": forms.picture(4), "path": None}, " ", "text is empty"),
        ({"bytes": forms.picture(4), "path": None}, None, "text is empty"),
    ]
    table = pa.table(
        {
            "image": pa.array([image for image, _, _ in rows], kind),
            "text": [text for _, text, _ in rows],
            "id": [f"{n}" for n in range(len(rows))],
        }
    )
    pq.write_table(table, root / "t.parquet", row_group_size=4)
    summary = extract(config({"dataset": "folder", "root": root}, tmp_path / "cache"))
    assert [one.id for one in summary.scan.samples] == ["0", "1"]
    found = {one.id: one.reason for one in summary.scan.rejected}
    assert list(found) == [str(n) for n, (_, _, reason) in enumerate(rows) if reason]
    for n, (_, _, reason) in enumerate(rows):
        assert not reason or (reason in found[str(n)] and f"t.parquet, row {n}" in found[str(n)])


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    import pyarrow.parquet as pq

    root = as_parquet(tmp_path / "p", given, "binary", rows=4)
    (path,) = root.glob("*.parquet")
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    summary = extract(config({"dataset": "folder", "root": root}, tmp_path / "cache"))
    assert [one.id for one in summary.scan.samples] == [one.id for one in (*given[:4], *given[8:])]
    assert [one.id for one in summary.scan.rejected] == [one.id for one in given[4:8]]
    assert all("is damaged within rows 4-7" in one.reason for one in summary.scan.rejected)


def test_columns_are_named_or_told_by_their_types(tmp_path: Path, given: list[Pair]) -> None:
    import pyarrow as pa

    from itin.extract.data.streams.columns import columns_of

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    found = columns_of(pa.schema({"photo": kind, "tweet": pa.string(), "n": pa.int64()}), {}, tmp_path, {})
    assert (found.image, found.path, found.text, found.id, found.label) == (
        "photo.bytes",
        "photo.path",
        "tweet",
        None,
        None,
    )
    found = columns_of(
        pa.schema({"a": pa.binary(), "b": pa.binary(), "text": pa.string()}), {"image": "b"}, tmp_path, {}
    )
    assert (found.image, found.path) == ("b", "")
    for schema, given_names, reason in (
        ({"a": pa.binary(), "b": pa.binary(), "text": pa.string()}, {}, "several columns that may be the image"),
        ({"image": kind, "a": pa.string(), "b": pa.string()}, {}, "several columns that may be the text"),
        ({"text": pa.string()}, {}, "has no column 'image'"),
        ({"image": pa.int64(), "text": pa.string()}, {}, "has no images in the column 'image'"),
        ({"image": kind, "text": pa.string()}, {"label": "mood"}, "has no column 'mood'"),
    ):
        with pytest.raises(DataError, match=reason):
            columns_of(pa.schema(schema), given_names, tmp_path, {})


def test_nothing_to_read_is_an_error(tmp_path: Path, fakes: dict[str, Fake]) -> None:
    write_tar(tmp_path / "a.tar", {"a.txt": b"x"})
    with pytest.raises(DataError, match=r"no pair of .* can be used"):
        extract(config({"dataset": "webdataset", "root": tmp_path}, tmp_path / "cache"))
    with pytest.raises(DataError, match=r"2 of 3 files of .* are missing"):
        extract(config({"dataset": "webdataset", "root": tmp_path / "{a,b,c}.tar"}, tmp_path / "cache"))


def test_a_scan_that_finds_nothing_leaves_the_table(tmp_path: Path, given: list[Pair], fakes: dict[str, Fake]) -> None:
    root = as_tars(tmp_path / "tars", given)
    options = config({"dataset": "webdataset", "root": root}, tmp_path / "cache")
    folder = extract(options).folder
    before = {path: path.read_bytes() for path in folder.glob("*.json*")}
    write_tar(root / "00000.tar", {"a.txt": b"x"})
    with pytest.raises(DataError, match="no pair of"):
        extract(options)
    assert {path: path.read_bytes() for path in folder.glob("*.json*")} == before
    assert not list(folder.glob(".tmp-*"))


def test_an_archive_that_cannot_be_read_now_is_left_for_the_next_run(
    tmp_path: Path, given: list[Pair], fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = as_tars(tmp_path / "tars", given, 3)
    options = config({"dataset": "webdataset", "root": root}, tmp_path / "cache")
    real = webdataset.members

    def shaky(file: Any, end: int) -> Any:
        for number, member in enumerate(real(file, end)):
            if file.name.endswith("00001.tar") and number > 4:
                raise TransientError("the disk is gone for a while")
            yield member

    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "members", shaky)
        summary = extract(options)
    assert [one.id for one in summary.scan.unread] == ["00001.tar"]
    assert "the disk is gone for a while" in summary.scan.unread[0].reason
    assert [one.id for one in summary.scan.samples] == [one.id for one in (*given[:5], *given[8:])]
    again = extract(replace(options, part=Part(0, 1)))  # it does not take the incomplete table
    assert [one.id for one in again.scan.samples] == [one.id for one in given]
    assert not again.scan.unread


def test_samples_on_disk_are_a_sequence(tmp_path: Path) -> None:
    import pickle

    made = [
        Sample(f"{n}", f"/x/{n}", "t" * (n * 7919 % 3000), None, None, None, "0" * 64, "1" * 64, 1, 1, 1, 1, 1)
        for n in range(4000)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(one.row) + "\n" for one in made))
    lines = SampleLines(path)
    assert len(lines) == 4000
    assert list(lines) == made == [lines[n] for n in range(4000)]
    assert lines[-1] == made[-1]
    assert lines[3:7] == made[3:7]
    assert [lines.find(f"{n}") for n in (0, 3999, 77)] == [made[0], made[3999], made[77]]
    assert lines.find("none") is None
    assert list(pickle.loads(pickle.dumps(lines))) == made
    with pytest.raises(IndexError):
        lines[4000]
    path.write_text("")
    assert list(SampleLines(path)) == []
    assert len(lines) == 4000  # the table that was opened


@pytest.mark.parametrize("form", ["parquet", "tars"])
def test_an_extraction_holds_no_more_of_pairs_that_are_done(form: str, tmp_path: Path, fakes: dict[str, Fake]) -> None:
    class Progress(SilentProgress):
        left = held = 0

        def start(self, kind: str, total: int, done: int) -> None:
            self.left += total
            if kind == "context":  # the last
                tracemalloc.start()

        def advance(self, kind: str, count: int) -> None:
            if kind in fakes:
                self.left -= count
                if not self.left:  # earlier, what is under way differs from run to run
                    gc.collect()
                    self.held = tracemalloc.get_traced_memory()[0]

    some = [one for one in pairs(9) if one.ending != "webp"]  # of which Pillow 10.3 keeps 88 bytes each

    def held_after(count: int) -> int:
        many = [one._replace(id=f"{n:05d}") for n, one in enumerate(some * (count // len(some)))]
        root, progress = tmp_path / f"{count}", Progress()
        if form == "parquet":
            options: dict[str, Any] = {"dataset": "folder", "root": as_parquet(root, many, rows=300)}
        else:
            options = {"dataset": "webdataset", "root": as_tars(root, many)}
        try:
            summary = extract(replace(config(options, tmp_path / f"cache {count}"), shard_size=300), progress)
        finally:
            tracemalloc.stop()
        assert made(summary) == dict.fromkeys(("regions", "tokens", "context"), count)
        return progress.held

    held_after(6)  # what is imported and made once
    few, many = held_after(300), held_after(900)
    assert few > 0  # measured
    assert many - few < 600 * 100, (few, many)  # an id and a digest alone are 170 bytes a pair
