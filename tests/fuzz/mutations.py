"""What a cut transfer, a bad disk, another tool or someone who means harm makes of a sound file.

All is drawn from one `random.Random`, so that a seed gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .structures import STRUCTURED, TEXTS, form_of

MOST_BYTES = 4 * 2**20
"""A mutated file is cut to so many bytes."""

TOKENS = (
    b"\0",
    b"\xff" * 8,
    b"\r\n",
    b'"',
    b"'",
    b",",
    b"\t",
    b"{",
    b"[" * 3000,
    b"}",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"%s%n%x",
    b"$(touch itin-canary)",
    b"../../outside/secret",
    b"/etc/passwd",
    b"file:///etc/passwd",
    b"http://127.0.0.1:9/x",
    b"\0\0\xff\xfe",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"null",
    b"true",
    b"A" * 70000,
    b"<!DOCTYPE html><html>",
    b"<script>",
    b"<!ENTITY x SYSTEM 'file:///etc/passwd'>",
    b"=cmd|'/c calc'!A0",
    b"!!python/object/apply:os.system ['touch itin-canary']",
    b"cos\nsystem\n(S'touch itin-canary'\ntR.",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"\xff\xd9",
    b"Exif\0\0",
    b"II*\0",
    b"MM\0*",
    b"GIF89a",
    b"RIFF",
    b"WEBPVP8X",
    b"BM",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x01\x02",
    b"\x93NUMPY\x01\0",
    b"\x89HDF\r\n\x1a\n",
    b"PAR1",
    b"ARROW1\0\0",
    b"ustar\x0000",
    b"\x80\x04",
    b"\x80\x02",
    b"HEAP",
    b"TREE",
    b"SNOD",
    b"OHDR",
    b"GCOL",
    b"FRHP",
    b"IDAT",
    b"iCCP",
    b"zTXt",
    b"eXIf",
    b"acTL",
    b"fdAT",
    b"version https://git-lfs.github.com/spec/v1\n",
)
"""What parsers look for, and what they should not do."""

Mutation = Callable[[Random, bytes], bytes]


def mutate(rng: Random, name: str, data: bytes) -> bytes:
    """A file's bytes after one to some mutations, of its structure where its name or content shows one."""
    form = form_of(name, data)
    for _ in range(min(8, 1 + int(rng.expovariate(0.7)))):
        if form in STRUCTURED and rng.random() < 0.55:
            data = STRUCTURED[form](rng, data, _inner)
        else:
            data = _any(rng, data, form in TEXTS)
    return data[:MOST_BYTES]


def _inner(rng: Random, name: str, data: bytes) -> bytes:
    """One mutation of what lies within another file."""
    form = form_of(name, data)
    if form in STRUCTURED and rng.random() < 0.6:
        return STRUCTURED[form](rng, data, _inner)
    return _any(rng, data, form in TEXTS)


def _any(rng: Random, data: bytes, text: bool = False) -> bytes:
    choice = rng.choice(TEXT if text and rng.random() < 0.6 else GENERIC)
    return choice(rng, data)


def place(rng: Random, data: bytes) -> int:
    """A place in a file: often near the beginning or the end, where formats keep their structure."""
    near = rng.random()
    if near < 0.35:
        return rng.randrange(min(len(data), 160) + 1)
    if near < 0.5:
        return len(data) - rng.randrange(min(len(data), 160) + 1)
    return rng.randrange(len(data) + 1)


def flip(rng: Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16)) if out else 0):
        out[min(place(rng, data), len(out) - 1)] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + rng.randbytes(count := rng.choice((1, 2, 4, 32))) + data[at + count :]


def extreme(rng: Random, data: bytes) -> bytes:
    """An extreme number in place of what may be a length, often at a multiple of its own size."""
    size = rng.choice((1, 2, 4, 8))
    at = place(rng, data)
    at -= at % size if rng.random() < 0.6 else 0
    top = 1 << 8 * size
    value = rng.choice(
        (0, 1, 2, top - 1, top - 2, top // 2, top // 2 - 1, top // 4, 0x10000, 0x7FFF, rng.randrange(top))
    )
    return data[:at] + (value % top).to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: place(rng, data)]


def remove(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + data[at + _length(rng, data) :]


def repeat(rng: Random, data: bytes) -> bytes:
    at, count = place(rng, data), _length(rng, data)
    return data[: at + count] + data[at : at + count] * rng.choice((1, 1, 2, 20)) + data[at + count :]


def move(rng: Random, data: bytes) -> bytes:
    at, count, to = place(rng, data), _length(rng, data), place(rng, data)
    rest = data[:at] + data[at + count :]
    return rest[:to] + data[at : at + count] + rest[to:]


def blank(rng: Random, data: bytes) -> bytes:
    at, count = place(rng, data), _length(rng, data)
    return data[:at] + rng.choice((b"\0", b"\xff", b" ")) * min(count, len(data) - at) + data[at + count :]


def insert(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def put(rng: Random, data: bytes) -> bytes:
    at, token = place(rng, data), rng.choice(TOKENS)
    return data[:at] + token + data[at + len(token) :]


def append(rng: Random, data: bytes) -> bytes:
    return data + rng.choice((rng.randbytes(64), b"\0" * 4096, rng.choice(TOKENS), data[:2048]))


def _length(rng: Random, data: bytes) -> int:
    return rng.choice((1, 2, 4, 8, 16, 64, 512, 1 + rng.randrange(len(data) + 1)))


GENERIC: tuple[Mutation, ...] = (
    flip,
    flip,
    overwrite,
    extreme,
    extreme,
    truncate,
    remove,
    repeat,
    move,
    blank,
    insert,
    put,
    append,
)


# Texts ---------------------------------------------------------------------------------------------------------------


def lines(rng: Random, data: bytes) -> bytes:
    """Double, remove or swap whole lines."""
    found = data.splitlines(keepends=True) or [b""]
    at, to = rng.randrange(len(found)), rng.randrange(len(found))
    how = rng.randrange(3)
    if how == 0:
        found.insert(at, found[to])
    elif how == 1:
        del found[at]
    else:
        found[at], found[to] = found[to], found[at]
    return b"".join(found)


def cell(rng: Random, data: bytes) -> bytes:
    """Put a token in place of a cell or a value."""
    found = data.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(found))
    mark = rng.choice((b",", b"\t", b":", b" "))
    cells = found[at].split(mark)
    cells[rng.randrange(len(cells))] = rng.choice(TOKENS)
    found[at] = mark.join(cells)
    return b"".join(found)


def recode(rng: Random, data: bytes) -> bytes:
    """Write the text in another encoding, or with other line ends."""
    how = rng.randrange(4)
    if how == 0:
        return data.decode("utf-8", "replace").encode(
            rng.choice(("utf-16", "utf-16-le", "gb18030", "utf-7")), "replace"
        )
    return data.replace(b"\n", rng.choice((b"\r", b"\r\r\n", b"\x0b", b"\xc2\x85", b"\xe2\x80\xa8", b"\0")))


TEXT: tuple[Mutation, ...] = (lines, lines, cell, cell, recode, insert)
