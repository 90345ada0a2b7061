"""Image files to checked RGB arrays; their contents are not trusted."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..jpeg import faster_decoder
from .exif import orientation
from .places.locator import Locator
from .png import SIGNATURE, Png
from .reading import BadFile

MAX_PIXELS = 89_478_485
"""Width times height above which an image is refused, by its header, before anything is decoded: Pillow's own default,
a quarter of a gigabyte as RGB."""

MAX_BYTES = 512 * 2**20
"""Size of an image file above which it is not read."""


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition of the stored picture into the one that is shown."""


class BadImage(BadFile):
    """An image that can never be used as it is; `reason` says why in one line."""


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def getexif(self) -> Image.Exif:
        # Pillow reads only the resolution from it on opening, and warns where EXIF data are damaged.
        return Image.Exif()


def image_bytes(place: Path | Locator) -> bytes:
    """Return the bytes of an image file, or of an image in an archive or a table.

    Raises:
        BadImage: the file is missing or not a regular file, or the image is damaged, cut short or larger than
            `MAX_BYTES`.
        TransientError: an I/O error that outlasted the retries, or access was denied.
    """
    locator = place if isinstance(place, Locator) else Locator(place)
    try:
        return locator.read(MAX_BYTES)
    except BadFile as error:
        raise BadImage(f"{locator.what} {error.reason}", missing=error.missing) from error


@dataclass(frozen=True)
class ImageInput:
    """The identity of a picture as an input of encoders."""

    sha256: str
    """SHA-256 of the image file; where EXIF data turn the picture it covers the orientation too, so that features of
    the picture as stored, which earlier versions made, are never taken for it."""
    width: int
    """Width in pixels, as shown."""
    height: int
    """Height in pixels, as shown."""
    orientation: int
    """EXIF orientation of the stored picture, 1 to 8; 1: not turned."""


def image_input(data: bytes) -> ImageInput:
    """Return the identity of a picture, from file and header alone; nothing is decoded.

    Args:
        data: a whole image file.

    Raises:
        BadImage: the file is empty or of no known format, its header is damaged, a side has zero pixels, or there are
            more than `MAX_PIXELS`.
    """
    opened = _open(data)
    digest = hashlib.sha256(data).hexdigest()
    if opened.turn is not None:
        digest = hashlib.sha256(f"{digest} EXIF orientation {opened.orientation}".encode()).hexdigest()
    return ImageInput(digest, *opened.size, opened.orientation)


def read_image(source: str | Path | Locator | bytes, turn: bool = True) -> NDArray[np.uint8]:
    """Decode an image to RGB.

    JPEG, PNG, WebP, GIF, BMP and TIFF are read, by their first bytes whatever the file's name; of several frames or
    pages the first. The picture is turned as its EXIF orientation says. Transparent pixels are laid over white, 16-bit
    greyscale keeps its high byte, all other colour spaces are converted as Pillow does. No state that others share is
    changed, so any number of threads may call this. Sound JPEG is decoded by `faster_decoder` where there is one.

    Args:
        source: path of the image file, the place of an image in an archive or table, or the image's bytes.
        turn: whether to turn the picture; False gives the picture as versions read it that did not apply the
            orientation (but for TIFF, where it always was applied).

    Returns:
        (H, W, 3) uint8 RGB, contiguous and writable.

    Raises:
        BadImage: the file is missing, empty, truncated, damaged, too large or no image.
        TransientError: an I/O error that outlasted the retries, or access was denied.
    """
    data = source if isinstance(source, bytes) else image_bytes(Path(source) if isinstance(source, str) else source)
    opened = _open(data)
    way = opened.turn if turn else None
    if isinstance(opened.image, _Jpeg) and opened.image.mode in ("L", "RGB") and (decode := faster_decoder()):
        with contextlib.suppress(ValueError):  # of whatever is odd about the file: Pillow decides
            pixels = decode(data)
            return pixels if way is None else np.array(Image.fromarray(pixels).transpose(way))
    try:
        opened.image.load()
        rgb = _to_rgb(opened.image)
        pixels = np.array(rgb if way is None else rgb.transpose(way))
    except (MemoryError, BadImage):
        raise
    except Exception as error:
        raise BadImage(f"{opened.image.format} image cannot be decoded: {_line(error)}") from error
    return pixels


@dataclass(frozen=True)
class _OpenedImage:
    """An image whose header has been read."""

    image: ImageFile.ImageFile
    size: tuple[int, int]
    """Width and height as shown."""
    orientation: int
    """Orientation in the EXIF data; of a TIFF its own tag, by which Pillow turns the picture as it decodes it."""

    @property
    def turn(self) -> Image.Transpose | None:
        """The transposition that the decoded picture still needs."""
        return None if isinstance(self.image, TiffImagePlugin.TiffImageFile) else TURNS.get(self.orientation)


def _open(data: bytes) -> _OpenedImage:
    """Read the header, without `Image.open`, whose limit and warnings are global to the process."""
    if not data:
        raise BadImage("image file is empty")
    opener = _opener(data)
    if opener is None:
        raise BadImage("not a JPEG, PNG, WebP, GIF, BMP or TIFF image")
    try:
        _check_size(_claimed_size(opener, data))
        image = opener(io.BytesIO(data))
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            way = image.getexif().get(ExifTags.Base.Orientation, 1)
            size = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        else:
            way, size = orientation(image.info.get("exif", b"")), image.size
    except (MemoryError, BadImage):
        raise
    except Exception as error:  # damaged data make the parsers raise almost anything
        raise BadImage(f"{opener.format} header is damaged: {_line(error)}") from error
    _check_size(size)
    way = way if way in TURNS else 1
    return _OpenedImage(image, size[::-1] if way >= 5 else size, way)


def _check_size(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise BadImage(f"too large: {size[0]} x {size[1]} pixels exceed the limit of {MAX_PIXELS}")


def _opener(data: bytes) -> type[ImageFile.ImageFile] | None:
    if data.startswith(b"\xff\xd8\xff"):
        return _Jpeg
    if data.startswith(SIGNATURE):
        return Png
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if data.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImagePlugin.TiffImageFile
    return None


def _claimed_size(opener: type[ImageFile.ImageFile], data: bytes) -> tuple[int, int]:
    """Return the size in the header of formats for which Pillow allocates or warns on opening; (0, 0) for others."""
    if opener is GifImagePlugin.GifImageFile:
        return _gif_size(data)
    if opener is WebPImagePlugin.WebPImageFile:
        return _webp_size(data)
    return 0, 0


def _gif_size(data: bytes) -> tuple[int, int]:
    """Return the size of the canvas, widened to hold the first frame."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] != 0x2C:  # image descriptor
        if data[at] == 0x21:  # extension: label, sub-blocks, zero
            at += 2
            while data[at]:
                at += data[at] + 1
        at += 1
    x, y, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    return max(width, x + frame_width), max(height, y + frame_height)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the size of the canvas; see https://developers.google.com/speed/webp/docs/riff_container."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BadImage("pixels are floating-point numbers of unknown range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise BadImage("pixels are 32-bit numbers of unknown range")
        rgb = Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    elif image.has_transparency_data:
        pixels = image.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    if isinstance(image, Png) and image.transparent is not None:
        rgb.paste("white", mask=Image.fromarray(image.clear()))
    return rgb


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
