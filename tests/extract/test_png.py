"""PNG files: what their pixels do not depend on, files that end too soon or too late, and transparent colours."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from itin.extract.data.images import BadImage, image_input, read_image
from itin.extract.data.png import SIGNATURE, strip_png

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
FORMS = [(0, bits) for bits in (1, 2, 4, 8, 16)] + [(3, bits) for bits in (1, 2, 4, 8)]
FORMS += [(colour, bits) for colour in (2, 4, 6) for bits in (8, 16)]
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column, first row, step of columns and of rows of each pass of an interlaced image."""

WIDTH, HEIGHT = 13, 9


def size_of(data: bytes) -> tuple[int, int]:
    found = image_input(data)
    return found.width, found.height


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def rows(values: NDArray[np.int64], bits: int) -> bytes:
    """Rows (h, samples) as PNG stores them, each with the filter byte 0."""
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in values]
    else:
        places = np.arange(bits - 1, -1, -1)
        packed = [np.packbits((row[:, None] >> places & 1).astype(np.uint8).ravel()).tobytes() for row in values]
    return b"".join(b"\0" + row for row in packed)


def make(
    colour: int = 2, bits: int = 8, interlace: int = 0, clear: bool = False, first: bytes = b"", last: bytes = b""
) -> tuple[bytes, NDArray[np.uint8]]:
    """A PNG written by hand with chunks of one's own before and behind the image data, and its pixels over white.

    Args:
        clear: with a tRNS chunk that makes pixels of one value transparent; there is one that differs by one bit.
    """
    random = np.random.default_rng(bits)
    values = random.integers(0, 2**bits, (HEIGHT, WIDTH, CHANNELS[colour]))
    values[0, 0] = values[0, 1] ^ 1  # at 16 bits a neighbour whose high byte is the same
    palette = random.integers(0, 256, (2**bits, 3)).astype(np.uint8) if colour == 3 else None
    if interlace:
        parts = [values[y::dy, x::dx] for x, y, dx, dy in PASSES]
        data = b"".join(rows(part.reshape(len(part), -1), bits) for part in parts if part.size)
    else:
        data = rows(values.reshape(HEIGHT, -1), bits)
    alpha = np.full((HEIGHT, WIDTH), 255)
    colours = values >> 8 if bits == 16 else values * 255 // (2**bits - 1)
    trns = b""
    if palette is not None:
        colours = palette[values[..., 0]].astype(np.int64)
        if clear:
            key = values[0, 1, 0]
            alpha = np.where(values[..., 0] == key, 0, 255)
            trns = chunk(b"tRNS", b"\xff" * key + b"\0")
    elif clear:
        key = values[0, 1]
        alpha = np.where((values == key).all(-1), 0, 255)
        trns = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    if colour in (4, 6):
        alpha, colours = colours[..., -1], colours[..., :-1]
    rgb = np.broadcast_to(colours, (HEIGHT, WIDTH, 3))
    shown = rgb * (alpha / 255)[..., None] + 255 * (1 - alpha / 255)[..., None]
    packed = zlib.compress(data)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, interlace)
    colours_chunk = chunk(b"PLTE", palette.tobytes()) if palette is not None else b""
    return (
        SIGNATURE + chunk(b"IHDR", header) + first + colours_chunk + trns
        + chunk(b"IDAT", packed[:30]) + chunk(b"IDAT", packed[30:]) + last + chunk(b"IEND", b"")
    ), np.round(shown).astype(np.uint8)  # fmt: skip


def same(data: bytes, pixels: NDArray[np.uint8], within: int = 0) -> None:
    assert size_of(data) == (WIDTH, HEIGHT)
    assert np.abs(read_image(data).astype(int) - pixels).max() <= within


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("colour", "bits"), FORMS)
def test_every_form(colour: int, bits: int, interlace: int) -> None:
    data, pixels = make(colour, bits, interlace)
    same(data, pixels, within=1 if colour in (4, 6) else 0)  # of alpha Pillow rounds in its own way
    with Image.open(io.BytesIO(data)) as image:
        if colour in (2, 3):
            np.testing.assert_array_equal(read_image(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("colour", "bits"), [form for form in FORMS if form[0] in (0, 2, 3)])
def test_a_transparent_value_is_laid_over_white_at_every_depth(colour: int, bits: int, interlace: int) -> None:
    data, pixels = make(colour, bits, interlace, clear=True)
    assert (pixels == 255).all(-1).any()
    same(data, pixels)


def test_a_transparent_value_of_16_bits_is_compared_whole() -> None:
    for colour in (0, 2):
        data, pixels = make(colour, 16, clear=True)
        read = read_image(data)
        assert read[0, 1].tolist() == [255, 255, 255]
        np.testing.assert_array_equal(read[0, 0], pixels[0, 0])  # the same high bytes, another low one
        assert read[0, 0].tolist() != [255, 255, 255]


def text(kind: bytes, size: int) -> bytes:
    if kind == b"tEXt":
        return chunk(kind, b"Comment\0" + b"a" * size)
    if kind == b"zTXt":
        return chunk(kind, b"Comment\0\0" + zlib.compress(b"a" * size))
    if kind == b"iTXt":
        return chunk(kind, b"Comment\0\1\0\0\0" + zlib.compress(b"a" * size))
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"a" * size))


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_text_and_profiles_of_any_size(kind: bytes, place: str) -> None:
    data, pixels = make(**{place: text(kind, 3 * 2**20)})  # type: ignore[arg-type]
    same(data, pixels)
    many, _ = make(**{place: text(kind, 2**20 - 1000) * 70})  # type: ignore[arg-type]
    same(many, pixels)


