"""Mutations that keep a format's frame sound: lengths, checksums and brackets fit again around what was changed."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

Inner = Callable[[Random, str, bytes], bytes]
"""A mutation of a named file within another."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    1.5,
    "",
    "x",
    "\0",
    "\ud800",
    "../../outside/secret",
    "/etc/passwd",
    "A" * 70000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    ["x"],
    "<f8",
    "float32",
    "itin",
    "\U0001f600",
)
"""Values that a program does not expect."""

COMMAND = b"touch itin-canary"
"""What nothing that is read may run."""

CANARIES = (
    b"cos\nsystem\nX" + struct.pack("<I", len(COMMAND)) + COMMAND + b"\x85R",
    b"\x8c\x05posix\x8c\x06system\x93\x8c" + bytes([len(COMMAND)]) + COMMAND + b"\x85R",
    b"cbuiltins\nexec\nX" + struct.pack("<I", 27) + b"open('itin-canary','w').x()" + b"\x85R",
    b"c__builtin__\nopen\n(X\x0b\0\0\0itin-canaryX\x01\0\0\0wtR",
    b"csubprocess\nPopen\nX" + struct.pack("<I", len(COMMAND)) + COMMAND + b"\x85R",
    b"cnumpy\nload\nX\x0b\0\0\0itin-canary\x85R",
    b"ctorch.serialization\nload\nX\x0b\0\0\0itin-canary\x85R",
    b"c_codecs\nencode\nX\x03\0\0\0abcX\x04\0\0\0zlib\x86R",
)
"""Pickled calls."""


def form_of(name: str, data: bytes) -> str:
    """The structure of a file, by its first bytes, else by its name."""
    for start, form in ((b"PK\x03\x04", "zip"), (b"\x89PNG", "png"), (b"\x80", "pickle"), (b"\x93NUMPY", "npy")):
        if data.startswith(start):
            return form
    if b'\n "checksum": "sha256:' in data[-110:] and data[:1] == b"{":
        return "sealed"
    if name.startswith("shard-"):
        return "shard"
    ending = name.rpartition(".")[2]
    return {"jsonl": "jsonlines", "yml": "yaml", "htm": "html", "tsv": "csv"}.get(ending, ending)


# JSON ----------------------------------------------------------------------------------------------------------------


def json_value(rng: Random, value: Any) -> Any:
    """Another value at one place in a JSON value: a strange one, none, that of another place, or one nested deeply."""
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    holder, key = places[rng.randrange(len(places))]
    how = rng.random()
    if how < 0.15:
        del holder[key]
    elif how < 0.3:
        other, name = places[rng.randrange(len(places))]
        holder[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
    elif how < 0.4 and isinstance(holder, dict):
        holder[rng.choice(("", "format", "id", "\0", key + "x", "__class__"))] = holder.pop(key)
    elif how < 0.5 and isinstance(holder[key], str):
        holder[key] = rng.choice((holder[key] + "x", holder[key][:-1], holder[key] * 2, holder[key].upper()))
    elif how < 0.65 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = rng.choice(
            (holder[key] + 1, -holder[key], holder[key] * 2**32, str(holder[key]), holder[key] / 2)
        )
    else:
        holder[key] = rng.choice(VALUES)
    return value


def _places(value: Any) -> Any:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys)[:2000]:
        yield value, key
        yield from _places(value[key])


