"""The members of tar archives, front to back; nothing is extracted to disk, and no link is followed.

Python's `tarfile` takes several times as long for a header and keeps every member in memory. Read are the formats of
POSIX (ustar and pax) and GNU tar; see https://www.gnu.org/software/tar/manual/html_node/Standard.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .opening import read_at

BLOCK = 512
"""Headers, and the contents of members, begin at multiples of it."""

MAX_NAME_BYTES = 2**20
"""Size of a record with a long name or other attributes above which it is damaged."""

_PROBE = 64 * 1024
"""Bytes after the end mark that are looked at for another archive, as `cat` appends one."""

_KINDS = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
          b"S": "a sparse file"}  # fmt: skip


class Member(NamedTuple):
    """One member of an archive, or a place where the archive is damaged."""

    name: str
    """As in the archive, without `./` at its beginning; bytes that are not UTF-8 are lone surrogates. Empty at a
    damaged place."""
    offset: int
    """Where its contents begin, in bytes from the archive's beginning."""
    size: int
    """Size of its contents in bytes."""
    problem: str = ""
    """The reason why it cannot be read, else empty."""


def members(file: BinaryIO, end: int) -> Iterator[Member]:
    """Yield the members of an archive in order; their contents are not read.

    After a damaged header it goes on with the next block that is a header.

    Args:
        file: the archive, open for reading.
        end: its size in bytes.
    """
    at, name, size, ended = 0, "", -1, False
    while at + BLOCK <= end:
        header = read_at(file, at, BLOCK)
        if len(header) < BLOCK:
            break
        if not header.strip(b"\0"):
            at, ended = _after_mark(file, at + BLOCK), True
            continue
        ended = False
        kind, length = header[156:157], _number(header[124:136])
        if length is None or not _is_header(header):
            start, at = at, _next_header(file, at + BLOCK, end)
            yield Member("", start, at - start, f"the archive is damaged at byte {start}: {at - start} bytes skipped")
            name, size, ended = "", -1, at == end
            continue
        data = at + BLOCK
        if kind in (b"L", b"K", b"x", b"g"):  # a record about the next member: its name, its attributes
            record = read_at(file, data, length) if length <= MAX_NAME_BYTES else b""
            if len(record) < length:
                yield Member("", at, length, f"the archive is damaged at byte {at}: a record of {length} bytes")
                if length <= MAX_NAME_BYTES:
                    return
            elif kind == b"L":
                name = record.rstrip(b"\0").decode(errors="surrogateescape")
            elif kind == b"x":
                name, size = _attributes(record, name, size)
            at = data + _padded(length)
            continue
        own = name or _name(header)
        length = size if size >= 0 else length
        own, name, size = own.removeprefix("./"), "", -1
        if kind not in (b"0", b"\0", b"7"):
            if kind != b"5":
                yield Member(own, data, length, f"is {_KINDS.get(kind, 'of an unknown kind')}, not a file")
            at = data + (_padded(length) if kind not in (b"1", b"2", b"3", b"4", b"5", b"6") else 0)
            continue
        if data + length > end:
            yield Member(own, data, length, f"is cut short: the archive ends after {end - data} of {length} bytes")
            return
        yield Member(own, data, length)
        at = data + _padded(length)
    if at < end and read_at(file, at, end - at).strip(b"\0"):
        yield Member("", at, end - at, f"the archive ends within a header, at byte {at}")
    elif not ended:
        yield Member("", end, 0, f"the archive ends at byte {end} without its end mark: it is cut short")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _is_header(block: bytes) -> bool:
    """Return whether the checksum of a block is that of a header; some old writers summed signed bytes."""
    stated = _number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    return stated == total or (stated is not None and stated == total - 256 * sum(byte > 127 for byte in block))


def _number(field: bytes) -> int | None:
    """Return the number in a field, octal digits or base 256; None where it holds neither or is negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        digits = field.split(b"\0", 1)[0].strip()
        return int(digits, 8) if not digits.startswith((b"-", b"+")) and b"_" not in digits else None
    except ValueError:
        return 0 if not field.strip(b"\0 ") else None


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345]:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    return name.decode(errors="surrogateescape")


def _attributes(record: bytes, name: str, size: int) -> tuple[str, int]:
    """Return name and size of the next member as a pax record gives them: lines of `length key=value`."""
    while record:
        length, _, _ = record.partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(record):
            break
        key, _, value = record[len(length) + 1 : int(length) - 1].partition(b"=")
        record = record[int(length) :]
        if key == b"path":
            name = value.decode(errors="surrogateescape")
        elif key == b"size" and value.isdigit():
            size = int(value)
    return name, size


def _after_mark(file: BinaryIO, at: int) -> int:
    """Return where the archive goes on after a block of zeros: at the next other block nearby, else nowhere."""
    beyond = read_at(file, at, _PROBE)
    rest = beyond.lstrip(b"\0")
    return at + (len(beyond) - len(rest)) // BLOCK * BLOCK if rest else at + 2**62


def _next_header(file: BinaryIO, at: int, end: int) -> int:
    """Return where the next header begins, from `at` on; the archive's end where there is none."""
    while at + BLOCK <= end:
        chunk = read_at(file, at, 256 * BLOCK)
        for start in range(0, len(chunk) - BLOCK + 1, BLOCK):
            block = chunk[start : start + BLOCK]
            if block[257:262] == b"ustar" and _number(block[124:136]) is not None and _is_header(block):
                return at + start
        at += 256 * BLOCK
    return end
