"""The cache folder: room, permissions, and whether its file system does what a crash-safe store asks of it.

A store is committed by writing a temporary file, flushing it, and linking or renaming it (`disk.py`). Each of these is
tried in a folder of its own, which is removed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .. import disk
from ..paths import cache_root
from .finding import Asked, Finding, bad, doubtful, gigabytes, good

LITTLE_ROOM = 10e9
"""Bytes below which the features of MVSA-Multiple may not fit; a tenth of it is too little for any data set."""

FEW_FILES = 10_000
"""Files that may still be made below which a large store may not fit."""

CLOCK_SECONDS = 5.0
"""The difference of the file system's clock to the machine's that is told."""

ELSEWHERE = "choose another place with --cache DIR or ITIN_CACHE"

DOUBTFUL_KINDS = {
    **dict.fromkeys(("tmpfs", "ramfs"), "it is held in memory and gone after a restart"),
    **dict.fromkeys(("overlay", "aufs"), "it belongs to a container and may be gone with it"),
    **dict.fromkeys(("cifs", "smb3", "smbfs"), "links and locks of this kind depend on its server"),
    **dict.fromkeys(("vfat", "msdos", "exfat"), "it has no links and no permissions, and files of 4 GB at most"),
    **dict.fromkeys(("fuse.sshfs", "9p", "vboxsf", "drvfs"), "it is slow with many files, and may flush nothing"),
}
"""Kinds of file system -> why a cache stands better elsewhere."""

MOUNTS = Path("/proc/self/mountinfo")


def cache_folder(asked: Asked) -> Iterator[Finding]:
    """Check the cache folder, or where it will be made; nothing is left there."""
    root = cache_root(asked.cache).absolute()
    there = next(one for one in (root, *root.parents) if os.path.lexists(one))
    if not there.is_dir():
        yield bad(f"{root} cannot be a folder: {there} is a file or a broken link", ELSEWHERE)
        return
    yield _room(root, there)
    yield _kind(there)
    try:
        probe = Path(tempfile.mkdtemp(prefix=f"{disk.TEMPORARY}doctor-", dir=there))
    except OSError as error:
        what = f"cannot write to {there}" if there == root else f"cannot make {root}"
        yield bad(f"{what}: {error.strerror or error}", f"make it writable for you, or {ELSEWHERE}")
        return
    try:
        yield from _stores(root)
        yield from _operations(probe)
        yield _clock(probe)
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def kind_of(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of file system that a folder is on, such as `ext4` or `nfs4`; None where the system does not say.

    Args:
        folder: the folder, which exists.
        mounts: the system's table of mounts.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    device, path = folder.stat().st_dev, folder.resolve()
    found: dict[tuple[bool, int, int], str] = {}  # the mount of the same device, the deepest, the last
    for number, line in enumerate(lines):
        fields, _, more = line.partition(" - ")
        _, _, major_minor, _, where, *_ = fields.split()
        at = Path(re.sub(r"\\([0-7]{3})", lambda one: chr(int(one[1], 8)), where))  # a space is \040
        if path.is_relative_to(at):
            same = major_minor == f"{os.major(device)}:{os.minor(device)}"
            found[(same, len(at.parts), number)] = more.split()[0]
    return found[max(found)] if found else None


def _room(root: Path, there: Path) -> Finding:
    free = shutil.disk_usage(there).free
    found = f"{root}{'' if there == root else ' (not made yet)'}: {gigabytes(free)} free"
    if free < LITTLE_ROOM:
        state = bad if free < LITTLE_ROOM / 10 else doubtful
        return state(found, f"free some space, or {ELSEWHERE}; `itin cache rm` removes stores")
    status = os.statvfs(there) if hasattr(os, "statvfs") else None
    if status is not None and status.f_files and status.f_favail < FEW_FILES:
        return doubtful(f"{found}, but {status.f_favail} more files only", f"remove some files, or {ELSEWHERE}")
    return good(found)


def _kind(there: Path) -> Finding:
    kind = kind_of(there)
    if kind is None:
        return good("this system does not tell the kind of its file system")
    if (why := DOUBTFUL_KINDS.get(kind)) is not None:
        return doubtful(f"file system {kind}: {why}", ELSEWHERE)
    return good(f"file system {kind}")


def _stores(root: Path) -> Iterator[Finding]:
    """Name folders of data sets and stores that another user made and this one cannot write to."""
    folders = [one for level in ("*", "*/*") for one in root.glob(level) if one.is_dir()]
    closed = [one for one in folders if not os.access(one, os.R_OK | os.W_OK | os.X_OK)]
    if closed:
        more = f" and {len(closed) - 1} more" * (len(closed) > 1)
        yield doubtful(f"no permission to write to {closed[0]}{more}", "chmod g+w for a shared cache, or " + ELSEWHERE)


def _operations(probe: Path) -> Iterator[Finding]:
    """Try what a commit does: each by itself, so that each has a line when it fails."""
    file, taken = probe / "a", probe / "b"
    tried: dict[str, tuple[Callable[[], object], Callable[[str], Finding]]] = {
        "write and fsync": (lambda: _synced(file), _fatal),
        "link": (lambda: _linked(file, taken), _links),
        "rename": (lambda: _renamed(probe), _fatal),
        "fsync of a folder": (lambda: _folder_synced(probe), _folders),
        "lock": (lambda: _locked(file), _locks),
    }
    works = []
    for name, (try_it, fault) in tried.items():
        try:
            try_it()
        except OSError as error:
            yield fault(f"{name} does not work here: {error.strerror or error}")
        else:
            works.append(name)
    if works:
        yield good(f"{', '.join(works)}: work here")


def _clock(probe: Path) -> Finding:
    """Compare the time that the file system gives to a new file with the machine's."""
    before = time.time()
    _synced(probe / "clock")
    stamp = (probe / "clock").stat().st_mtime
    after = time.time()
    off = stamp - min(max(stamp, before), after)
    if abs(off) <= CLOCK_SECONDS:
        return good("the file system's clock agrees with this machine's")
    found = f"the file system's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    state = bad if abs(off) > disk.STALE_SECONDS / 2 else doubtful
    return state(found, "set both by NTP: files that are being written are told from stale ones by their age")


