"""Errors of data behind a protocol: a web server and an S3 server on loopback, and addresses that are refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from itin.extract.data.places import remote

from ..s3_server import S3Server
from ..web_server import Server
from .errors import Case, held, wrote
from .world import NAMED

pytest.importorskip("fsspec", reason="needs fsspec, of the extra remote")
pytest.importorskip("aiohttp", reason="needs aiohttp, of the extra test")

FOLDER = ("extract", "--dataset", "folder", *NAMED, "--cache", "new", "--root")
TARS = ("extract", "--dataset", "webdataset", *NAMED, "--cache", "new", "--root")
HEAD = "id,image,text\n"

CASES: dict[str, Case] = {
    "a web server's folder": [(*FOLDER, "SERVER"), (*TARS, "SERVER")],
    "a table that no web server has": [(*FOLDER, "SERVER", "--table", "none.csv")],
    "archives that no web server has": [(*TARS, "SERVER/{00..01}.tar")],
    "pictures that no web server has": [
        wrote("served/t.csv", HEAD + "1,none.jpg,a day\n2,none.jpg,a day\n"),
        (*FOLDER, "SERVER", "--table", "t.csv"),
    ],
    "a table without a column": [wrote("served/t.csv", "id,text\n1,a day\n"), (*FOLDER, "SERVER", "--table", "t.csv")],
    "a web server that fails": [(*FOLDER, "SERVER", "--table", "busy.csv")],
    "a web server that denies access": [(*FOLDER, "SERVER", "--table", "secret.csv")],
    "no web server": [
        (*FOLDER, "http://127.0.0.1:1", "--table", "t.csv"),
        (*TARS, "http://127.0.0.1:1/a.tar"),
    ],
    "a data set that is read from disk": [("extract", "--dataset", "msed", "--root", "SERVER", *NAMED)],
    # Addresses
    "chained addresses": [(*FOLDER, "simplecache::https://host/data"), (*TARS, "zip://data::s3://bucket/data.zip")],
    "secrets in an address": [(*FOLDER, "https://me:secret@host/data"), (*FOLDER, "https://host/data?token=secret")],
    "a protocol that nobody knows": [(*FOLDER, "gopher://host/data")],
    "pictures outside the root": [
        wrote("shop/t.csv", HEAD + "1,https://host/1.jpg,a day\n2,memory://set/2.jpg,a day\n3,/etc/hosts,a day\n"),
        (*FOLDER, "shop"),
    ],
}

S3: dict[str, Case] = {
    "no such bucket": [(*FOLDER, "s3://none/data"), (*FOLDER, "s3://none/data", "--table", "t.csv")],
    "no archives in a bucket": [(*TARS, "s3://none/data"), (*TARS, "s3://none/{00..01}.tar")],
}

ALL = {**CASES, **S3}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes between tries."""
    monkeypatch.setattr("itin.extract.data.reading.time.sleep", lambda seconds: None)


@pytest.fixture
def server(here: Path) -> Iterator[Server]:
    shutil.copytree("MVSA/data", "served")
    for name in ("busy", "secret"):
        Path("served", f"{name}.csv").write_text(HEAD)
    found = Server(Path("served").resolve())
    found.faults = {"/busy.csv": ["503"] * 9, "/secret.csv": ["403"] * 9}
    yield found
    found.close()


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, server: Server) -> None:
    held("remote", ALL, title, server.url)


@pytest.mark.parametrize("title", S3)
def test_error_of_s3(title: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = S3Server()
    try:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        remote._filesystem.cache_clear()
        sys.modules["s3fs"].S3FileSystem.clear_instance_cache()
        held("remote", ALL, title)
    finally:
        server.close()
        remote._filesystem.cache_clear()
