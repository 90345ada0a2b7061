"""What a child that reads foreign files is asked, and what it sends: a line of JSON, then the bytes of the arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from .record import MAX_BYTES, Asked, Raw

Message = tuple[Any, ...]
"""`("ready",)`, `("file", number)`, `("item", number, name, file)`, `("raw", Raw)`, `("bad", reason)` or `("end",)`."""

MAX_HEAD = 1 << 20
"""The length of the longest JSON of a message."""


class Source(Protocol):
    """What messages are read from."""

    def readinto(self, buffer: memoryview) -> int:
        """Read some bytes; 0 at the end."""


def send_request(pipe: IO[bytes], files: Sequence[Path], form: str, asked: Asked, skip: int) -> None:
    """Write what a child is to read, and how many samples of the first file it is to skip."""
    ids = None if asked.ids is None else str(asked.ids)
    request = {"files": list(map(str, files)), "form": form, "kind": asked.kind, "map": asked.map, "ids": ids}
    pipe.write(json.dumps({**request, "skip": skip}).encode())


def read_request(pipe: IO[bytes]) -> tuple[list[Path], str, Asked, int]:
    """Read what `send_request` wrote."""
    told = json.loads(pipe.read())
    ids = None if told["ids"] is None else Path(told["ids"])
    return list(map(Path, told["files"])), told["form"], Asked(told["kind"], told["map"], ids), told["skip"]


def send(pipe: IO[bytes], *message: Any) -> None:
    """Write a message without arrays."""
    _write(pipe, list(message), [])


def send_raw(pipe: IO[bytes], raw: Raw, names: Mapping[str, str]) -> None:
    """Write the arrays of a sample that are read, by their names in the source."""
    arrays = {name: np.ascontiguousarray(raw.arrays[name]) for name in dict.fromkeys(names.values())}
    unsent = {name: array.dtype.str for name, array in arrays.items() if array.dtype.hasobject}
    sent = {name: array for name, array in arrays.items() if name not in unsent}
    listed = [(name, array.dtype.str, np.shape(raw.arrays[name])) for name, array in sent.items()]
    there = sorted(str(name) for name in raw.arrays)[:8]
    head = ["raw", raw.id, raw.sha256, raw.note, listed, list(unsent), there]
    _write(pipe, head, [array.tobytes() for array in sent.values()])


def receive(source: Source) -> Message | None:
    """Read a message; None at the end, also within a message."""
    size = _read(source, 8)
    if size is None or (length := int.from_bytes(size, "little")) > MAX_HEAD:
        return None
    data = _read(source, length)
    if data is None:
        return None
    head = json.loads(data)
    if head[0] != "raw":
        return tuple(head)
    _, id, sha256, note, listed, unsent, there = head
    arrays: dict[str, Any] = dict.fromkeys([*there, *unsent], np.zeros(0, object))  # named, in case they are asked for
    for name, dtype, shape in listed:
        wanted = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64)) * wanted.itemsize
        if wanted.hasobject or not 0 <= count <= MAX_BYTES or (body := _read(source, count)) is None:
            return None
        arrays[name] = np.frombuffer(body, wanted).reshape(shape)
    return "raw", Raw(id, arrays, sha256, note)


def _write(pipe: IO[bytes], head: list[Any], arrays: Sequence[bytes]) -> None:
    data = json.dumps(head).encode()
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    for array in arrays:
        pipe.write(array)
    pipe.flush()


def _read(source: Source, length: int) -> bytearray | None:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        got = source.readinto(view)
        if not got:
            return None
        view = view[got:]
    return data
