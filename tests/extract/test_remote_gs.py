"""Data sets in Google Cloud Storage, by a server on loopback (gcsfs and gcp-storage-emulator, of no extra)."""

# ruff: noqa: F811  (fixtures that are imported)
from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from itin.errors import DataError, TransientError
from itin.extract.data.places import remote
from itin.extract.data.reading import read_bytes

from ..gcs_server import BUCKET, GcsServer
from .buckets import FORMS, check_like_local
from .forms import as_folder, as_tars, pairs
from .test_remote import run
from .test_remote_stores import fresh  # noqa: F401
from .test_run import Fake, fakes, made  # noqa: F401

pytest.importorskip("fsspec")


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    from fsspec.config import conf

    server = GcsServer()
    monkeypatch.setitem(conf, "gs", server.settings())
    yield server
    server.close()


@pytest.mark.parametrize("form", FORMS)
def test_a_bucket_gives_the_store_of_the_local_folder(
    form: str, tmp_path: Path, gs: GcsServer, fakes: dict[str, Fake]
) -> None:
    there = check_like_local(form, tmp_path, gs)
    assert all(one.image.startswith(f"gs://{BUCKET}/some set/") for one in there.scan.samples)
    written = [one.read_bytes() for one in (tmp_path / "there").rglob("*") if one.is_file()]
    assert written
    assert not any(gs.token.encode() in data for data in written)


@pytest.mark.parametrize("fault", ["503", "cut"])
def test_a_fault_of_gs_that_passes_costs_no_pair(
    fault: str, tmp_path: Path, gs: GcsServer, fakes: dict[str, Fake]
) -> None:
    root = gs.put(as_tars(tmp_path / "data", pairs(6)), "d")
    gs.faults[f"/{BUCKET}/d/00000.tar"] = [fault]
    summary = run(tmp_path / "cache", dataset="webdataset", root=root)
    assert gs.faults[f"/{BUCKET}/d/00000.tar"] == []
    assert (summary.scan.rejected, summary.scan.unread) == ([], [])
    assert made(summary) == {"regions": 6, "tokens": 6, "context": 6}


def test_a_refused_token_is_told_without_it(
    tmp_path: Path, gs: GcsServer, fakes: dict[str, Fake], fresh: list[float]
) -> None:
    root = gs.put(as_folder(tmp_path / "data", pairs(3)), "d")
    old, gs.token = gs.token, "ya29.another"
    for call in (
        lambda: run(tmp_path / "cache", dataset="folder", root=root),
        lambda: read_bytes(root / "pairs.csv", 1000),
    ):
        with pytest.raises((TransientError, DataError), match=r"(?s)access was denied.*next:.*credentials") as caught:
            call()
        assert old not in f"{caught.value} {caught.value.__cause__} {vars(caught.value)}"
    named = run(tmp_path / "cache", dataset="webdataset", root=root / "{0..1}.tar")
    assert (named.scan.rejected, len(named.scan.unread)) == ([], 2)
    assert fresh == []  # no use in trying again


def test_a_token_that_has_expired_is_access_denied(gs: GcsServer) -> None:
    from gcsfs.retry import HttpError

    def expired() -> None:
        raise HttpError({"code": 401, "message": f"Invalid Credentials: {gs.token}"})

    with pytest.raises(PermissionError, match="access was denied") as caught:
        remote._calling(expired)
    assert caught.value.errno == errno.EACCES
    assert gs.token not in str(caught.value)


def test_a_missing_object_is_missing(gs: GcsServer) -> None:
    with pytest.raises(FileNotFoundError, match="is missing"):
        remote.state(Path(f"gs://{BUCKET}/none.tar"))