DAMAGED = {
    "checksum of a text": chunk(b"tEXt", b"Comment\0hello")[:-1] + b"!",
    "checksum of a time": chunk(b"tIME", b"\7\xe7\1\1\0\0\0")[:-4] + b"\0" * 4,
    "checksum of a profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"y"))[:-4] + b"\0" * 4,
    "checksum of EXIF data": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0")[:-4] + b"\0" * 4,
    "a short resolution": chunk(b"pHYs", b"abc"),
    "an empty gamma": chunk(b"gAMA", b""),
    "short chromaticities": chunk(b"cHRM", b"\0" * 5),
    "an empty sRGB": chunk(b"sRGB", b""),
    "a long time": chunk(b"tIME", b"\0" * 900),
    "an empty animation": chunk(b"acTL", b""),
    "an animation of no frames": chunk(b"acTL", b"\0" * 8),
    "a short frame": chunk(b"fcTL", b"\0" * 4),
    "a profile that is none": chunk(b"iCCP", b"x"),
    "a packed text that is none": chunk(b"zTXt", b"Comment\0\0nothing packed"),
    "a text packed in an unknown way": chunk(b"zTXt", b"Comment\0\7..."),
    "an empty international text": chunk(b"iTXt", b""),
    "EXIF data that are none": chunk(b"eXIf", b"zz"),
    "an EXIF text that is none": chunk(b"zTXt", b"Raw profile type exif\0\0zz"),
    "a private chunk": chunk(b"prVt", b"\0" * 50),
}


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_where_it_does_not_matter(name: str, place: str) -> None:
    data, pixels = make(**{place: DAMAGED[name]})  # type: ignore[arg-type]
    same(data, pixels)


def test_a_transparent_colour_with_a_wrong_checksum_does_not_count() -> None:
    data, _ = make(0, 8, clear=True)
    at = data.index(b"tRNS") + 4 + 2
    opaque, pixels = make(0, 8)
    same(data[:at] + b"\0\0\0\0" + data[at + 4 :], pixels)
    same(opaque, pixels)


@pytest.mark.parametrize("interlace", [0, 1])
def test_the_end(interlace: int) -> None:
    data, pixels = make(interlace=interlace)
    end = data.index(b"IEND") - 4
    same(data + b"anything at all" * 99, pixels)
    same(data[:end], pixels)  # no IEND
    same(data[: end - 3], pixels)  # a part of the last checksum alone
    same(data[:end] + b"\0\0\0\x09 bytes that are no chunk", pixels)
    same(data[:end] + chunk(b"tEXt", b"Comment\0" + b"a" * 999)[:50], pixels)
    same(data[:end] + struct.pack(">I", 2**32 - 1) + b"tEXtComment\0a", pixels)
    for cut in (30, 60):  # pixels are missing
        assert size_of(data[: end - cut]) == (WIDTH, HEIGHT)
        with pytest.raises(BadImage, match=r"^PNG image cannot be decoded: image file is truncated"):
            read_image(data[: end - cut])


def test_no_image_data() -> None:
    data, _ = make()
    at = data.index(b"IDAT") - 4
    for bad in (data[:at], data[:at] + chunk(b"IEND", b""), data[:at] + b"\0\0\0\0\1\2\3\4" + data[at:]):
        for call in (size_of, read_image):
            with pytest.raises(BadImage, match=r"^PNG header is damaged: no image data before "):
                call(bad)


def test_damage_where_it_matters() -> None:
    data, _ = make(3, 8)
    for name in (b"IHDR", b"PLTE"):
        at = data.index(name) + 6
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(BadImage, match=r"^PNG header is damaged: broken PNG file \(bad header checksum"):
            read_image(bad)


def test_the_first_of_several_frames_is_that_of_viewers_without_animation() -> None:
    frames = [Image.new("RGBA", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for default in (False, True):
        file = io.BytesIO()
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=default)
        assert b"acTL" in file.getvalue()
        np.testing.assert_array_equal(read_image(file.getvalue()), np.full((6, 8, 3), [255, 0, 0]))


def test_pillows_files_are_read_as_pillow_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a text", zip=True)
    options: list[dict[str, Any]] = [
        {"pnginfo": info, "icc_profile": b"no profile", "dpi": (72, 72)},
        {"optimize": True},
        {"compress_level": 0},
    ]
    for option in options:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", **option)
        np.testing.assert_array_equal(read_image(file.getvalue()), pixels)


def test_nothing_but_pixels_is_unpacked() -> None:
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 1\n" + b"0" * 2**28, 9))
    bomb += chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"\0" * 2**28, 9))
    data, pixels = make(first=bomb)
    tracemalloc.start()
    try:
        same(data, pixels)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_exif_data() -> None:
    exif = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    digits = (b"Exif\0\0" + exif).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(digits) // 2) + digits[:20] + b"\n" + digits[20:] + b"\n"
    kinds = {
        "eXIf": chunk(b"eXIf", exif),
        "tEXt": chunk(b"tEXt", b"Raw profile type exif\0" + profile),
        "zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
    }
    for name, data in kinds.items():
        for place in ("first", "last"):
            whole, _ = make(**{place: data})  # type: ignore[arg-type]
            assert strip_png(whole)[1] == (exif if name == "eXIf" else b"Exif\0\0" + exif)
            assert size_of(whole) == (HEIGHT, WIDTH)
    upright = chunk(b"eXIf", exif.replace(b"\6", b"\1"))
    assert size_of(make(first=kinds["tEXt"], last=upright)[0]) == (WIDTH, HEIGHT)  # eXIf comes first