def _dumped(rng: Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.05:
        text = "[" * 100_000 + text
    return text.encode(errors="surrogatepass")


def json_file(rng: Random, data: bytes, inner: Inner) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return inner(rng, "", data)
    return _dumped(rng, json_value(rng, value))


def json_lines(rng: Random, data: bytes, inner: Inner) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = json_file(rng, lines[at], inner)
    return b"\n".join(lines)


def sealed(rng: Random, data: bytes, inner: Inner) -> bytes:
    """A record of the cache, changed, with a checksum that fits."""
    try:
        value = json.loads(data)
        value.pop("checksum")
    except (ValueError, RecursionError, KeyError, AttributeError):
        return inner(rng, "", data)
    body = (
        json.dumps(json_value(rng, value), ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")[:-1] + b",\n"
    )
    return body + f' "checksum": "sha256:{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def shard(rng: Random, data: bytes, inner: Inner) -> bytes:
    """A shard whose header was changed, with a checksum that fits."""
    end = data.find(b"\n}\n", 0, 65536) + 3
    if end < 3:
        return inner(rng, "", data)
    header = sealed(rng, data[:end], inner)
    room = max(4096, -(-len(header) // 4096) * 4096)
    return header + b" " * (room - len(header)) + data[4096:]


# Archives ------------------------------------------------------------------------------------------------------------


def zip_file(rng: Random, data: bytes, inner: Inner) -> bytes:
    """An archive with one member changed, doubled, renamed or gone, checksums as they must be."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:
        return inner(rng, "", data)
    if not members:
        return data
    at = rng.randrange(len(members))
    name, held = members[at]
    how = rng.random()
    if how < 0.75:
        members[at] = name, inner(rng, name, held)
    elif how < 0.82:
        del members[at]
    elif how < 0.9:
        members.append((name, inner(rng, name, held)))
    else:
        members[at] = rng.choice(("../outside/" + name, "/" + name, "", name + "/", "a" * 60000, "\ud7ff")), held
    out = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    )
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, held in members:
            archive.writestr(zipfile.ZipInfo(name), held, method)
    return out.getvalue()


def tar_file(rng: Random, data: bytes, inner: Inner) -> bytes:
    """An archive whose header of one member was changed, with a checksum that fits."""
    starts = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return inner(rng, "", data)
    at = rng.choice(starts)
    block = bytearray(data[at : at + 512])
    begin, size = rng.choice(
        ((0, 100), (100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100), (257, 8), (345, 155))
    )
    number = rng.choice(
        (
            b"77777777777\0",
            b"00000000000\0",
            b"-0000000001\0",
            b"\x80" + b"\xff" * 11,
            b"\xff" * 12,
            b"\x80" + b"\0" * 10 + b"\x01",
        )
    )
    name = rng.choice(
        (b"../outside/secret.jpg", b"/etc/passwd", b"", b"\xff" * 100, b"a/" * 50, b"\0x", b"00001.jpg", b"PaxHeader")
    )
    value = (
        number
        if begin in (124, 136)
        else rng.choice((b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S", b"Z"))
        if size == 1
        else name
    )
    block[begin : begin + size] = value[:size].ljust(size, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512 :]


# Arrays --------------------------------------------------------------------------------------------------------------

SHAPES = (
    "()",
    "(0,)",
    "(1,)",
    "(-1,)",
    "(2, 0)",
    "(1000000000,)",
    f"({2**62}, 8)",
    f"({2**31}, {2**31})",
    "(1,) * 40",
    "'x'",
    "(1.5,)",
    "(True,)",
    "(3, 5)",
)
KINDS = (
    "'<f4'",
    "'>f8'",
    "'<f2'",
    "'|O'",
    "'|V0'",
    "'|S2000000000'",
    "'<U5'",
    "'<M8[ns]'",
    "'<c16'",
    "[('a', '<f4', (3,))]",
    "'x'",
    "()",
    "'|b1'",
    "'<i8'",
    "None",
)


def npy(rng: Random, data: bytes, inner: Inner) -> bytes:
    """An array whose header says something else of the same bytes."""
    if len(data) < 12:
        return inner(rng, "", data)
    long = data[6] > 1
    size = struct.unpack("<I" if long else "<H", data[8 : 12 if long else 10])[0]
    body = data[(12 if long else 10) + size :]
    shape, kind = rng.choice(SHAPES), rng.choice(KINDS)
    more = rng.choice(("", "", "", ", 'x': 1", ", 'descr': 2"))
    header = (
        f"{{'descr': {kind}, 'fortran_order': {rng.choice(('False', 'True', '2'))}, 'shape': {shape}{more}}}\n".encode()
    )
    if rng.random() < 0.05:
        header = rng.choice(
            (b"[" * 5000, b"9" * 5000, b"{'shape': __import__('os').system('touch itin-canary')}", b"-" * 9000)
        )
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + body


def safetensors(rng: Random, data: bytes, inner: Inner) -> bytes:
    """A file of tensors whose header was changed, with the length that it has."""
    size = int.from_bytes(data[:8], "little")
    try:
        value = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return inner(rng, "", data)
    header = _dumped(rng, json_value(rng, value))
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def pickled(rng: Random, data: bytes, inner: Inner) -> bytes:
    """A pickle that calls something, at its beginning, at its end or alone."""
    call = rng.choice(CANARIES)
    how = rng.randrange(4)
    if how == 0:
        return b"\x80\x02" + call + b"."
    if how == 1:
        return data[:2] + call + b"0" + data[2:]
    if how == 2:
        at = rng.randrange(len(data) + 1)
        return data[:at] + call + data[at:]
    at = rng.randrange(max(1, len(data) - 1))
    return (
        data[:at] + bytes([rng.choice(b"cRbsuataeqr()]}.N0123IJKLMXBTUV\x80\x81\x8c\x93\x94\x95\x96")]) + data[at + 1 :]
    )


def png(rng: Random, data: bytes, inner: Inner) -> bytes:
    """A picture with one chunk changed, doubled, moved or gone, checksums as they must be."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return inner(rng, "", data)
    place, how = rng.randrange(len(chunks)), rng.random()
    kind, held = chunks[place]
    if how < 0.6 and held:
        changed = bytearray(held)
        for _ in range(rng.choice((1, 2, 4))):
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 3, 8, 16, 255, rng.randrange(256)))
        chunks[place] = kind, bytes(changed)
    elif how < 0.7:
        chunks.insert(place, chunks[rng.randrange(len(chunks))])
    elif how < 0.8:
        del chunks[place]
    else:
        names = (
            b"tEXt",
            b"zTXt",
            b"iTXt",
            b"iCCP",
            b"eXIf",
            b"tRNS",
            b"PLTE",
            b"gAMA",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"IDAT",
            b"pHYs",
        )
        held = rng.choice((b"", b"a\0\0" + zlib.compress(b"\0" * 3_000_000), rng.randbytes(20), b"\xff" * 800))
        chunks.insert(place, (rng.choice(names), held))
    packed = (
        len(held).to_bytes(4, "big") + kind + held + zlib.crc32(kind + held).to_bytes(4, "big") for kind, held in chunks
    )
    return data[:8] + b"".join(packed)


STRUCTURED: dict[str, Callable[[Random, bytes, Inner], bytes]] = {
    "json": json_file,
    "jsonlines": json_lines,
    "sealed": sealed,
    "shard": shard,
    "zip": zip_file,
    "tar": tar_file,
    "npy": npy,
    "safetensors": safetensors,
    "pickle": pickled,
    "png": png,
}

TEXTS = {"json", "jsonlines", "csv", "txt", "html", "yaml", "sealed"}
