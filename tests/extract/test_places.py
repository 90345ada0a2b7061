"""Files, archives and tables that hold images: every locator gives the very bytes, whatever else is in the file."""

from __future__ import annotations

import errno
import io
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from itin.errors import DataError, TransientError
from itin.extract.data.images import BadImage, image_bytes, read_image
from itin.extract.data.places import cells, tables
from itin.extract.data.places.cells import Cells
from itin.extract.data.places.locator import Locator
from itin.extract.data.places.opening import open_file
from itin.extract.data.places.patterns import braces, files_of
from itin.extract.data.places.tables import TableFile
from itin.extract.data.places.tar import Member, members
from itin.extract.data.reading import BadFile

LONG = "folder/" * 30 + "a name that no ustar header holds.jpg"
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_tar(path: Path, files: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def listed(path: Path) -> list[Member]:
    with open_file(path) as file:
        return list(members(file, path.stat().st_size))


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS.keys())
def test_members_are_those_that_tarfile_finds(tmp_path: Path, format: int) -> None:
    sizes = [0, 1, 511, 512, 513, 10_000]
    files = {f"./d/{n:03d}.jpg": random.Random(n).randbytes(size) for n, size in enumerate(sizes)}
    files |= {"日本語/写真.jpg": b"x" * 700}
    if format != tarfile.USTAR_FORMAT:
        files |= {LONG: b"long", "é" * 120: b"longer"}
    path = write_tar(tmp_path / "a.tar", files, format)
    with tarfile.open(path) as archive:
        expected = [(one.name.removeprefix("./"), one.offset_data, one.size) for one in archive.getmembers()]
    found = listed(path)
    assert [(one.name, one.offset, one.size) for one in found] == expected
    assert not any(one.problem for one in found)
    for one, data in zip(found, files.values(), strict=True):
        assert Locator(path, {"member": one.name, "at": one.offset, "bytes": one.size}).read(2**20) == data


def test_links_folders_and_devices_are_not_files(tmp_path: Path) -> None:
    kinds = {
        "l": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "d": tarfile.DIRTYPE,
        "p": tarfile.FIFOTYPE,
        "c": tarfile.CHRTYPE,
    }
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("last"))
    found = {one.name: one.problem for one in listed(tmp_path / "a.tar")}
    assert found == {"l": "is a link, not a file", "h": "is a link, not a file", "p": "is a pipe, not a file",
                     "c": "is a device, not a file", "last": ""}  # fmt: skip


def test_appended_archives_and_sizes_in_base_256_are_read(tmp_path: Path) -> None:
    one, two = write_tar(tmp_path / "1.tar", {"a": b"1"}), write_tar(tmp_path / "2.tar", {"b": b"22"})
    both = tmp_path / "both.tar"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    assert [(member.name, member.size) for member in listed(both)] == [("a", 1), ("b", 2)]
    data = bytearray(one.read_bytes())
    data[124:136] = b"\x80" + (1).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    one.write_bytes(data)
    assert [(member.name, member.size) for member in listed(one)] == [("a", 1)]


def test_a_damaged_header_costs_its_own_member(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{n}.jpg": bytes([65 + n]) * 600 for n in range(4)}, tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    first = 512 + 1024  # the second header: its size and checksum do not belong together any more
    data[first + 124] ^= 1
    path.write_bytes(data)
    found = listed(path)
    assert [one.name for one in found] == ["0.jpg", "", "2.jpg", "3.jpg"]
    assert found[1].problem == f"the archive is damaged at byte {first}: 1536 bytes skipped"
    assert Locator(path, {"member": "3.jpg", "at": found[3].offset, "bytes": 600}).read(600) == b"D" * 600


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (0, "ends at byte 0 without its end mark"),
        (700, "is cut short: the archive ends after 188 of 600 bytes"),
        (512 + 1024, "ends at byte 1536 without its end mark"),
        (512 + 1024 + 100, "ends within a header, at byte 1536"),
    ],
)
def test_an_archive_that_is_cut_short(tmp_path: Path, cut: int, reason: str) -> None:
    path = write_tar(tmp_path / "a.tar", {"0.jpg": b"x" * 600, "1.jpg": b"y" * 600})
    path.write_bytes(path.read_bytes()[:cut])
    found = listed(path)
    assert reason in found[-1].problem
    assert [one.name for one in found[:-1]] == ["0.jpg"] * (cut > 1000)


