"""Thumbnails of the pairs' images as data URLs, or the reason why there is none."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TransientError, first_line
from ..extract.data.images import image_bytes, image_input, read_image
from ..extract.data.places.locator import Locator
from ..extract.data.places.remote import is_remote
from ..extract.data.reading import BadFile
from ..parts import default_workers
from ..predict.pairs import Pair
from ..train.runs.folder import Run

SIDE = 256
"""The longer side of a thumbnail, in pixels."""

QUALITY = 60
"""Quality of the WebP encoder; a photograph of this size takes about six kilobytes."""


@dataclass(frozen=True)
class Thumbnail:
    """A thumbnail, or the reason why there is none."""

    url: str
    """A URL `data:image/webp;base64,...`, empty if there is no picture."""
    size: tuple[int, int]
    """Width and height of the full image in pixels, the units of the region boxes; (0, 0) if unknown."""
    reason: str = ""


class Images:
    """The current location of a data set's images.

    Args:
        root: the data set's folder when it was extracted, as the cache records it; None if unknown.
        folder: the user's folder to look in instead: first at the same relative path as below `root`, then by name.
    """

    def __init__(self, root: Path | None = None, folder: Path | None = None) -> None:
        self.root, self.folder = root, folder
        self._away = ""
        """Why a server could not be read: the others of its images are not waited for."""

    @classmethod
    def of(cls, run: Run, folder: Path | None) -> Images:
        """Locate the images of a run's data set; `folder` as in the class."""
        root = run.record["dataset"].get("source", {}).get("root")
        return cls(Path(root) if root else None, folder)

    def places(self, image: Path) -> Iterator[Path]:
        """Yield the paths where an image may be, the most likely first."""
        if self.folder is None:
            yield image
            return
        if self.root is not None and image.is_relative_to(self.root):
            yield self.folder / image.relative_to(self.root)
        yield self.folder / image.name

    def read(self, pair: Pair) -> NDArray[np.uint8] | str:
        """Return the exact image that the pair's features were made from, (H, W, 3) RGB, or why there is none.

        The pixels are those that the encoders saw and that the boxes refer to: features made before itin applied the
        EXIF orientation are recorded under the digest of the file alone.
        """
        reason = ""
        for path in self.places(pair.image):
            if self._away and is_remote(path):
                reason = reason or self._away
                continue
            try:
                data = image_bytes(Locator(path, pair.within))
            except (BadFile, TransientError) as error:
                if isinstance(error, TransientError) and is_remote(path):
                    self._away = first_line(error)
                reason = reason or (
                    "image not found" if not is_remote(path) and not path.exists() else first_line(error)
                )
                continue
            try:
                as_stored = hashlib.sha256(data).hexdigest() == pair.image_sha256
                if as_stored or image_input(data).sha256 == pair.image_sha256:
                    return read_image(data, turn=not as_stored)
            except BadFile as error:
                reason = error.reason
            else:
                reason = "another image than the one whose features were made"
        return reason


def thumbnail(pair: Pair, images: Images, side: int = SIDE) -> Thumbnail:
    """Make a thumbnail of a pair's image.

    Args:
        pair: the pair.
        images: the location of the images.
        side: the longer side in pixels; smaller images keep their size.
    """
    image = images.read(pair)
    return Thumbnail("", pair.size, image) if isinstance(image, str) else picture(image, side)


def picture(image: NDArray[np.uint8], side: int) -> Thumbnail:
    """Make a thumbnail of a decoded image (H, W, 3), its longer side at most `side` pixels."""
    whole = Image.fromarray(image)
    size = whole.size
    whole.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    whole.save(out, "WEBP", quality=QUALITY, method=2)
    return Thumbnail("data:image/webp;base64," + base64.b64encode(out.getvalue()).decode(), size)


def thumbnails(pairs: Iterable[Pair], images: Images) -> dict[str, Thumbnail]:
    """Make the thumbnails of many pairs in parallel; the keys are the digests of the images."""
    wanted = list({pair.image_sha256: pair for pair in pairs}.values())
    with ThreadPoolExecutor(default_workers()) as pool:
        made = pool.map(lambda pair: thumbnail(pair, images), wanted)
        return {pair.image_sha256: one for pair, one in zip(wanted, made, strict=True)}
