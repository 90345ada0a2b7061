"""The orientation in a picture's EXIF data; nothing else is read from them."""

from __future__ import annotations

import struct

_ORIENTATION, _SHORT = 0x0112, 3
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in the EXIF data of an image file; 1 where they are damaged or have none.

    Pillow's own reader warns about damaged data through a global switch. As in browsers, only a single value of type
    SHORT counts, and only EXIF (not XMP).

    Args:
        exif: a TIFF structure, with or without `Exif` and two zero bytes before it (EXIF 2.32, sections 4.5 and 4.6).
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = _ORDERS.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == _ORIENTATION:
                return value if (kind, values) == (_SHORT, 1) and 1 <= value <= 8 else 1
    except struct.error:  # it ends too soon
        pass
    return 1
