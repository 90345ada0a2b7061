"""Disk full, permission denied, read-only, folder gone: one clear error, and the store stays as good as it was."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from itin import disk
from itin.cache import Store, StoreWriter, open_store
from itin.cache.format.sealed_json import write_error
from itin.cache.upkeep.verify import verify
from itin.errors import CacheError

from .. import features
from ..features import fill, make_store


def made(parent: Path) -> Store:
    return make_store(parent, features.identity("context"), features.rows(10))


def test_a_file_size_limit_is_one_clear_error(tmp_path: Path) -> None:
    store = made(tmp_path)
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(14), 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CacheError, match=r"cannot write .*shard-00003\.h5: File too large[\s\S]*ulimit -f"):
            fill(writer, rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    as_good_as_before(store)
    assert fill(writer, rows) == 4


def as_good_as_before(store: Store) -> None:
    assert verify(store.path).problems == []
    assert not list(store.path.glob(f"{disk.TEMPORARY}*"))
    values = open_store(store.path).read("context", np.arange(10))
    np.testing.assert_array_equal(values, np.stack([features.sample("context", row)["context"] for row in range(10)]))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_clear_error(small_disk: Path) -> None:
    store = made(small_disk)
    writer = StoreWriter(small_disk, features.identity("context"))
    rows = writer.extend(features.rows(60), 4)
    with pytest.raises(CacheError, match=r"cannot write .*: No space left on device[\s\S]*free some space"):
        fill(writer, rows)
    with pytest.raises(CacheError, match="No space left on device"):
        StoreWriter(small_disk, features.identity("regions")).extend(features.rows(1000), 4)
    kept = {path.name for path in writer.folder.glob("shard-*")}
    assert len(kept) > 3
    report = verify(store.path)
    assert all("is not in the manifest" in problem.what for problem in report.problems)
    assert report.rows == 4 * len(kept) - 2  # the third shard holds two
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    again = StoreWriter(small_disk, features.identity("context"))
    assert fill(again, again.extend(features.rows(60), 4)) == 60 - report.rows
    assert again.finish({})["complete"]
    assert verify(store.path).problems == []


def test_a_read_only_disk_is_one_clear_error_and_can_be_read(small_disk: Path) -> None:
    store = made(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    as_good_as_before(store)
    writer = StoreWriter(small_disk, features.identity("context"))
    rows = writer.extend(features.rows(10), 4)
    assert writer.missing(rows) == []
    assert writer.finish({})["complete"]  # nothing is missing, so nothing is written
    with pytest.raises(CacheError, match=r"Read-only file system[\s\S]*choose another place with --cache DIR"):
        writer.extend(features.rows(11), 4)


STRANGER = """
import os, sys
from pathlib import Path
import numpy as np
from itin.cache import StoreWriter, open_store
from itin.errors import CacheError
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
(folder,) = Path().glob("context-*")
store = open_store(folder)
assert store.read("context", np.arange(10)).shape == (10, 6)
try:
    writer = StoreWriter(Path(), store.identity)
    assert writer.missing(range(10)) == []
    writer.finish({})
    writer.extend([("new", "0" * 64)], 4)
except CacheError as error:
    print(error)
"""


def test_permission_denied_is_one_clear_error(tmp_path: Path) -> None:
    store = made(tmp_path)
    for folder in (tmp_path, store.path):
        folder.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", STRANGER, str(tmp_path)], capture_output=True, text=True, check=False)
    for folder in (tmp_path, store.path):
        folder.chmod(0o755)
    if "PermissionError" in done.stderr and "import" in done.stderr:
        pytest.skip("another user cannot import the package here")
    assert "Permission denied" in done.stdout, done.stderr
    assert "make the folder writable for you, or choose another place with --cache DIR" in done.stdout
    as_good_as_before(store)


def test_an_unreadable_file_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CacheError, match=r"cannot read .*manifest\.json: Input/output error[\s\S]*nothing here says"):
        open_store(store.path)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.EACCES, "make the folder writable"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "fix the cause"),
    ],
)
def test_each_cause_names_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk, "_write", fail)
    with pytest.raises(CacheError, match=remedy):
        disk.create(tmp_path / "shard", b"x", write_error)


def test_a_vanished_folder_is_one_clear_error(tmp_path: Path) -> None:
    store = made(tmp_path)
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(12), 4)
    stored = {row: writer.stored(features.sample("context", row)) for row in rows[10:]}
    shutil.rmtree(store.path)
    with pytest.raises(CacheError, match="the folder vanished while it was written to: run the same command again"):
        writer.commit(3, stored)
    with pytest.raises(CacheError, match=r"shard-00000\.h5 is missing"):
        store.read("context", np.arange(10))
    with pytest.raises(CacheError, match="cannot read"):
        writer.missing(rows)
    with pytest.raises(CacheError, match=r"cannot write .*nofolder"):
        disk.make_folder(Path("/dev/null/nofolder"), write_error)
