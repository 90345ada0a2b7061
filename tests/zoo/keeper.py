"""What commands say of an animal and leave of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from .. import keeper
from ..keeper import replaced
from .sound import World

EXPECTED = Path(__file__).with_name("expected")

PLAIN = (
    (r"tokens-zoo_encoders_Letters-[0-9a-f]{12}", "TOKENS"),
    (r"context-zoo_encoders_Colour-[0-9a-f]{12}", "CONTEXT"),
    (r"\d+\.\d+ s\b", "T s"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"-[0-9a-f]{12}(?![0-9a-f])", "-PRINT"),
    (r"\b[0-9a-f]{12}\b", "PRINT"),
    (r"\b\d+(\.\d+)? [kM]?B\b", "N kB"),
    (r"\d{3,} bytes", "N bytes"),
    (r" runs in \d+:\d\d(, .* a minute)?", " runs in T"),
    (r"\d+\.\d+", "X"),
    (r"it is not JSON \(.*\)", "it is not JSON (...)"),
    (
        r"cannot read (\S+): (Expecting|Unterminated|Extra|Invalid|'utf-8'|Error tokenizing|No columns).*",
        r"cannot read \1: ...",
    ),
    (r"(?<=instead of )\d{3,}", "N"),
    (r"[─━┄-]{3,}", "---"),
    (r"[ \t]{2,}", "  "),
    (r"^  (options|created|itin|torch|python)  .*", r"  \1  ..."),
    (r" +$", ""),
)
"""What differs from place to place or from one version of a library to another, and what stands for it."""


def plain(text: str, world: World | None = None) -> str:
    if world is not None:
        text = text.replace(str(world.root), "ROOT").replace(str(world.data), "DATA")
    return replaced(text, PLAIN)


def told(world: World, *words: object) -> str:
    """What a command says: exit code, output and errors."""
    return keeper.told(words, lambda text: plain(text, world))


NOBODY = 65534


@contextmanager
def bound_by_permissions(folder: Path) -> Iterator[None]:
    """Run as a user whom permissions bind, who owns a folder: root becomes `nobody` for a while."""
    if os.geteuid() != 0:
        yield
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    """The files below a folder by path, links by where they point; what cannot be read is empty."""
    found = {}
    for parent, folders, files in os.walk(folder):
        files = [one for one in files if one != "results.parquet"]  # only where pyarrow is installed
        for name in [*files, *(one for one in folders if (Path(parent) / one).is_symlink())]:
            path = Path(parent) / name
            key = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[key] = str(path.readlink()).encode()
            else:
                found[key] = path.read_bytes() if path.is_file() else b""
    return found


def timeless(data: bytes) -> bytes:
    """A record without the time that it was made at, and so without its checksum."""
    data = re.sub(rb'"created": "[^"]*"', b"", data)
    return re.sub(rb'\n "checksum": "sha256:[0-9a-f]{64}"\n}\n$', b"", data)


def changed(before: Files, after: Files) -> str:
    """The files that came, went or have other bytes, a line each; of a new folder with all that is in it, one line."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after or timeless(before[name]) != timeless(after[name]):
            sign = "+" if name not in before else "-" if name not in after else "~"
            others = before if sign == "+" else after
            folders = [f"{one.as_posix()}/" for one in list(PurePosixPath(name).parents)[-2::-1]]
            gone = [one for one in folders if not any(other.startswith(one) for other in others)]
            lines.append(f"{sign} {plain((gone or [name])[0])}")
    return "\n".join(dict.fromkeys(lines))