def test_a_declared_size_beyond_the_archive_is_not_allocated(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[124:136] = b"\x80" + (2**60).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    (member,) = listed(path)
    assert member.problem.startswith("is cut short")
    assert member.size == 2**60
    for size, limit, reason in ((2**60, 2**61, "cut short"), (2**60, 100, "is too large: 1152921504606846976 bytes")):
        with pytest.raises(BadFile, match=reason):
            Locator(path, {"member": "a.jpg", "at": 512, "bytes": min(size, 2**60 if limit == 100 else 2**20)}).read(
                limit
            )


def test_pixels_by_each_kind_of_locator(tmp_path: Path) -> None:
    data = [picture(seed) for seed in range(5)]
    plain = tmp_path / "2.png"
    plain.write_bytes(data[2])
    archive = write_tar(tmp_path / "a.tar", {f"{n}.png": one for n, one in enumerate(data)})
    member = listed(archive)[2]
    schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "raw": pa.binary()})
    rows = [{"image": {"bytes": one, "path": "x.png"}, "raw": one} for one in data]
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pa.OSFile(str(tmp_path / "f.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(table, max_chunksize=3)
    places: list[Any] = [
        plain,
        Locator(plain),
        Locator(archive, {"member": "2.png", "at": member.offset, "bytes": member.size}),
    ]
    places += [
        Locator(tmp_path / name, {"row": 2, "column": column})
        for name in ("t.parquet", "t.arrow", "f.arrow")
        for column in ("image.bytes", "raw")
    ]
    expected = np.asarray(Image.open(io.BytesIO(data[2])))
    for place in places:
        np.testing.assert_array_equal(read_image(place), expected)
        assert image_bytes(place) == data[2]


def test_cells_in_any_order(tmp_path: Path) -> None:
    cells = [random.Random(n).randbytes(n % 50) for n in range(200)]
    pq.write_table(pa.table({"raw": cells}), tmp_path / "t.parquet", row_group_size=70)
    order = random.Random(1).sample(range(200), 200)
    for sequence in (range(200), order, range(199, 150, -1)):
        for row in sequence:
            assert Locator(tmp_path / "t.parquet", {"row": row, "column": "raw"}).read(100) == cells[row]
    with pytest.raises(BadImage, match=r"image in row 200 is not in t\.parquet, which has 200 rows"):
        image_bytes(Locator(tmp_path / "t.parquet", {"row": 200, "column": "raw"}))


def test_a_file_that_has_changed_is_opened_again(tmp_path: Path) -> None:
    place = Locator(tmp_path / "t.parquet", {"row": 1, "column": "raw"})
    for cell in (b"old", b"newer"):
        pq.write_table(pa.table({"raw": [b"", cell]}), place.path)
        assert place.read(10) == cell
    place.path.unlink()
    with pytest.raises(BadImage, match="image in row 1 is missing"):
        image_bytes(place)


def test_damaged_and_empty_cells_have_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"raw": [random.Random(n).randbytes(999) for n in range(200)] + [None]}), path, row_group_size=100
    )
    with pytest.raises(BadFile, match="is empty"):
        Locator(path, {"row": 200, "column": "raw"}).read(10)
    with pytest.raises(BadFile, match="is too large: 999 bytes, at most 100 are read"):
        Locator(path, {"row": 3, "column": "raw"}).read(100)
    data = bytearray(path.read_bytes())
    data[4:44] = b"\xff" * 40  # the header of its first page
    path.write_bytes(data)
    with pytest.raises(BadFile, match="is damaged within rows 0-99"):
        Locator(path, {"row": 99, "column": "raw"}).read(1000)
    assert Locator(path, {"row": 100, "column": "raw"}).read(1000) == random.Random(100).randbytes(999)
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(BadFile, match="is no sound Parquet file"):
        Locator(path, {"row": 1, "column": "raw"}).read(1000)


