"""Data sets behind a protocol: the same stores as from disk, failures that pass, bounds, no credentials kept."""

# ruff: noqa: F811  (the fixture that is imported)
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from itin.cache.format.sealed_json import read_json, write_json
from itin.errors import DataError, TransientError
from itin.extract.config import ExtractConfig
from itin.extract.data import reading
from itin.extract.data.places import locator, opening, remote, web
from itin.extract.data.places.locator import Locator
from itin.extract.data.places.opening import open_file, read_at
from itin.extract.data.reading import BadFile, read_bytes
from itin.extract.data.sets.contained import containment_check, image_path
from itin.extract.fill import image_as_scanned
from itin.extract.run import extract
from itin.parts import Part

from ..web_server import Server
from .forms import as_folder, as_parquet, as_tars, pairs, picture
from .test_run import Fake, fakes, made  # noqa: F401

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "served").mkdir()
    found = Server(tmp_path / "served")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(reading.time, "sleep", found.append)
    return found


def run(cache: Path, **options: Any) -> Any:
    return extract(ExtractConfig(**options, name="d", cache=cache, workers=2, shard_size=4))


def shards(cache: Path) -> dict[str, bytes]:
    return {str(one.relative_to(cache)): one.read_bytes() for one in sorted(cache.rglob("*.h5"))}


def to_memory(folder: Path) -> Path:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for one in folder.rglob("*"):
        if one.is_file():
            fs.pipe_file(f"/set/{one.relative_to(folder)}", one.read_bytes())
    return Path("memory://set")


@pytest.mark.parametrize("protocol", ["file", "memory", "http"])
@pytest.mark.parametrize("form", ["csv", "paths", "bytes", "tars"])
def test_a_remote_root_gives_the_store_of_the_local_folder(
    protocol: str, form: str, tmp_path: Path, server: Server, fakes: dict[str, Fake]
) -> None:
    given, root = pairs(12), server.root
    root.rmdir()
    make: Any = {"csv": as_folder, "tars": lambda root, given: as_tars(root, given, 2)}.get(form)
    if make is None:
        as_parquet(root, given, "path" if form == "paths" else "struct", 5)
    else:
        make(root, given)
    kind = {"dataset": "webdataset" if form == "tars" else "folder"}
    local = run(tmp_path / "local", **kind, root=root)
    where = {"file": Path(f"file://{root}"), "http": Path(server.url)}.get(protocol) or to_memory(root)
    if protocol == "http" and form == "tars":
        where /= "{00000..00001}.tar"
    tables = [one.name for one in root.iterdir() if one.suffix in (".csv", ".parquet", ".jsonl", ".tsv")]
    if protocol == "http" and form != "tars":
        kind["table"] = Path(tables[0])  # type: ignore[assignment]
    summary = run(tmp_path / "remote", **kind, root=where)
    assert (summary.scan.rejected, summary.scan.unread) == ([], [])
    assert made(summary) == made(local) == {"regions": 12, "tokens": 12, "context": 12}
    assert shards(tmp_path / "remote") == shards(tmp_path / "local") != {}
    again = run(tmp_path / "remote", **kind, root=where)
    assert made(again) == {"regions": 0, "tokens": 0, "context": 0}


@pytest.mark.parametrize("form", ["csv", "tars"])
def test_tables_keep_both_slashes_of_a_url_and_those_with_one_are_known_again(
    form: str, tmp_path: Path, server: Server, fakes: dict[str, Fake]
) -> None:
    server.root.rmdir()
    make: Any = {"csv": as_folder, "tars": as_tars}[form]
    make(server.root, pairs(3))
    options: dict[str, Any] = (
        {"dataset": "folder", "root": Path(server.url), "table": Path("pairs.csv")}
        if form == "csv"
        else {"dataset": "webdataset", "root": Path(server.url) / "00000.tar"}
    )
    images = [f"{one.id}.{one.ending}" if form == "csv" else "00000.tar" for one in pairs(3)]
    first = run(tmp_path / "cache", **options)
    assert [one.image for one in first.scan.samples] == [f"{server.url}/{name}" for name in images]
    table = tmp_path / "cache" / "d" / "samples.jsonl"
    written, stores = table.read_text(), shards(tmp_path / "cache")
    assert written.count('"image": "http://127.0.0.1') == 3
    old = written.replace('"image": "http://', '"image": "http:/')  # as tables of before have them
    record = table.parent / "dataset.json"
    value = read_json(record)
    value["sha256"]["samples.jsonl"] = hashlib.sha256(old.encode()).hexdigest()
    table.write_text(old)
    write_json(record, value)
    server.sent.clear()
    part = run(tmp_path / "cache", **options, part=Part(0, 1))
    assert [one.image.count("//") for one in part.scan.samples] == [0, 0, 0]  # the table as it is
    again = run(tmp_path / "cache", **options)
    assert made(part) == made(again) == {"regions": 0, "tokens": 0, "context": 0}
    assert not any(path.endswith((".jpg", ".png", ".webp")) for path in server.sent)  # no image is read again
    assert table.read_text() == written
    assert shards(tmp_path / "cache") == stores


