"""The memory that this process may still allocate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MEMORY_SHARE = 0.8
"""The share of the free memory, of the machine or of a device, that features may take; training needs the rest."""

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Return the bytes that may still be allocated on this machine, in its control group and within its limits.

    None where the system does not report them.
    """
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    meminfo = _fields(PROC / "meminfo")
    if "MemAvailable" in meminfo:
        yield meminfo["MemAvailable"] * 1024
    group = _group()
    most, used = _number(group / "memory.max"), _number(group / "memory.current")
    if most is not None and used is not None:
        files = _fields(group / "memory.stat").get("inactive_file", 0)  # freed when memory is short
        yield max(0, most - used + files)
    try:
        import resource
    except ImportError:  # not on this system
        return
    status = _fields(PROC / "self" / "status")
    for limit, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and field in status:
            yield max(0, soft - status[field] * 1024)


def _group() -> Path:
    """Return the folder of this process's control group (version 2)."""
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return CGROUP
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    folder = CGROUP / own.lstrip("/")
    return folder if (folder / "memory.max").exists() else CGROUP


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with one name and number per line."""
    fields = {}
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            fields[words[0]] = int(words[1])
    return fields


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
