"""The cache folder: room, kind of file system, permissions, what a commit needs, and the clock."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from itin.doctor import folders
from itin.doctor.finding import Asked, Finding

Usage = namedtuple("Usage", "total used free")


def of(findings: list[Finding], part: str) -> Finding:
    (found,) = [one for one in findings if part in one.found]
    return found


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 50e9))


def test_a_sound_folder_is_good_and_is_left_as_it_was(roomy: None, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    found = list(folders.cache_folder(Asked(cache=cache)))
    works = of(found, "work here")
    assert works.state == "good"
    assert works.found == "write and fsync, link, rename, fsync of a folder, lock: work here"
    assert of(found, "50.0 GB free").found == f"{cache} (not made yet): 50.0 GB free"
    assert of(found, "clock").state == "good"
    assert list(tmp_path.iterdir()) == []
    cache.mkdir(parents=True)
    assert of(list(folders.cache_folder(Asked(cache=cache))), "50.0 GB free").found == f"{cache}: 50.0 GB free"
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("free", "state"), [(20e9, "good"), (9e9, "doubtful"), (0.9e9, "bad")])
def test_room(free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
    found = of(list(folders.cache_folder(Asked(cache=tmp_path))), "GB free")
    assert found.state == state
    assert f"{free / 1e9:.1f} GB free" in found.found
    assert state == "good" or "--cache DIR" in str(found.next_step)


def test_the_cache_of_the_environment(roomy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITIN_CACHE", str(tmp_path / "mine"))
    assert of(list(folders.cache_folder(Asked())), "GB free").found.startswith(f"{tmp_path / 'mine'} (not made yet)")


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_no_folder(kind: str, tmp_path: Path) -> None:
    where = tmp_path / "cache"
    if kind == "file":
        where.write_bytes(b"")
    else:
        where.symlink_to(tmp_path / "gone")
    (found,) = folders.cache_folder(Asked(cache=where / "below"))
    assert found.state == "bad"
    assert f"{where} is a file or a broken link" in found.found


def test_another_users_folder_is_bad(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from itin.doctor.finding import Asked\n"
        "from itin.doctor import folders\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "for one in folders.cache_folder(Asked(cache=Path(sys.argv[1]))): print(one.state, one.found, one.next_step)"
    )
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "closed").mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "closed")], capture_output=True, text=True, check=True
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"bad cannot write to {tmp_path / 'closed'}: Permission denied make it writable")
    below = str(tmp_path / "closed" / "cache")
    done = subprocess.run([sys.executable, "-c", code, below], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith(f"bad cannot make {below}: Permission denied")


def test_stores_of_another_user_are_named(roomy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "mvsa-single" / "tokens-1"
    store.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != store)
    found = of(list(folders.cache_folder(Asked(cache=tmp_path))), "no permission")
    assert (found.state, found.found) == ("doubtful", f"no permission to write to {store}")


@pytest.mark.parametrize(
    ("call", "name", "state"),
    [("link", "link", "doubtful"), ("fsync", "write and fsync", "bad"), ("open", "fsync of a folder", "doubtful")],
)
def test_what_does_not_work(
    call: str, name: str, state: str, roomy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(folders, "_clock", lambda _: Finding("good", "clock"))
    monkeypatch.setattr(folders.tempfile, "mkdtemp", lambda **_: str(tmp_path / "probe"))
    (tmp_path / "probe").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        findings = list(folders.cache_folder(Asked(cache=tmp_path)))
    found = of(findings, f"{name} does not work here")
    assert (found.state, found.found) == (state, f"{name} does not work here: Operation not permitted")
    assert name not in of(findings, ": work here").found.split(", ")


def test_a_link_that_replaces_is_no_link(roomy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda one, other: shutil.copy(one, other))
    found = of(list(folders.cache_folder(Asked(cache=tmp_path))), "link does not")
    assert found.found.endswith("a name that is taken is not refused")


@pytest.mark.parametrize(
    ("off", "state", "says"),
    [
        (2, "good", "agrees"),
        (600, "doubtful", "600 s ahead of"),
        (-600, "doubtful", "600 s behind"),
        (-50_000, "bad", "50000 s behind"),
    ],
)
def test_clock(off: int, state: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = folders.time.time()
    monkeypatch.setattr(folders.time, "time", lambda: now)
    real = folders._synced

    def written(path: Path) -> None:
        real(path)
        os.utime(path, (now + off, now + off))

    monkeypatch.setattr(folders, "_synced", written)
    found = folders._clock(tmp_path)
    assert found.state == state
    assert says in found.found


def test_kind_of_file_system(tmp_path: Path, roomy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    spaced = tmp_path / "a b"
    spaced.mkdir()
    escaped = str(spaced).replace(" ", "\\040")
    mounts.write_text(
        f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path.parent} rw shared:1 - nfs4 host:/x rw\n"
        f"3 1 0:3 / {escaped} rw - tmpfs none rw\n4 1 0:4 / {tmp_path}x rw - xfs /dev/b rw\n"
    )
    assert folders.kind_of(tmp_path, mounts) == "nfs4"
    assert folders.kind_of(spaced, mounts) == "tmpfs"
    assert folders.kind_of(Path("/"), mounts) == "ext4"
    assert folders.kind_of(tmp_path, tmp_path / "none") is None
    for kind, state in {"xfs": "good", "nfs4": "good", "tmpfs": "doubtful", "overlay": "doubtful"}.items():
        monkeypatch.setattr(folders, "kind_of", lambda _, kind=kind: kind)
        found = of(list(folders.cache_folder(Asked(cache=spaced))), f"file system {kind}")
        assert found.state == state