def test_a_column_that_is_declared_to_swell_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_CHUNK", 2**20)
    pq.write_table(pa.table({"raw": [bytes(2**22)]}), tmp_path / "t.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(BadFile, match=r"is refused: .* bytes of raw are declared to hold 41"):
        Locator(tmp_path / "t.parquet", {"row": 0, "column": "raw"}).read(2**30)


def test_cells_that_a_dictionary_repeats_are_read_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (tables, cells):
        monkeypatch.setattr(one, "BATCH_BYTES", 2**21)
    path, cell = tmp_path / "t.parquet", random.Random(1).randbytes(2**18)
    pq.write_table(pa.table({"raw": [cell] * 200}), path, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 2**19  # and would take 50 MB in memory
    table = TableFile(path)
    assert table.cells_at_once(0, "raw") * 2**18 <= 2**21
    assert Cells(table).read(199, "raw") == cell


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_threads_that_race_over_the_ends_of_groups_read_each_group_once(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are asked for at most six places away from their order, as six threads do."""
    raw = [random.Random(n).randbytes(n + 1) for n in range(300)]
    pq.write_table(pa.table({"raw": raw}), tmp_path / "t.parquet", row_group_size=rows)
    begun: list[int] = []
    batches = TableFile.batches
    monkeypatch.setattr(
        TableFile, "batches", lambda self, group, *rest: begun.append(group) or batches(self, group, *rest)
    )
    cells = Cells(TableFile(tmp_path / "t.parquet"))
    order = sorted(range(300), key=lambda row: row + 6 * random.Random(row).random())
    assert order != sorted(order)
    for row in order:
        assert cells.read(row, "raw") == raw[row]
        assert len(cells._cursors) <= 8
    assert sorted(begun) == list(range(-(-300 // rows)))


def test_a_disk_that_fails_says_nothing_about_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"raw": [random.Random(n).randbytes(200_000) for n in range(40)]}), path, row_group_size=20)
    works = True

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not works:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(tables, "_source", lambda path: Failing(path.read_bytes()))
    cells = Cells(TableFile(path))
    first = cells.read(0, "raw")
    works = False
    for _ in range(2):
        with pytest.raises(TransientError, match=r"t.parquet could not be read: Input/output error"):
            cells.read(39, "raw")
    works = True
    assert cells.read(39, "raw") == random.Random(39).randbytes(200_000)
    assert cells.read(0, "raw") == first


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails when it is read")
def test_pyarrow_gives_the_number_of_a_failed_read() -> None:
    with pytest.raises(OSError, match="Input/output error") as found:
        pa.OSFile("/proc/self/mem").read(8)  # nothing is mapped at 0
    assert found.value.errno == errno.EIO


def test_braces_count_and_list() -> None:
    assert list(braces("d/{08..11}.tar")) == ["d/08.tar", "d/09.tar", "d/10.tar", "d/11.tar"]
    assert list(braces("{9..11}")) == ["9", "10", "11"]
    assert list(braces("{02..00}")) == ["02", "01", "00"]
    assert list(braces("{a,b}-{0..1}.tar")) == ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]
    assert list(braces("a{b}.tar")) == ["a{b}.tar"]
    with pytest.raises(ValueError, match="more than"):
        list(braces("{0..9999999999}"))


def test_files_of_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("02.tar", "00.tar", "01.tar", "x.txt", ".03.tar"):
        (tmp_path / name).touch()
    three = [tmp_path / f"0{n}.tar" for n in range(3)]
    monkeypatch.chdir(tmp_path)
    for pattern in (tmp_path, tmp_path / "*.tar", "{00..02}.tar", "0[0-2].tar", "{0,9}*.tar", "."):
        assert files_of(pattern, (".tar",)) == three
    assert files_of("01.tar", (".tar",)) == three[1:2]
    with pytest.raises(DataError, match=r"2 of 5 files of .* are missing"):
        files_of("{00..04}.tar", (".tar",))
    for nothing in ("*.parquet", tmp_path / "none.tar"):
        with pytest.raises(DataError, match=r"names no file|is missing"):
            files_of(nothing, (".tar",))
