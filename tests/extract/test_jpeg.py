"""JPEG decoded by simplejpeg: the pixels are Pillow's, and what it refuses is left to Pillow."""

from __future__ import annotations

import io
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itin.extract import jpeg
from itin.extract.data import images
from itin.extract.data.images import BadImage, read_image

simplejpeg = pytest.importorskip("simplejpeg", reason="needs itin[jpeg]")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the faster decoder did."""
    decoder, done = jpeg.faster_decoder(), Counter[str]()
    assert decoder is not None

    def decode(data: bytes) -> np.ndarray:
        done["asked"] += 1
        pixels = decoder(data)
        done["decoded"] += 1
        return pixels

    monkeypatch.setattr(images, "faster_decoder", lambda: decode)
    return done


def both(data: bytes, **options: Any) -> list[Any]:
    """What a file gives with the faster decoder and without: pixels, or the reason why there are none."""
    found: list[Any] = []
    for decoder in (images.faster_decoder, lambda: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(images, "faster_decoder", decoder)
            try:
                found.append(read_image(data, **options))
            except BadImage as error:
                found.append(error.reason)
    return found


def encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def picture(side: int = 48) -> Image.Image:
    values = np.random.default_rng(side).integers(0, 256, (7, 6, 3), np.uint8)
    return Image.fromarray(values).resize((side + 3, side), Image.Resampling.BICUBIC)


def kinds() -> Iterator[tuple[str, bytes]]:
    for mode in ("RGB", "L"):
        for progressive in (False, True):
            for subsampling in (0, 1, 2):
                options = {"progressive": progressive, "subsampling": subsampling, "quality": 90}
                yield f"{mode} {options}", encoded(picture().convert(mode), **options)
    yield "restarts", encoded(picture(), restart_marker_blocks=2)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation {orientation}", encoded(picture(), exif=exif)


@pytest.mark.parametrize(("what", "data"), list(kinds()), ids=lambda one: one if isinstance(one, str) else "")
def test_pixels_are_those_of_pillow(used: Counter[str], what: str, data: bytes) -> None:
    for turn in (True, False):
        faster, pillow = both(data, turn=turn)
        np.testing.assert_array_equal(faster, pillow)
        assert faster.dtype == np.uint8
        assert faster.flags.writeable
        assert faster.flags.c_contiguous
    assert used == {"asked": 2, "decoded": 2}


def test_pixels_are_right(used: Counter[str]) -> None:
    """Without Pillow as the judge: flat colours survive JPEG within rounding, at the corners they were put."""
    corners = np.zeros((32, 64, 3), np.uint8)
    corners[:16, :32], corners[16:, 32:] = (250, 20, 20), (20, 20, 250)
    found = read_image(encoded(Image.fromarray(corners), quality=95, subsampling=0))
    assert np.abs(found.astype(int) - corners).max() <= 6
    assert used["decoded"] == 1


def test_real_photos(used: Counter[str], shared_data: Path) -> None:
    photos = sorted((shared_data / "mvsa-single-sample" / "data").glob("*.jpg"))[::8]
    for path in photos:
        np.testing.assert_array_equal(*both(path.read_bytes()))
    assert used["decoded"] == len(photos) > 50


def test_cmyk_is_left_to_pillow(used: Counter[str]) -> None:
    np.testing.assert_array_equal(*both(encoded(picture().convert("CMYK"))))
    assert not used


def test_damaged_files_are_what_they_are_to_pillow(used: Counter[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Cut, overwritten, with bytes too many or too few: the same pixels or the same reason, and not a word besides."""
    chance, outcomes = random.Random(0), Counter[str]()
    for _ in range(400):
        options = {"progressive": chance.random() < 0.4, "subsampling": chance.randrange(3)}
        data = bytearray(encoded(picture(), **options))
        for _ in range(chance.choice([1, 1, 4])):
            at = chance.randrange(2, len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        if chance.random() < 0.2:
            del data[chance.randrange(4, len(data)) :]
        faster, pillow = both(bytes(data))
        if isinstance(pillow, str):
            assert faster == pillow
        else:
            np.testing.assert_array_equal(faster, pillow)
        outcomes["refused" if isinstance(pillow, str) else "decoded"] += 1
    assert min(outcomes["refused"], outcomes["decoded"], used["decoded"]) > 50
    assert used["asked"] - used["decoded"] > 50
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def unproven() -> Iterator[None]:
    jpeg.faster_decoder.cache_clear()
    yield
    jpeg.faster_decoder.cache_clear()


def test_a_build_with_other_pixels_is_not_used(unproven: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by one in one probe of many: the layout of colours that Pillow cannot write itself."""
    real = simplejpeg.decode_jpeg

    def other(data: bytes, **options: Any) -> np.ndarray:
        pixels: np.ndarray = real(data, **options)
        return pixels ^ (pixels.shape[0] == 4 * pixels.shape[1])

    monkeypatch.setattr(simplejpeg, "decode_jpeg", other)
    assert jpeg.faster_decoder() is None


def test_without_simplejpeg_pillow_decodes(unproven: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert jpeg.faster_decoder() is None
    assert read_image(encoded(picture())).shape == (48, 51, 3)
