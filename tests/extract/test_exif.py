"""The orientation in EXIF data: as browsers read it, whatever else is damaged."""

from __future__ import annotations

import struct
import warnings

import pytest
from PIL import Image

from itin.extract.data.exif import orientation


def exif(value: int, order: str = "<", kind: int = 3, count: int = 1, before: int = 0) -> bytes:
    """EXIF data of one directory; `before` other entries stand first, whose values lie outside the data."""
    others = [struct.pack(order + "HHII", 0x0100 + number, 5, 1, 0x7FFFFFFF) for number in range(before)]
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + struct.pack(order + "HH", value, 0)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", before + 1) + b"".join(others) + entry


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0" * 2])
def test_all_eight(order: str, prefix: bytes) -> None:
    for value in range(1, 9):
        assert orientation(prefix + exif(value, order)) == value
        assert orientation(prefix + exif(value, order, before=3)) == value


def test_pillows_own() -> None:
    for value in range(1, 9):
        made = Image.Exif()
        made[0x0112], made[0x010F] = value, "maker"
        assert orientation(made.tobytes()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"GIF89a",
        exif(0),
        exif(9),
        exif(6 << 8),  # the other byte order
        exif(6, kind=4, order=">"),
        exif(6, count=2),
        exif(6)[:-3],
        exif(6, before=2)[:20],
        b"II*\0" + struct.pack("<I", 0xFFFFFFFF),
        b"II*\0" + struct.pack("<IH", 8, 0xFFFF),
    ],
)
def test_what_is_invalid_counts_as_upright_without_a_warning(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert orientation(data) == 1
