"""A file behind a protocol as a file object."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .remote import url

BLOCK = 2 * 2**20
"""Bytes that are fetched at once."""

BLOCKS = 8
"""Blocks of an open file that are kept."""


class RemoteFile(io.RawIOBase):
    """A file that is read in blocks, of which a few are kept: from front to back each byte comes once.

    Args:
        path: its place.
        size: its size in bytes.
        fetch: returns the bytes from a start to an end.
    """

    def __init__(self, path: Path, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self.name, self._size, self._fetch, self._at = url(path), size, fetch, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of a block."""
        if self._at >= self._size or not len(buffer):
            return 0
        number, offset = divmod(self._at, BLOCK)
        if number not in self._blocks:
            self._blocks[number] = self._fetch(number * BLOCK, min((number + 1) * BLOCK, self._size))
            while len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        piece = memoryview(self._blocks[number])[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or fewer where the file ends before."""
        pieces, left = [], self._size - self._at if size is None or size < 0 else size
        while left > 0:
            buffer = bytearray(min(left, BLOCK))
            if not (count := self.readinto(buffer)):
                break
            pieces.append(bytes(buffer[:count]))
            left -= count
        return b"".join(pieces)