@pytest.mark.parametrize("fault", ["503", "cut", "wrong length"])
def test_a_fault_that_passes_is_tried_again(fault: str, server: Server, waits: list[float]) -> None:
    (server.root / "a.bin").write_bytes(bytes(range(256)) * 4)
    server.faults["/a.bin"] = [fault, fault]
    assert read_bytes(Path(f"{server.url}/a.bin"), 2000) == bytes(range(256)) * 4
    assert waits == [0.5, 2.0]


@pytest.mark.parametrize("fault", ["503", "loop", "endless", "401"])
def test_a_fault_that_stays_is_no_fact_about_the_file(fault: str, server: Server, waits: list[float]) -> None:
    (server.root / "a.bin").write_bytes(b"abcd")
    server.faults["/a.bin"] = [fault] * 9
    with pytest.raises(TransientError, match=r"http://127.0.0.1:\d+/a.bin could not be read"):
        read_bytes(Path(f"{server.url}/a.bin"), 2000)
    assert waits == ([] if fault == "401" else [0.5, 2.0, 8.0])
    assert server.sent["endless"] < 2**26


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_a_slow_server_is_given_up_for_this_time(
    fault: str, server: Server, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SECONDS", 1)  # enough for the second try where the machine is busy
    (server.root / "a.bin").write_bytes(bytes(1000))
    server.faults["/a.bin"] = [fault]
    assert read_bytes(Path(f"{server.url}/a.bin"), 1000) == bytes(1000)
    assert waits == [0.5]
    monkeypatch.setattr(web, "SECONDS", 0.1)
    server.faults["/a.bin"] = [fault] * 4
    with pytest.raises(TransientError, match=r"a.bin could not be read: .*Timeout"):
        read_bytes(Path(f"{server.url}/a.bin"), 1000)


@pytest.mark.parametrize("declared", [600, 1400])
def test_a_server_that_lies_about_a_length_gives_nothing(declared: int, server: Server) -> None:
    (server.root / "a.bin").write_bytes(bytes(1000))
    server.sizes["/a.bin"] = declared
    with pytest.raises(TransientError, match=r"bytes where 1400 were asked for|there are 600 bytes and 1000"):
        read_bytes(Path(f"{server.url}/a.bin"), 2000)


def test_redirects_are_followed_but_not_out_of_the_web(server: Server, tmp_path: Path) -> None:
    (server.root / "b.bin").write_bytes(b"abcd")
    (tmp_path / "secret").write_bytes(b"of this machine")
    for n in range(5):
        server.redirects[f"/{n}"] = f"/{n + 1}" if n < 4 else "/b.bin"
    assert read_bytes(Path(f"{server.url}/0"), 10) == b"abcd"
    for n in range(5, 9):
        server.redirects[f"/{n}"] = "/0"
        with pytest.raises(TransientError, match=f"/{n} could not be read: TooManyRedirects"):
            read_bytes(Path(f"{server.url}/{n}"), 10)
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/a", "memory://set/a"):
        server.redirects["/9"] = target
        with pytest.raises(TransientError, match=r"/9 could not be read: .*(NonHttpUrl|redirect only)"):
            read_bytes(Path(f"{server.url}/9"), 100)
    server.redirects["/9"] = "/nothing?X-Amz-Signature=s3cret"  # a signed address is not shown
    with pytest.raises(BadFile, match="is missing") as caught:
        read_bytes(Path(f"{server.url}/9"), 100)
    server.redirects["/9"] = "http://127.0.0.1:1/b?X-Amz-Signature=s3cret"
    with pytest.raises(TransientError) as late:
        read_bytes(Path(f"{server.url}/9"), 100)
    assert "s3cret" not in f"{caught.value} {late.value} {late.value.__cause__}"


def test_a_missing_or_large_file_is_bad(server: Server) -> None:
    (server.root / "a.bin").write_bytes(b"abcd")
    with pytest.raises(BadFile, match="is missing"):
        read_bytes(Path(f"{server.url}/b.bin"), 10)
    with pytest.raises(BadFile, match="4 bytes, at most 3"):
        Locator(Path(f"{server.url}/a.bin")).status(3)


def test_a_failing_image_is_left_for_the_next_run(tmp_path: Path, server: Server, fakes: dict[str, Fake]) -> None:
    given = pairs(6)
    server.root.rmdir()
    as_folder(server.root, given)
    table = next(one.name for one in server.root.iterdir() if one.suffix in (".csv", ".tsv", ".jsonl"))
    image = next(one for one in sorted(server.root.rglob("*")) if one.suffix in (".png", ".jpg", ".webp"))
    server.faults[quote(f"/{image.relative_to(server.root)}")] = ["503"] * 4
    options = {"dataset": "folder", "root": Path(server.url), "table": Path(table)}
    first = run(tmp_path / "cache", **options)
    assert (len(first.scan.unread), first.scan.rejected, first.unread) == (1, [], 1)
    assert "the server answers 503" in first.scan.unread[0].reason
    assert made(run(tmp_path / "cache", **options)) == {"regions": 1, "tokens": 1, "context": 1}


def test_a_file_is_read_once_from_front_to_back(server: Server) -> None:
    data = bytes(range(251)) * 30_000  # 7.5 MB: several blocks
    (server.root / "a.tar").write_bytes(data)
    file = open_file(Path(f"{server.url}/a.tar"))
    for at in range(0, len(data), 100_000):
        assert read_at(file, at, 100_000) == data[at : at + 100_000]
    assert server.sent["/a.tar"] == len(data)


def test_images_of_an_archive_cost_one_request_for_each_block(
    tmp_path: Path, server: Server, fakes: dict[str, Fake]
) -> None:
    server.root.rmdir()
    as_tars(server.root, pairs(40), 1)
    options = {"dataset": "webdataset", "root": Path(server.url) / "{00000..00000}.tar"}
    run(tmp_path / "cache", plan=True, **options)
    server.asked.clear()
    server.sent.clear()
    opening._recent.clear()
    summary = run(tmp_path / "cache", part=Part(0, 1), **options)
    assert made(summary) == {"regions": 40, "tokens": 40, "context": 40}
    assert server.sent["/00000.tar"] == (server.root / "00000.tar").stat().st_size
    assert len(server.asked) <= 6  # one block; the state as the run begins, by each worker, and as the file is opened


def test_an_archive_that_changes_under_a_part_gives_no_other_image(
    tmp_path: Path, server: Server, fakes: dict[str, Fake]
) -> None:
    """Within the seconds in which the state is not asked for again, the digests tell."""
    server.root.rmdir()
    given = pairs(8)
    as_tars(server.root, given, 1)
    options = {"dataset": "webdataset", "root": Path(server.url) / "{00000..00000}.tar"}
    first = run(tmp_path / "cache", plan=True, **options)
    samples = list(first.scan.samples)
    for one in samples:
        image_as_scanned(one)
    path = server.root / "00000.tar"
    data = bytearray(path.read_bytes())
    place = samples[3].within
    data[place["at"] : place["at"] + place["bytes"]] = picture(99, "PNG", (3, 2)).ljust(place["bytes"], b"\0")
    path.write_bytes(data)
    locator._open_archives._open.clear()
    with pytest.raises(TransientError, match="has changed since it was scanned"):
        image_as_scanned(samples[3])
    assert image_as_scanned(samples[4]).shape == (18, 24, 3)


def test_a_change_is_seen_by_the_tag(server: Server) -> None:
    file, place = server.root / "a.bin", Locator(Path(f"{server.url}/a.bin"))
    file.write_bytes(b"abcd")
    before = place.status(10)
    assert place.status(10) == before
    file.write_bytes(b"efgh")
    assert place.status(10) != before
    assert place.status(10).size == 4


@pytest.mark.parametrize("cell", ["https://h/1.jpg", "s3://b/1.jpg", "../1.jpg", "/etc/1.jpg", "memory://a/1.jpg"])
@pytest.mark.parametrize("root", ["/data", "https://host/data"])
def test_cells_stay_below_the_root(cell: str, root: str) -> None:
    with pytest.raises(ValueError, match=r"outside the root|may not name"):
        image_path(cell, Path(root), containment_check(Path(root)))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("zip://a.jpg::https://h/a.zip", "chains"),
        ("simplecache::s3://b/a.jpg", "chains"),
        ("file:///etc/a.jpg", "may not name"),
        ("ftp://h/a.jpg", "may not name"),
        ("https://me:s3cret@h/a.jpg", "a user or a password"),
        ("https://h/a.jpg?X-Amz-Signature=s3cret", "a query"),
    ],
)
def test_urls_in_cells_are_few(cell: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        image_path(cell, Path("/data"), lambda path: True)
    assert "s3cret" not in str(caught.value)
    assert image_path("https://h/a.jpg", Path("/data"), lambda path: True) == Path("https:/h/a.jpg")


def test_names_are_no_queries() -> None:
    assert remote.url(Path("https:/h/d") / "a?b=c#d 1%.jpg") == "https://h/d/a%3Fb=c%23d%201%25.jpg"
    assert remote.url(Path("https://h/my%20set")) == "https://h/my%20set"


@pytest.mark.parametrize(
    "root", ["https://me:s3cret@h/d", "https://h/d.tar?token=s3cret", "simplecache::https://h/d", "zip://d::s3://b/s"]
)
@pytest.mark.parametrize("kind", ["folder", "webdataset", "msed"])
def test_roots_with_credentials_or_chains_are_refused(root: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(tmp_path / "cache", dataset=kind, root=Path(root))
    assert "s3cret" not in f"{caught.value} {vars(caught.value)}"
    assert not (tmp_path / "cache").exists()


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    remote._filesystem.cache_clear()
    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(DataError, match="s3:// cannot be opened: Install s3fs"):
        remote.named_place("s3://bucket/data")


def test_storage_options_and_urls_are_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {"secret": "abcdefgh"})
    assert remote.scrub("key abcdefgh at https://u:p@h/a?sig=12") == "key *** at https://***@h/a?***"
