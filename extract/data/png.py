"""PNG files as viewers read them: chunks that the pixels do not depend on are ignored, sound or not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_EXIF = 2**17
"""Bytes of EXIF data unpacked from a text chunk; the first directory, which is all that is read, comes first."""

_EXIF_TEXT = b"Raw profile type exif\0"
"""The keyword of the text chunk in which ImageMagick keeps EXIF data."""


class Png(PngImagePlugin.PngImageFile):
    """A PNG of which Pillow reads the pixels alone; `info["exif"]` holds its EXIF data.

    Args:
        file: the PNG file.

    Raises:
        ValueError: there is no image data.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._pixels, exif = strip_png(file.read())
        super().__init__(io.BytesIO(self._pixels))
        self.info["exif"] = exif
        # Pillow would compare the transparent value, which has 16 bits, with samples that it has cut down to 8.
        self.transparent = self.info.pop("transparency", None) if self._pixels[24] == 16 else None
        """The grey value, or the red, green and blue, of transparent pixels of a 16-bit image; None: none are."""

    def clear(self) -> NDArray[np.bool_]:
        """Return which pixels (H, W) are transparent: those equal to `transparent` in all 16 bits."""
        high = np.asarray(self)
        if self.mode != "RGB":
            return np.asarray(high == self.transparent)
        other = PngImagePlugin.PngImageFile(io.BytesIO(self._pixels))
        other.tile = [(*tile[:3], "RGB;16L") for tile in other.tile]  # type: ignore[misc]  # the second byte of each
        other.load()
        whole = high.astype(np.uint16) << 8 | np.asarray(other)
        return np.asarray((whole == self.transparent).all(-1))


def strip_png(data: bytes) -> tuple[bytes, bytes]:
    """Return the PNG with only the chunks that make its pixels, and its EXIF data, empty where there are none.

    Text, profiles, dates and further frames of an animation are left out unread, whatever their size or checksum. A
    transparent colour or EXIF data with a wrong checksum do not count, as in libpng. Reading ends at IEND, or behind
    image data at the first bytes that are no chunk. Truncated image data are kept as far as they go: the decoder
    reports missing pixels.

    Args:
        data: the whole file.

    Raises:
        ValueError: the file ends, or bytes are not a chunk, before any image data.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    exif = text = b""
    some = False
    for name, chunk in _chunks(data):
        if name == b"IDAT":
            some = True
            kept.append(chunk if _whole(chunk) else _chunk(name, bytes(chunk[8:])))
        elif name in (b"IHDR", b"PLTE"):
            kept.append(chunk)
        elif name == b"tRNS" and _sound(chunk):
            kept.append(_scaled(chunk, data[24:26]))
        elif name == b"eXIf" and _sound(chunk):
            exif = bytes(chunk[8:-4])
        elif name in (b"tEXt", b"zTXt") and chunk[8 : 8 + len(_EXIF_TEXT)] == _EXIF_TEXT and _sound(chunk):
            text = _raw_profile(name, chunk[8 + len(_EXIF_TEXT) : -4])
    if not some:
        raise ValueError("no image data before the end of the file, or before bytes that are not a chunk")
    return b"".join([*kept, _chunk(b"IEND", b"")]), exif or text


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name of each chunk, and length, name, contents and checksum as far as the file holds them."""
    view, at = memoryview(data), len(SIGNATURE)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IEND" or not name.isalpha():
            return
        yield name, view[at : at + 12 + length]
        at += 12 + length


def _whole(chunk: memoryview) -> bool:
    return len(chunk) == 12 + int.from_bytes(chunk[:4], "big")


def _sound(chunk: memoryview) -> bool:
    return _whole(chunk) and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _chunk(name: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents), name) + contents + struct.pack(">I", zlib.crc32(name + contents))


def _scaled(chunk: memoryview, form: bytes) -> bytes | memoryview:
    """Return the tRNS chunk, scaled to 8 bits for a greyscale image of 2 or 4 bits, as Pillow scales its pixels.

    Args:
        chunk: the whole chunk.
        form: bits a sample and colour type, a byte each.
    """
    if form not in (b"\2\0", b"\4\0") or len(chunk) != 12 + 2:
        return chunk
    most = 2 ** form[0] - 1
    return _chunk(b"tRNS", bytes([0, (chunk[9] & most) * (255 // most)]))


def _raw_profile(name: bytes, packed: memoryview) -> bytes:
    """Return the EXIF data of a text chunk, which holds lines with their kind and length, and hexadecimal digits."""
    try:
        if name == b"zTXt":
            lines = zlib.decompressobj().decompress(packed[1:], 2 * MAX_EXIF)
        else:
            lines = bytes(packed[: 2 * MAX_EXIF])
        digits = b"".join(lines.split(b"\n")[3:])
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    except (zlib.error, ValueError):
        return b""
