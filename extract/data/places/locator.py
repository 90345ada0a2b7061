"""Where an image is: a file, a member of an archive, or a cell of a table; all images are read through here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..reading import BadFile, read_bytes, remote_state, stat_file
from .opening import Status, open_file, read_at, recent_status
from .remote import is_remote
from .shared import Shared
from .tar import BLOCK


@dataclass(frozen=True)
class Locator:
    """The place of one image."""

    path: Path
    """Absolute path of the image file, or of the archive or table that holds the image."""
    within: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Where in the file the image is. Empty: the file is the image. `member`, `at`, `bytes`: the name of an archive's
    member, and where its contents begin and how long they are. `row`, `column`: a row of a table, from 0, and the
    column (`image.bytes` for a field of a struct); `group` the row group that the row is in."""

    @property
    def what(self) -> str:
        """What the image is, for messages: `image file`, `image member 1.jpg`, `image in row 4`."""
        if "member" in self.within:
            return f"image member {self.within['member']}"
        return f"image in row {self.within['row']}" if self.within else "image file"

    def status(self, limit: int) -> Status:
        """Return the state of the file, by which a change of the image is noticed.

        Args:
            limit: the size in bytes above which an image is refused.

        Raises:
            BadFile: the file is missing or not a regular file, or the image is larger.
            TransientError: see `reading.retrying`.
        """
        if not self.within:
            if is_remote(self.path):
                return Status(*remote_state(self.path, limit))
            found = stat_file(self.path, limit)
            return Status(found.st_size, found.st_mtime_ns)
        _check_size(self.within.get("bytes", 0), limit)
        return recent_status(self.path)

    def read(self, limit: int) -> bytes:
        """Return the bytes of the image; raise as `status` does, and BadFile where they are cut short or damaged."""
        if not self.within:
            return read_bytes(self.path, limit)
        if "member" in self.within:
            return self._member(limit)
        from .cells import read_cell

        data = read_cell(self.path, self.within["row"], self.within["column"])
        _check_size(len(data), limit)
        return data

    def _member(self, limit: int) -> bytes:
        at, size = self.within["at"], self.within["bytes"]
        _check_size(size, limit)
        if at < BLOCK or size < 0:
            raise BadFile(f"has no place in the archive: {size} bytes at byte {at}")
        with _open_archives(self.path) as file:
            data = read_at(file, at, size)
        if len(data) < size:
            raise BadFile(f"is cut short: the archive ends after {len(data)} of {size} bytes")
        return data


_open_archives = Shared(open_file)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BadFile(f"is too large: {size} bytes, at most {limit} are read")