def _fatal(found: str) -> Finding:
    return bad(found, f"stores cannot be written here: {ELSEWHERE}")


def _links(found: str) -> Finding:
    return doubtful(found, f"run one extraction at a time on it (files are renamed instead), or {ELSEWHERE}")


def _folders(found: str) -> Finding:
    return doubtful(found, f"after a power cut, run `itin cache verify`; or {ELSEWHERE}")


def _locks(found: str) -> Finding:
    return doubtful(found, "run one sweep at a time in a folder on it, or mount it with flock")


def _synced(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"itin")
        file.flush()
        os.fsync(file.fileno())


def _linked(file: Path, taken: Path) -> None:
    """Link a file, and see that a second link to the same name is refused, by which writers know who was first."""
    os.link(file, taken)
    try:
        os.link(file, taken)
    except FileExistsError:
        return
    raise OSError(errno.EIO, "a name that is taken is not refused")


def _renamed(probe: Path) -> None:
    """Rename a file over another, and a folder."""
    (probe / "old").write_bytes(b"old")
    (probe / "new").write_bytes(b"new")
    (probe / "new").replace(probe / "old")
    if (probe / "old").read_bytes() != b"new" or (probe / "new").exists():
        raise OSError(errno.EIO, "the file that was replaced is still there")
    (probe / "folder").mkdir()
    (probe / "folder").rename(probe / "renamed")


def _folder_synced(probe: Path) -> None:
    descriptor = os.open(probe, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(file: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system, where sweeps take no lock
        return
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
