"""Writers killed at random instants: nothing half-written is ever seen, nothing is lost or doubled."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from itin.cache import StoreWriter, files, open_store
from itin.cache.manifest import shard_sizes
from itin.cache.shard_reader import Shard
from itin.errors import CacheError

from . import features

COUNT, SHARD = 60, 4

WRITER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("features", sys.argv[2])
features = importlib.util.module_from_spec(spec); spec.loader.exec_module(features)
from pathlib import Path
from itin.cache import StoreWriter
writer = StoreWriter(Path(sys.argv[1]), features.identity("regions"))
rows = writer.extend(features.rows(int(sys.argv[3])), int(sys.argv[4]))
print("ready", flush=True)
for piece in writer.missing(rows):
    writer.commit(piece.block, {row: writer.stored(features.sample("regions", row)) for row in piece.rows})
writer.finish({})
"""


def start(parent: Path) -> subprocess.Popen[bytes]:
    arguments = [str(parent), features.__file__, str(COUNT), str(SHARD)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE)


def torture(parent: Path, kills: int, seed: int) -> None:
    """Three racing writers, one after the other killed and replaced, while every shard that appears is read."""
    chance = random.Random(seed)
    writers = [start(parent) for _ in range(3)]
    for _ in range(kills):
        victim = chance.randrange(3)
        stdout = writers[victim].stdout
        assert stdout is not None
        stdout.readline()  # its imports are over: the kill falls into the work
        time.sleep(chance.random() * 0.02)
        writers[victim].send_signal(signal.SIGKILL)
        writers[victim].communicate()
        for path in parent.glob("*/shard-*.h5"):
            check(Shard(path, path_fingerprint(parent)))
        if all(writer.poll() is not None for i, writer in enumerate(writers) if i != victim):
            for path in list(parent.glob("*/shard-*.h5"))[:: chance.randrange(1, 4)]:
                path.unlink()  # all done: take some shards away, so that there is work again
        writers[victim] = start(parent)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    (folder,) = parent.iterdir()
    store = open_store(folder)
    assert sorted(store.ids) == sorted(sample for sample, _ in features.rows(COUNT))
    for path in folder.glob("shard-*.h5"):
        check(Shard(path, store.fingerprint))
    assert list(shard_sizes(folder)) == [entry["file"] for entry in store.manifest["shards"]]


def check(shard: Shard) -> None:
    regions = shard.array("regions")
    for position, row in enumerate(shard.rows):
        expected = features.sample("regions", int(row))["regions"]
        np.testing.assert_array_equal(regions[position, : len(expected)], expected)


def path_fingerprint(parent: Path) -> str:
    return StoreWriter(parent, features.identity("regions")).fingerprint


def test_survives_kills(tmp_path: Path) -> None:
    torture(tmp_path, kills=8, seed=0)


@pytest.mark.slow
def test_survives_two_hundred_kills(tmp_path: Path) -> None:
    for seed in range(10):
        torture(tmp_path / str(seed), kills=20, seed=seed)


def test_a_taken_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    assert files.create(path, b"first")
    assert not files.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["shard"]


def test_where_links_are_refused_files_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert files.create(tmp_path / "shard", b"first")
    assert not files.create(tmp_path / "shard", b"second")
    assert (tmp_path / "shard").read_bytes() == b"first"


def test_a_lost_reply_counts_as_won(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lose_reply(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose_reply)
    assert files.create(tmp_path / "shard", b"ours")


def test_a_temporary_file_that_was_taken_away_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    calls = []

    def sweep_first(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 1:
            Path(source).unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", sweep_first)
    assert files.create(tmp_path / "shard", b"ours")
    assert (tmp_path / "shard").read_bytes() == b"ours"


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-old", tmp_path / ".tmp-young"
    for path in (old, young):
        path.write_bytes(b"x")
    long_ago = time.time() - 25 * 3600
    os.utime(old, (long_ago, long_ago))
    files.remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-young"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(2), 4)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CacheError, match=r"cannot write .*shard-00000\.h5: File too large[\s\S]*ulimit -f"):
            writer.commit(0, {row: writer.stored(features.sample("context", row)) for row in rows})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sorted(path.name for path in writer.folder.iterdir()) == ["plan.json"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.EACCES, "make the folder writable"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "mend the cause"),
    ],
)
def test_each_cause_names_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_write", fail)
    with pytest.raises(CacheError, match=remedy):
        files.create(tmp_path / "shard", b"x")


def test_a_vanished_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="the folder vanished"):
        files.create(tmp_path / "gone" / "shard", b"x")
