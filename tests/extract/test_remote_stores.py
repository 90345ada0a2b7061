"""Data sets in S3 and on the hub, by servers on loopback: listings, retries, refused keys, no secret anywhere."""

# ruff: noqa: F811  (fixtures that are imported)
from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from itin.errors import DataError, TransientError
from itin.extract.data import reading
from itin.extract.data.places import opening, remote
from itin.extract.data.places.opening import open_file, read_at
from itin.extract.data.reading import read_bytes

from ..loopback_hub import LoopbackHub
from ..s3_server import BUCKET, S3Server
from .buckets import FORMS, check_like_local
from .forms import as_folder, as_parquet, as_tars, pairs
from .test_remote import run, shards
from .test_run import Fake, fakes, made  # noqa: F401

pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """No clients of other tests; the waits between tries, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(reading.time, "sleep", found.append)
    _forget()
    yield found
    _forget()


def _forget() -> None:
    remote._filesystem.cache_clear()
    opening._recent.clear()
    if "s3fs" in sys.modules:
        sys.modules["s3fs"].S3FileSystem.clear_instance_cache()
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub"].HfFileSystem.clear_instance_cache()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    server = S3Server()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.mark.parametrize("form", FORMS)
def test_a_bucket_gives_the_store_of_the_local_folder(
    form: str, tmp_path: Path, s3: S3Server, fakes: dict[str, Fake]
) -> None:
    check_like_local(form, tmp_path, s3)


@pytest.mark.parametrize("fault", ["503", "cut"])
@pytest.mark.parametrize("form", ["images", "tar", "parquet"])
def test_a_fault_of_s3_that_passes_costs_no_pair(
    form: str, fault: str, tmp_path: Path, s3: S3Server, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)  # ours are tested, not those within the package
    given, local = pairs(6), tmp_path / "data"
    make: Any = {"images": as_folder, "tar": as_tars, "parquet": as_parquet}[form]
    make(local, given)
    root = s3.put(local, "d")
    name = next(one.name for one in sorted(local.iterdir()) if one.suffix in (".jpg", ".tar", ".parquet"))
    s3.faults[f"/{BUCKET}/d/{name}"] = [fault, fault]
    kind = "webdataset" if form == "tar" else "folder"
    summary = run(tmp_path / "cache", dataset=kind, root=root)
    assert s3.faults[f"/{BUCKET}/d/{name}"] == []
    assert (summary.scan.rejected, summary.scan.unread) == ([], [])
    assert made(summary) == {"regions": 6, "tokens": 6, "context": 6}


@pytest.mark.parametrize("form", ["images", "parquet"])
def test_a_fault_of_s3_that_stays_is_left_for_the_next_run(
    form: str, tmp_path: Path, s3: S3Server, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    local = tmp_path / "data"
    given = pairs(6)
    as_folder(local, given) if form == "images" else as_parquet(local, given)
    root = s3.put(local, "d")
    run(tmp_path / "cache", dataset="folder", root=root, plan=True)
    name = next(one.name for one in sorted(local.iterdir()) if one.suffix in (".jpg", ".parquet"))
    opening._recent.clear()
    s3.faults[f"/{BUCKET}/d/{name}"] = ["cut"] * 400
    left = dict.fromkeys(("regions", "tokens", "context"), 6)
    if form == "images":
        first = run(tmp_path / "cache", dataset="folder", root=root)
        assert (first.scan.rejected, first.unread) == ([], 1)
        assert not any(store.quarantined for store in first.stores)
        left = {"regions": 1, "tokens": 0, "context": 1}
    else:
        with pytest.raises(TransientError, match=r"pairs-00000.parquet could not be read"):
            run(tmp_path / "cache", dataset="folder", root=root)
    s3.faults.clear()
    again = run(tmp_path / "cache", dataset="folder", root=root)
    assert (again.scan.rejected, again.unread) == ([], 0)
    assert made(again) == left


def test_a_refused_key_is_told_without_the_secret(
    tmp_path: Path, s3: S3Server, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch, fresh: list[float]
) -> None:
    root = s3.put(as_folder(tmp_path / "data", pairs(3)), "d")
    for name, value in s3.environment("an0ther/Secret", "AKIAWRONG").items():
        monkeypatch.setenv(name, value)
    _forget()
    for call in (
        lambda: run(tmp_path / "cache", dataset="folder", root=root),
        lambda: run(tmp_path / "cache", dataset="webdataset", root=root),
        lambda: read_bytes(root / "pairs.csv", 1000),
    ):
        with pytest.raises((TransientError, DataError), match=r"(?s)access was denied.*next:.*credentials") as caught:
            call()
        told = f"{caught.value} {caught.value.__cause__} {vars(caught.value)}"
        assert not any(secret in told for secret in ("an0ther", "AKIAWRONG", s3.secret))
    named = run(tmp_path / "cache", dataset="webdataset", root=root / "{0..1}.tar")
    assert [one.reason.partition(": s3")[2] for one in named.scan.unread] == [
        f"://{BUCKET}/d/{n}.tar could not be read: access was denied" for n in range(2)
    ]
    assert fresh == []  # no use in trying again


def test_a_key_that_expires_puts_nothing_in_quarantine(tmp_path: Path, s3: S3Server, fakes: dict[str, Fake]) -> None:
    root = s3.put(as_folder(tmp_path / "data", pairs(3)), "d")
    run(tmp_path / "cache", dataset="folder", root=root, plan=True)
    s3.key = "AKIANEW"
    with pytest.raises((TransientError, DataError), match="access was denied"):
        run(tmp_path / "cache", dataset="folder", root=root)
    images = [root / f"{one.id}.{one.ending}" for one in pairs(3)]
    for one in images:
        with pytest.raises(TransientError, match="access was denied"):
            read_bytes(one, 10**6)


def test_a_large_object_is_read_in_bounded_memory(tmp_path: Path, s3: S3Server) -> None:
    (tmp_path / "d").mkdir()
    whole = os.urandom(2**20) * 40
    (tmp_path / "d" / "a.tar").write_bytes(whole)
    root = s3.put(tmp_path / "d", "d")
    del whole
    file = open_file(root / "a.tar")
    tracemalloc.start()
    for at in range(0, 40 * 2**20, 2**20):
        assert len(read_at(file, at, 2**20)) == 2**20
        held = tracemalloc.get_traced_memory()[0]
        assert held < 80 * 2**20, at  # 8 blocks of 2 MB of ours; the server in this process holds the object
    tracemalloc.stop()
    assert len(file._blocks) == 8  # type: ignore[attr-defined]
    assert s3.sent[f"/{BUCKET}/d/a.tar"] == 40 * 2**20


def test_the_command_leaves_no_secret_anywhere(tmp_path: Path, s3: S3Server) -> None:
    """`itin extract` from a bucket, in a process of its own: nothing that it writes or prints holds a credential."""
    root = s3.put(as_tars(tmp_path / "data", pairs(6)), "d")
    words = [
        "extract",
        "--dataset",
        "webdataset",
        "--root",
        remote.url(root),
        "--only",
        "context",
        "--random-init",
        "0",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "itin", *words, "--cache", tmp_path / "cache"],
        capture_output=True,
        check=False,
        env={**os.environ, **s3.environment(), "FSSPEC_S3_KEY": s3.key, "FSSPEC_S3_SECRET": s3.secret},
    )
    assert done.returncode == 0, done.stderr.decode()
    written = [one for one in (tmp_path / "cache").rglob("*") if one.is_file()]
    assert {"dataset.json", "samples.jsonl", "manifest.json"} <= {one.name for one in written}
    for data in (done.stdout, done.stderr, *(one.read_bytes() for one in written)):
        assert s3.secret.encode() not in data
        assert s3.key.encode() not in data


@pytest.mark.parametrize("form", ["csv", "tars", "parquet"])
def test_the_hub_gives_the_store_of_the_local_folder(
    form: str, tmp_path: Path, hub: LoopbackHub, fakes: dict[str, Fake]
) -> None:
    local, given = tmp_path / "data", pairs(8)
    make: Any = {"csv": as_folder, "tars": as_tars, "parquet": as_parquet}[form]
    make(local, given)
    hub.add("us/set", local)
    kind = "webdataset" if form == "tars" else "folder"
    here = run(tmp_path / "local", dataset=kind, root=local)
    there = run(tmp_path / "there", dataset=kind, root=Path("hf://datasets/us/set"))
    assert (there.scan.rejected, there.scan.unread) == ([], [])
    assert made(there) == made(here) == {"regions": 8, "tokens": 8, "context": 8}
    assert shards(tmp_path / "there") == shards(tmp_path / "local") != {}
    if form == "csv":
        images = [one for one in hub.asked("GET", "/resolve/") if one.path.endswith((".jpg", ".png", ".webp"))]
        assert len(images) == 16  # each once by the scan and once by the extraction
        assert len(hub.asked("GET", "/tree/")) == 1  # no folder is listed for the sake of an image
    else:
        name = next(local.iterdir()).name
        ranges = [one.headers["Range"] for one in hub.asked("GET", f"/files/us/set/{name}")]
        assert set(ranges) == {f"bytes=0-{(local / name).stat().st_size - 1}"}  # nothing is read ahead


def test_a_token_that_is_refused_is_no_missing_file(tmp_path: Path, hub: LoopbackHub, fakes: dict[str, Fake]) -> None:
    hub.add("us/set", as_folder(tmp_path / "data", pairs(3)), "private")
    with pytest.raises(TransientError, match=r"(?s)no such repository, or access was denied.*next:.*credentials"):
        run(tmp_path / "cache", dataset="folder", root=Path("hf://datasets/us/set"))
    with pytest.raises(TransientError, match="access was denied"):
        read_bytes(Path("hf://datasets/us/set/00000.jpg"), 10**6)


def test_a_protocol_whose_package_is_missing_is_told(tmp_path: Path) -> None:
    try:
        import gcsfs  # noqa: F401
    except ImportError:
        with pytest.raises(DataError, match=r"(?s)gs:// cannot be opened: .*gcsfs.*next:     install the package"):
            run(tmp_path / "cache", dataset="folder", root=Path("gs://bucket/data"))
    else:
        pytest.skip("gcsfs is installed")
