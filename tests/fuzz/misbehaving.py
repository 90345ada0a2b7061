"""Readers that do what none must, each with a mutated file alone: the fuzzer must see it."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Callable
from pathlib import Path

from .readers import Reader
from .structures import CANARIES

SOUND = b"sound"


def write(folder: Path) -> None:
    (folder / "one").mkdir()
    (folder / "one" / "file").write_bytes(SOUND)


def loop() -> None:
    while True:
        pass


def hold() -> None:
    """Hold memory that the kernel gives at once: a busy machine takes seconds to give it page by page."""
    mmap.mmap(-1, 17 * 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


WAYS: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (lambda: {}["x"], "builtins.KeyError"),
    "ends the interpreter": (os.abort, "died"),
    "never ends": (loop, "slow"),
    "holds too much": (hold, "memory"),
    "asks for too much": (lambda: bytearray(3 * 2**30), "builtins.MemoryError"),
    "writes outside": (lambda: Path("../escaped").write_bytes(b""), "went outside"),
    "runs a program": (lambda: os.system("true"), "went outside"),
    "unpickles": (lambda: pickle.loads(b"\x80\x02" + CANARIES[0] + b"."), "executed"),
    "exits": (lambda: os._exit(3), "died"),
}
"""What a reader does, and the outcome that it must have."""


def misbehave(way: str, folder: Path) -> None:
    if (folder / "file").read_bytes() != SOUND:
        WAYS[way][0]()


MISBEHAVING = {
    way.replace(" ", "-"): Reader(write, lambda folder, way=way: misbehave(way, folder))  # type: ignore[misc]
    for way in WAYS
}
