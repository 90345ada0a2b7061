"""Scanning entries: texts, hashes, sizes, what is taken over, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from itin.errors import DataError
from itin.extract.data import images, reading
from itin.extract.data import scan as scan_module
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import DataSet, Entry, Rejected, Sample
from itin.extract.data.scan import scan

Draw = Callable[..., Path]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files read, in any order."""
    names: list[str] = []
    read_bytes = Path.read_bytes

    def counted(self: Path) -> bytes:
        names.append(self.name)
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return names


def by_id(samples: list[Sample]) -> dict[str, Sample]:
    return {sample.id: sample for sample in samples}


def test_every_field_of_a_sample(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "m", 5)
    result = scan(open_dataset("mvsa-single", root))
    assert [sample.id for sample in result.samples] == ["1", "2", "3", "4", "5"]
    assert (result.rejected, result.unread) == ([], [])
    image = root / "data" / "3.jpg"
    assert result.samples[2] == Sample(
        id="3",
        image=str(image),
        text="RT @a: a negative day, number 3 …",
        label="negative",
        text_label="negative",
        image_label="negative",
        image_sha256=hashlib.sha256(image.read_bytes()).hexdigest(),
        text_sha256=hashlib.sha256("RT @a: a negative day, number 3 …".encode()).hexdigest(),
        width=43,
        height=33,
        image_bytes=image.stat().st_size,
        image_mtime_ns=image.stat().st_mtime_ns,
        orientation=1,
        targets={"intensity": -1.0, "text-intensity": -1.0, "image-intensity": -1.0},
    )
    assert Sample(**json.loads(json.dumps(asdict(result.samples[2])))) == result.samples[2]


def test_real_sample(shared_data: Path, reads: list[str]) -> None:
    dataset = open_dataset("mvsa-single", shared_data / "mvsa-single-sample")
    reads.clear()
    done: list[int] = []
    result = scan(dataset, workers=4, progress=done.append)
    assert [sample.id for sample in result.samples] == [entry.id for entry in dataset.entries]
    assert (len(result.samples), result.rejected, result.unread) == (416, [], [])
    assert done == list(range(1, 417))
    labels = {"positive": 193, "neutral": 65, "negative": 131, None: 27}
    assert Counter(sample.label for sample in result.samples) == labels
    samples = by_id(result.samples)
    assert samples["4499"].text == "@doting_0120 (笑) http://t.co/8k0E4R7B97"
    assert samples["3323"].text == "RT @ham_points18: 炉500 | HAM #pixiv"
    assert samples["824"].text.endswith("#Wild http:…")
    assert samples["5084"].text.startswith("RT @jhanee97: “@_noo_remorse: All")
    assert samples["5084"].text.endswith("”@mariah_blueee …")
    assert samples["5039"].text == "ht…"
    assert (samples["4939"].width, samples["4939"].height) == (344, 57)
    assert len(reads) == 2 * 416
    reads.clear()
    assert scan(dataset, known=samples) == result
    assert Counter(name[-4:] for name in reads) == {".txt": 416}


def test_only_changed_images_are_read_again(tmp_path: Path, draw_mvsa: Draw, reads: list[str]) -> None:
    root = draw_mvsa(tmp_path / "m", 6)
    dataset = open_dataset("mvsa-single", root)
    known = by_id(scan(dataset).samples)
    data = root / "data"
    (data / "2.jpg").write_bytes((data / "3.jpg").read_bytes() + b"\0")  # another size
    same_size = bytearray((data / "4.jpg").read_bytes())
    same_size[-3] ^= 1
    (data / "4.jpg").write_bytes(same_size)
    os.utime(data / "4.jpg", ns=(0, known["4"].image_mtime_ns + 1))  # one nanosecond later
    (data / "5.txt").write_bytes(b"new text")
    known["6"] = replace(known["6"], image="/elsewhere/6.jpg")  # another path
    reads.clear()
    samples = by_id(scan(dataset, known).samples)
    assert sorted(name for name in reads if name.endswith(".jpg")) == ["2.jpg", "4.jpg", "6.jpg"]
    assert (samples["2"].width, samples["2"].height) == (43, 33)
    assert samples["4"].image_sha256 == hashlib.sha256(same_size).hexdigest() != known["4"].image_sha256
    assert samples["5"].text_sha256 == hashlib.sha256(b"new text").hexdigest() != known["5"].text_sha256
    assert samples["5"].image_sha256 == known["5"].image_sha256
    assert samples["1"] == known["1"]
    assert samples["6"].image == str(data / "6.jpg")


