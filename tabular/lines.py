"""Lines of third-party text files, with a strict rule of what ends a line."""

from __future__ import annotations

import io
from typing import BinaryIO

BOM = b"\xef\xbb\xbf"


def lines_of(file: bytes | BinaryIO, errors: str = "strict") -> io.TextIOWrapper:
    r"""Return an iterator over the lines of a text in UTF-8, each with its line end.

    A line ends with `\n`, `\r\n` or `\r`. `str.splitlines` also cuts at U+2028, U+0085, `\x0b`, `\x0c` and `\x1c` to
    `\x1e`, which are characters of a text. A byte order mark at the beginning is dropped.

    Args:
        file: the text's bytes, or a file that is open for reading in binary mode.
        errors: as for `bytes.decode`; with "surrogateescape" encoding a line gives its bytes back.

    Raises:
        UnicodeDecodeError: while reading, where `errors` is "strict" and the text is not UTF-8.
    """
    return io.TextIOWrapper(
        io.BytesIO(file) if isinstance(file, bytes) else file, encoding="utf-8-sig", errors=errors, newline=""
    )


def count_lines(data: bytes) -> int:
    """Return how many lines `lines_of` yields, counted independently of it."""
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    return ends + (not data.endswith((b"\n", b"\r")) and data not in (b"", BOM))
