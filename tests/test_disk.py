"""Files and folders that are whole or absent, whoever races and whatever fails."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from itin import disk
from itin.errors import CacheError, RunError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_taken_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    assert disk.create(path, b"first")
    assert not disk.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["shard"]


def test_where_links_are_refused_files_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert disk.create(tmp_path / "shard", b"first")
    assert not disk.create(tmp_path / "shard", b"second")
    assert (tmp_path / "shard").read_bytes() == b"first"


def test_a_lost_reply_counts_as_won(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lose_reply(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lose_reply)
    assert disk.create(tmp_path / "shard", b"ours")


def test_a_temporary_file_that_was_taken_away_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    calls = []

    def sweep_first(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 1:
            Path(source).unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", sweep_first)
    assert disk.create(tmp_path / "shard", b"ours")
    assert (tmp_path / "shard").read_bytes() == b"ours"


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-old", tmp_path / ".tmp-young"
    for path in (old, young):
        path.write_bytes(b"x")
    long_ago = time.time() - 25 * 3600
    os.utime(old, (long_ago, long_ago))
    disk.remove_stale(tmp_path)
    assert names(tmp_path) == [".tmp-young"]


def test_of_old_temporaries_those_of_a_name_are_removed_folders_too(tmp_path: Path) -> None:
    long_ago = time.time() - 25 * 3600
    kept = [".tmp-a[1]-young", ".tmp-a1-old", ".tmp-a[1]", "a[1]"]
    for name in [*kept, ".tmp-a[1]-old"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(b"x")
        for path in (tmp_path / name / "data", tmp_path / name):
            os.utime(path, (long_ago, long_ago))
    (tmp_path / kept[0] / "data").write_bytes(b"more")  # which the folder's own time does not tell
    disk.remove_stale(tmp_path, "a[1]")
    assert names(tmp_path) == sorted(kept)


def test_what_holds_these_bytes_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    disk.replace(path, b"one")
    before = path.stat().st_ino
    disk.replace(path, b"one")
    assert path.stat().st_ino == before
    disk.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["table.csv"]


def test_a_folder_is_synced_after_what_was_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        fsync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", watch)
    disk.replace(tmp_path / "file", b"x")
    assert synced[-1] == tmp_path
    disk.create_folder(tmp_path / "run", {"a": b"1", "b": b"2"})
    assert synced[-1] == tmp_path
    assert [path.name for path in synced[2:4]] == ["a", "b"]
    assert synced[4].parent == tmp_path
    assert synced[4].name.startswith(disk.TEMPORARY)


def test_folders_that_hold_new_ones_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "_sync", synced.append)
    disk.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    disk.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_a_folder_is_filled_and_then_whole_or_absent(tmp_path: Path) -> None:
    def fill(path: Path, broken: bool) -> None:
        with disk.creating_folder(path) as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_bytes(b"x")
            if broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(RunError, match=r"cannot write .*out: Input/output error"):
        fill(tmp_path / "out", broken=True)
    assert names(tmp_path) == []
    fill(tmp_path / "out", broken=False)
    assert (tmp_path / "out" / "inner" / "file").read_bytes() == b"x"
    with pytest.raises(RunError, match="already exists"):
        fill(tmp_path / "out", broken=False)
    assert names(tmp_path) == ["out"]


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "export.h5"
    path.write_bytes(b"old")

    def fault(path: Path, error: OSError) -> CacheError:
        return CacheError(f"no {path.name}: {error.strerror}")

    def fail() -> None:
        with disk.replacing(path, fault) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CacheError, match=r"no export\.h5: No space left"):
        fail()
    assert path.read_bytes() == b"old"
    with disk.replacing(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["export.h5"]


def test_a_folder_takes_the_next_free_name_or_none(tmp_path: Path) -> None:
    files = {"config.json": b"{}"}
    made = [disk.create_folder(tmp_path / "deep" / "run", files, numbered=True) for _ in range(3)]
    assert [path.name for path in made] == ["run", "run-2", "run-3"]
    with pytest.raises(RunError, match=r"cannot write .*run: .*run already exists"):
        disk.create_folder(made[0], {})
    assert names(tmp_path / "deep") == ["run", "run-2", "run-3"]
    assert names(made[2]) == ["config.json"]


def test_what_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*no/file: No such file[\s\S]*finished work is kept"):
        disk.replace(tmp_path / "no" / "file", b"")
    with pytest.raises(RunError, match="cannot write"):
        disk.make_folder(Path("/dev/null/nofolder"))


def test_a_record_is_read_back_or_its_error_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(
        RunError, match=r"is not a box\n  expected: .*record.json that `itin pack` writes\n  found:    a f"
    ):
        disk.record_of(tmp_path, "record.json", "a box", "itin pack")
    disk.replace(path, disk.to_json({"format": 3, "λ": [0.1, None]}))
    assert disk.record_of(tmp_path, "record.json", "a box", "itin pack") == path
    assert disk.read_record(path, "pack again") == disk.read_record(path, "", 3) == {"format": 3, "λ": [0.1, None]}
    with pytest.raises(RunError, match=r"version\n  expected: format 4\n  found:    format 3\n  next:     pack again$"):
        disk.read_record(path, "pack again", 4)
    with pytest.raises(RunError, match=r"newer than this itin\n  .*format 2\n  .*format 3\n  next:     update itin$"):
        disk.read_record(path, "pack again", 2)
    with pytest.raises(CacheError, match=r"another format version\n  .*format 1\n  found:    format x"):
        disk.check_format(path, "x", 1, "", CacheError)
    missing = r"record.json does not describe a box of this itin\n  found:    missing 'size'"
    with pytest.raises(RunError, match=missing), disk.describing(path, "a box", "pack again"):
        _ = disk.read_record(path, "")["size"]
    for damaged in ("[3]", "{", "\xff"):
        path.write_bytes(damaged.encode("latin1"))
        with pytest.raises(RunError, match=r"cannot read .*record.json: .*\n  next:     pack again$"):
            disk.read_record(path, "pack again")