def test_what_was_scanned_before_orientation_was_looked_at_is_read_again(
    tmp_path: Path, draw_mvsa: Draw, reads: list[str]
) -> None:
    root = draw_mvsa(tmp_path / "m", 2)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (41, 31), "red").save(root / "data" / "2.jpg", exif=exif)
    dataset = open_dataset("mvsa-single", root)
    file = hashlib.sha256((root / "data" / "2.jpg").read_bytes()).hexdigest()
    rows = [asdict(sample) for sample in scan(dataset).samples]
    assert [(row["width"], row["height"], row["orientation"]) for row in rows] == [(41, 31, 1), (31, 41, 8)]
    assert rows[1]["image_sha256"] != file
    for row in rows:  # as a table of before has it
        del row["orientation"]
    rows[1] |= {"width": 41, "height": 31, "image_sha256": file}
    reads.clear()
    samples = scan(dataset, {row["id"]: Sample(**row) for row in rows}).samples
    assert samples == scan(dataset).samples
    assert sorted(name for name in reads[:4] if name.endswith(".jpg")) == ["1.jpg", "2.jpg"]
    reads.clear()
    assert scan(dataset, by_id(samples)).samples == samples
    assert not [name for name in reads if name.endswith(".jpg")]


def test_labels_come_from_the_entry_not_from_the_last_scan(tmp_path: Path, draw_mvsa: Draw) -> None:
    dataset = open_dataset("mvsa-single", draw_mvsa(tmp_path / "m", 1))
    known = {"1": replace(scan(dataset).samples[0], label="neutral", text="old")}
    assert scan(dataset, known) == scan(dataset)


def test_what_cannot_be_used_is_rejected_with_its_reason(
    tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 42 * 34 - 1)
    root = draw_mvsa(tmp_path / "m", 9)
    data = root / "data"
    (data / "1.jpg").unlink()
    (data / "2.jpg").write_bytes(b"")
    (data / "3.jpg").write_text("no picture")
    (data / "4.txt").unlink()
    (data / "5.txt").write_bytes(b" \n")
    (data / "6.txt").write_bytes(b"good \xff\xff")
    (data / "7.txt").write_bytes(b"x" * (2**20 + 1))
    (data / "8.jpg").unlink()
    (data / "8.jpg").mkdir()
    result = scan(open_dataset("mvsa-single", root))
    assert result.samples == []
    assert result.unread == []
    assert [(r.id, r.reason) for r in result.rejected] == [
        ("1", f"image file is missing: '{data}/1.jpg'"),
        ("2", "image file is empty"),
        ("3", "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"),
        ("4", f"text file is missing: '{data}/4.txt'"),
        ("5", "text is empty"),
        ("6", f"text is not GB18030: byte 5 of '{data}/6.txt'"),
        ("7", f"text file is too large: 1048577 bytes, at most 1048576 are read: '{data}/7.txt'"),
        ("8", f"image file is not a regular file: '{data}/8.jpg'"),
        ("9", "too large: 42 x 34 pixels exceed the limit of 1427"),
    ]


def test_gbk_and_utf8_would_garble(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "m", 3)
    (root / "data" / "1.txt").write_bytes(b"\xc2\xaf500")  # valid UTF-8 too: a macron
    (root / "data" / "2.txt").write_bytes(b"180\xa2\xe3")  # gbk fails
    (root / "data" / "3.txt").write_bytes("四𠀀é".encode("gb18030"))
    assert [sample.text for sample in scan(open_dataset("mvsa-single", root)).samples] == ["炉500", "180€", "四𠀀é"]


def test_texts_of_a_table(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "m", 2)
    (root / "t.csv").write_text('id,image,text\na,data/1.jpg," two\nlines "\nb,data/2.jpg, \nc,data/9.jpg,NA\n')
    result = scan(open_dataset("folder", root))
    assert [(sample.id, sample.text, sample.label) for sample in result.samples] == [("a", "two\nlines", None)]
    assert result.rejected == [
        Rejected("b", "text is empty"),
        Rejected("c", f"image file is missing: '{root}/data/9.jpg'"),
    ]


