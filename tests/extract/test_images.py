"""Odd, broken and hostile images."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, WebPImagePlugin

from itin.errors import TransientError
from itin.extract.data import images, reading
from itin.extract.data.images import BadImage, image_input, read_image


def size_of(data: bytes) -> tuple[int, int]:
    found = image_input(data)
    return found.width, found.height


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(width: int = 64, height: int = 48, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand; `rows` with their filter bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats(format: str, tmp_path: Path) -> None:
    pixels = noise()
    data = encode(Image.fromarray(pixels), format, **({"lossless": True} if format == "WEBP" else {}))
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        result = read_image(source)
        np.testing.assert_array_equal(result, pixels)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        assert result.flags.writeable
    assert size_of(data) == (64, 48)


@pytest.mark.parametrize(
    ("id", "size"),
    [("4066", (48, 48)), ("5001", (48, 48)), ("2477", (313, 1024)), ("4939", (344, 57)), ("4719", (599, 337))],
)
def test_odd_real_ones(shared_data: Path, id: str, size: tuple[int, int]) -> None:
    path = shared_data / "mvsa-single-sample" / "data" / f"{id}.jpg"
    pixels = read_image(path)
    assert size_of(path.read_bytes()) == size
    assert pixels.shape == (size[1], size[0], 3)
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels, np.asarray(image))
    if id == "4719":
        assert (pixels == pixels[0, 0]).all()


def test_grey_palette_and_one_bit() -> None:
    grey = Image.fromarray(noise()[..., 0])
    for image in (grey, grey.convert("1")):
        expected = np.asarray(image.convert("L"))
        np.testing.assert_array_equal(read_image(encode(image, "PNG")), np.stack([expected] * 3, -1))
    colours = Image.new("P", (2, 1))
    colours.putpalette([10, 20, 30, 40, 50, 60])
    colours.putpixel((1, 0), 1)
    for format in ("PNG", "GIF"):
        np.testing.assert_array_equal(read_image(encode(colours, format)), [[[10, 20, 30], [40, 50, 60]]])


def test_alpha_is_laid_over_white() -> None:
    image = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 51)]):
        image.putpixel((x, 0), pixel)
    expected = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]
    for format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_image(encode(image, format)), expected)
    grey = Image.new("LA", (2, 1), (100, 255))
    grey.putpixel((1, 0), (100, 0))
    np.testing.assert_array_equal(read_image(encode(grey, "PNG")), [[[100] * 3, [255] * 3]])


def test_transparent_colours() -> None:
    colours = Image.new("P", (3, 1))
    colours.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for x in range(3):
        colours.putpixel((x, 0), x)
    white = [255, 255, 255]
    for format in ("PNG", "GIF"):
        result = read_image(encode(colours, format, transparency=1))
        np.testing.assert_array_equal(result, [[[10, 20, 30], white, [70, 80, 90]]])
    result = read_image(encode(colours, "PNG", transparency=bytes([255, 0, 255])))
    np.testing.assert_array_equal(result, [[[10, 20, 30], white, [70, 80, 90]]])
    result = read_image(encode(colours.convert("RGB"), "PNG", transparency=(70, 80, 90)))
    np.testing.assert_array_equal(result, [[[10, 20, 30], [40, 50, 60], white]])


def test_cmyk() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for data in (encode(image, "TIFF"), encode(image, "JPEG", quality=100, subsampling=0)):
        assert np.abs(read_image(data).astype(int) - [255, 0, 0]).max() <= 4


def test_16_bit_keeps_the_high_byte() -> None:
    values = np.array([[0x0000, 0x12FF, 0x8034, 0xFFFF]], dtype=np.uint16)
    grey = [[[0x00] * 3, [0x12] * 3, [0x80] * 3, [0xFF] * 3]]
    rows = b"\0" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(read_image(png(4, 1, 16, 0, rows)), grey)
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(values), "TIFF")), grey)
    rgb = b"\0" + np.array([0x12FF, 0x8034, 0xFFFF], dtype=">u2").tobytes()
    np.testing.assert_array_equal(read_image(png(1, 1, 16, 2, rgb)), [[[0x12, 0x80, 0xFF]]])
    wide = Image.fromarray(np.array([[0, 0x12FF]], dtype=np.int32))
    np.testing.assert_array_equal(read_image(encode(wide, "TIFF")), [[[0x00] * 3, [0x12] * 3]])


def test_numbers_of_unknown_range() -> None:
    for values in ([[70_000, 0]], [[-1, 0]]):
        image = Image.fromarray(np.array(values, dtype=np.int32))
        with pytest.raises(BadImage, match=r"^pixels are 32-bit numbers of unknown range$"):
            read_image(encode(image, "TIFF"))
    with pytest.raises(BadImage, match=r"^pixels are floating-point numbers of unknown range$"):
        read_image(encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read_image(data), np.full((6, 8, 3), [255, 0, 0]))


def oriented(format: str, orientation: int, image: Image.Image | None = None) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    return encode(image or Image.fromarray(noise()), format, exif=exif, **options)


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """A picture as it is shown, from where the first row and column stand (EXIF 2.32, section 4.6.4)."""
    turned = {
        2: pixels[:, ::-1],  # the first row at the top, the first column at the right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.swapaxes(0, 1),  # left, top
        6: pixels[::-1].swapaxes(0, 1),  # right, top
        7: pixels[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: pixels[:, ::-1].swapaxes(0, 1),  # left, bottom
    }
    return turned.get(orientation, pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(11))
def test_pictures_are_read_as_they_are_shown(format: str, orientation: int) -> None:
    data = oriented(format, orientation)
    stored = read_image(oriented(format, 1))
    turned = read_image(data)
    np.testing.assert_array_equal(turned, shown(stored, orientation))
    assert turned.flags.c_contiguous
    assert turned.flags.writeable
    assert size_of(data) == (turned.shape[1], turned.shape[0]) == ((48, 64) if 5 <= orientation <= 8 else (64, 48))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    if format != "TIFF":
        np.testing.assert_array_equal(read_image(data, turn=False), stored)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_all_kinds_of_pixels_are_turned(mode: str) -> None:
    grey = Image.fromarray(noise()[..., 0])
    image = Image.fromarray(noise()[..., 0].astype(np.uint16) << 8) if mode == "I;16" else grey.convert(mode)
    np.testing.assert_array_equal(
        read_image(oriented("PNG", 6, image)), shown(read_image(oriented("PNG", 1, image)), 6)
    )


def test_a_turned_picture_is_another_input_than_its_file(tmp_path: Path) -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        digests = set()
        for orientation in range(10):
            data = oriented(format, orientation)
            made = image_input(data)
            assert (made.width, made.height) == size_of(data)
            turned = format in ("JPEG", "PNG", "WEBP") and 2 <= orientation <= 8
            assert (made.sha256 == hashlib.sha256(data).hexdigest()) != turned
            assert made.orientation == (orientation if 1 <= orientation <= 8 and format not in ("BMP", "GIF") else 1)
            digests.add(made.sha256)
        assert len(digests) == (1 if format in ("BMP", "GIF") else 10)
    data = oriented("JPEG", 6)
    file = hashlib.sha256(data).hexdigest()
    assert image_input(data).sha256 == hashlib.sha256(f"{file} EXIF orientation 6".encode()).hexdigest()


def test_damaged_exif_is_no_matter() -> None:
    image = Image.fromarray(noise())
    data = encode(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\xff\x7f")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(data), read_image(encode(image, "JPEG")))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image file is empty"),
        (b"RT @someone: no picture", "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
        (b"\xff\xd8\xff", "JPEG header is damaged: "),
        (b"\x89PNG\r\n\x1a\n", "PNG header is damaged: "),
        (b"GIF89a", "GIF header is damaged: "),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP header is damaged: "),
        (b"BM", "BMP header is damaged: "),
        (b"II*\0", "TIFF header is damaged: "),
        (png(0, 5, 8, 2, b"\0" * 5), "PNG header is damaged: "),
        (b"GIF89a" + struct.pack("<HHBBB", 0, 0, 0, 0, 0) + b",\0\0\0\0\0\0\0\0\0\x02\0;", "GIF header is damaged: "),
    ],
)
def test_no_images(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    for call in (lambda: read_image(data), lambda: read_image(path), lambda: size_of(data)):
        with pytest.raises(BadImage, match=f"^{reason}") as caught:
            call()
        assert "\n" not in caught.value.reason


def test_missing_and_odd_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadImage, match=r"^image file is missing$") as caught:
        read_image(tmp_path / "none.jpg")
    assert caught.value.missing
    with pytest.raises(BadImage, match=r"^image file is not a regular file$"):
        read_image(tmp_path)
    (tmp_path / "a.png").write_bytes(encode(Image.new("L", (4, 4)), "PNG"))
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(BadImage, match=r"^image file is too large: \d+ bytes, at most 10 are read$"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated(format: str) -> None:
    data = encode(Image.fromarray(noise()), format)
    if format in ("JPEG", "PNG", "GIF", "BMP"):  # of the others the header alone does not do
        assert size_of(data[: len(data) // 2]) == (64, 48)
    for part in (0.5, 0.9):
        with pytest.raises(BadImage, match=f"^{format} (image cannot be decoded|header is damaged): "):
            read_image(data[: int(len(data) * part)])


def test_truncated_stays_truncated_when_asked_by_many() -> None:
    good = encode(Image.fromarray(noise()), "JPEG")
    bad = good[: len(good) // 2]

    def read(data: bytes) -> bytes | None:
        try:
            return read_image(data).tobytes()
        except BadImage:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, [good, bad] * 100))
    assert results == [read_image(good).tobytes(), None] * 100
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def bombs() -> dict[str, bytes]:
    side = 30_000
    bmp = bytearray(encode(Image.new("RGB", (1, 1)), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    tiff = encode(Image.new("L", (513, 514)), "TIFF")
    for tag, value in ((256, 513), (257, 514)):
        for kind in (3, 4):  # SHORT or LONG
            tiff = tiff.replace(struct.pack("<HHII", tag, kind, 1, value), struct.pack("<HHII", tag, 4, 1, side))
    jpeg = bytearray(encode(Image.new("L", (8, 8)), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    gif = encode(Image.new("L", (8, 8)), "GIF")
    canvas = gif[:6] + struct.pack("<HH", side, side) + gif[10:]
    at = gif.index(b",") + 5
    frame = gif[:at] + struct.pack("<HH", 9_000, 11_000) + gif[at + 4 :]  # where Pillow itself would warn
    vp8 = bytearray(encode(Image.new("RGB", (8, 8)), "WEBP"))
    vp8[26:30] = struct.pack("<HH", 16_383, 16_383)
    vp8l = bytearray(encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    vp8l[21:25] = ((int.from_bytes(vp8l[21:25], "little") >> 28 << 28) + (1 << 28) - 1).to_bytes(4, "little")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    vp8x = bytearray(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert (vp8[12:16], vp8l[12:16], vp8x[12:16]) == (b"VP8 ", b"VP8L", b"VP8X")
    vp8x[24:30] = (side - 1).to_bytes(3, "little") * 2
    return {
        "png": png(side, side, 8, 0, b"\0" * 100),
        "bmp": bytes(bmp),
        "tiff": tiff,
        "jpeg": bytes(jpeg),
        "gif canvas": canvas,
        "gif frame": frame,
        "webp": bytes(vp8),
        "webp lossless": bytes(vp8l),
        "webp animated": bytes(vp8x),
    }


@pytest.mark.parametrize(("name", "data"), bombs().items(), ids=list(bombs()))
def test_bombs_are_judged_by_the_header(name: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "_open", decode)  # makes room for the canvas already
    size = {"gif frame": "9000 x 11000", "webp": "16383 x 16383", "webp lossless": "16384 x 16384"}
    expected = f"^too large: {size.get(name, '30000 x 30000')} pixels exceed the limit of 89478485$"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call in (read_image, size_of):
            with pytest.raises(BadImage, match=expected):
                call(data)
    assert caught == []


def test_the_limit_itself_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("RGB", (64, 48)), "PNG")
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48)
    assert read_image(data).shape == (48, 64, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(BadImage, match=r"^too large: 64 x 48 pixels exceed the limit of 3071$"):
        read_image(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_random_damage_gives_an_image_or_one_error(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 10**6)
    good = encode(Image.fromarray(noise(24, 20)), format)
    random_ = random.Random(format)
    outcomes = set()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(random_.randint(1, 8)):
            data[random_.randrange(min(len(data), 200))] = random_.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about damaged tags
            try:
                outcomes.add(read_image(bytes(data)).dtype)
            except BadImage:
                outcomes.add(None)
    assert outcomes == {None, np.dtype(np.uint8)}


def test_io_errors_are_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.new("RGB", (4, 4), "red"), "PNG"))
    monkeypatch.setattr(reading, "WAITS", (0, 0))
    read_bytes = Path.read_bytes
    faults = [5, 116]

    def shaky(self: Path) -> bytes:
        if faults:
            raise OSError(faults.pop(), "shaky")
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", shaky)
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]
    faults.extend([5, 5, 5])
    with pytest.raises(TransientError, match=r"a.png could not be read: shaky"):
        read_image(path)


def test_memory_errors_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise MemoryError

    data = encode(Image.new("L", (4, 4)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        read_image(data)