def test_transient_errors_are_unread_never_rejected(
    tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_mvsa(tmp_path / "m", 6)
    dataset = open_dataset("mvsa-single", root)
    monkeypatch.setattr(reading, "WAITS", (0, 0))
    faults = {"2.jpg": [5, 110], "3.jpg": [5] * 3, "4.txt": [11] * 9, "5.jpg": [13]}  # EIO, ETIMEDOUT, EAGAIN, EACCES
    read_bytes = Path.read_bytes

    def shaky(self: Path) -> bytes:
        if faults.get(self.name):
            code = faults[self.name].pop()
            raise OSError(code, os.strerror(code))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", shaky)
    result = scan(dataset)
    data = root / "data"
    assert [sample.id for sample in result.samples] == ["1", "2", "6"]
    assert result.rejected == []
    assert result.unread == [
        Rejected("3", f"{data}/3.jpg could not be read: Input/output error"),
        Rejected("4", f"{data}/4.txt could not be read: Resource temporarily unavailable"),
        Rejected("5", f"{data}/5.jpg could not be read: Permission denied"),
    ]
    faults.clear()
    again = scan(dataset, by_id(result.samples))
    assert [sample.id for sample in again.samples] == ["1", "2", "3", "4", "5", "6"]


def test_shaky_stat_is_retried_too(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("mvsa-single", draw_mvsa(tmp_path / "m", 2))
    monkeypatch.setattr(reading, "WAITS", (0, 0))
    stat = Path.stat
    faults = [116, 116]

    def shaky(self: Path, **options: bool) -> os.stat_result:
        if self.name == "1.jpg" and faults:
            raise OSError(faults.pop(), "Stale file handle")
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", shaky)
    assert [sample.id for sample in scan(dataset).samples] == ["1", "2"]
    faults.extend([116] * 3)
    assert [r.id for r in scan(dataset).unread] == ["1"]


def test_wrong_root(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "m", 3)
    (root / "t.csv").write_text("id,image,text\na,pics/1.jpg,hi\nb,pics/2.jpg,hi\n")
    with pytest.raises(DataError) as caught:
        scan(open_dataset("folder", root, name="mine"))
    assert str(caught.value) == (
        "none of the 2 images of mine exists\n"
        f"  expected: images such as {root}/pics/1.jpg\n"
        "  found:    no file at any of the paths\n"
        "  next:     name the folder that the image paths start from with --root"
    )
    (root / "pics").mkdir()
    (root / "pics" / "2.jpg").touch()
    assert [r.id for r in scan(open_dataset("folder", root)).rejected] == ["a", "b"]


@pytest.mark.parametrize("start", ["pics", "C:\\pics", ".\\a b"])
def test_backslashes_are_named(tmp_path: Path, draw_mvsa: Draw, start: str) -> None:
    """They used to get a hint on --root."""
    root = draw_mvsa(tmp_path / "m", 3)
    table = root / "t.csv"
    table.write_text(f"id,image,text\na,data/none.jpg,hi\nb,{start}\\1.jpg,hi\n")
    with pytest.raises(DataError) as caught:
        scan(open_dataset("folder", root, name="mine"))
    said = str(caught.value)
    assert "backslashes in 1 of the paths" in said
    assert f"images such as {root}/{start}\\1.jpg" in said
    assert "write the table's image paths with / instead of \\" in said
    assert "--root" not in said
    table.write_text(table.read_text() + "c,data/1.jpg,hi\n")
    reasons = {row.id: row.reason for row in scan(open_dataset("folder", root, name="mine")).rejected}
    assert reasons["b"].endswith("; write / instead of backslashes")
    assert "write /" not in reasons["a"]


def test_order_is_kept_whatever_finishes_first(
    tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset("mvsa-single", draw_mvsa(tmp_path / "m", 8))
    rest_read = threading.Event()
    image_bytes = scan_module.image_bytes

    def slow_first(path: Path) -> bytes:
        if path.name == "1.jpg":
            assert rest_read.wait(10)
        if path.name == "8.jpg":
            rest_read.set()
        return image_bytes(path)

    monkeypatch.setattr(scan_module, "image_bytes", slow_first)
    assert [sample.id for sample in scan(dataset, workers=2).samples] == list("12345678")


def test_an_interrupt_ends_the_scan_at_once(tmp_path: Path, draw_mvsa: Draw, reads: list[str]) -> None:
    root = draw_mvsa(tmp_path / "m", 1)
    entry = Entry("0", root / "data" / "1.jpg", "text", None)
    dataset = DataSet("many", root, [entry._replace(id=str(i)) for i in range(2000)], [])

    def progress(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(dataset, workers=1, progress=progress)
    assert len(reads) < 1000
    assert threading.active_count() == 1 or not any(t.name.startswith("scan") for t in threading.enumerate())
