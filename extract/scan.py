"""Entries -> samples: each text decoded, each image hashed and measured; what cannot be used is named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, TransientError
from .files import BadFile, read_bytes, stat_file
from .images import MAX_BYTES, MAX_PIXELS, image_bytes, image_size, read_image
from .samples import DataSet, Entry, Rejected, Sample

MAX_TEXT_BYTES = 2**20
"""Size of a text file above which it is not read."""


@dataclass(frozen=True)
class Scan:
    """What a data set's entries are worth today; every entry is in exactly one of the lists, in the entries' order."""

    samples: list[Sample]
    """Pairs that can be used, as far as the image's header tells."""
    rejected: list[Rejected]
    """Pairs that cannot be used as they are."""
    unread: list[Rejected]
    """Pairs that could not be read this time and may be sound."""


def scan(
    dataset: DataSet,
    known: Mapping[str, Sample] | None = None,
    workers: int = 8,
    progress: Callable[[int], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Scan:
    """Read all that identifies the inputs of a data set; images are hashed but not decoded.

    Args:
        dataset: as `open_dataset` gives it.
        known: id -> sample of an earlier scan. The hash and size of an image whose path, file size and modification
            time are still the same are taken over without reading it. Texts are always read.
        workers: threads.
        progress: called in the calling thread with the number of entries done so far.
        max_pixels: width times height allowed.

    Raises:
        DataError: not one of the images exists.
    """
    known = known or {}
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    unread: list[Rejected] = []
    missing = 0

    def look(entry: Entry) -> Sample | BadFile | TransientError:
        try:
            return _sample(entry, dataset.text_encoding, known.get(entry.id), max_pixels)
        except (BadFile, TransientError) as error:
            return error

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="scan")
    try:
        for done, (entry, found) in enumerate(
            zip(dataset.entries, pool.map(look, dataset.entries), strict=True), start=1
        ):
            if isinstance(found, Sample):
                samples.append(found)
            elif isinstance(found, TransientError):
                unread.append(Rejected(entry.id, found.what))
            else:
                rejected.append(Rejected(entry.id, found.reason))
                missing += isinstance(found, _MissingImage)
            if progress is not None:
                progress(done)
    finally:
        pool.shutdown(cancel_futures=True)
    if missing and missing == len(dataset.entries):
        image, told = dataset.entries[0].image, "no file at any of the paths"
        next_step = "name the folder that the image paths start from with --root"
        if windows := [entry.image for entry in dataset.entries if _has_backslash(entry.image)]:
            image = windows[0]
            told = f"backslashes in {len(windows)} of the paths: only Windows takes them for folders"
            next_step = "write the table's image paths with / instead of \\, and without a drive such as C:"
        raise DataError(
            f"none of the {missing} images of {dataset.name} exists",
            expected=f"images such as {image}",
            found=told,
            next_step=next_step,
        )
    return Scan(samples, rejected, unread)


class _MissingImage(BadFile):
    pass


def _has_backslash(path: Path) -> bool:
    """Whether a path was probably written on Windows, and names no folders here."""
    return os.sep == "/" and "\\" in str(path)


def _sample(entry: Entry, encoding: str, known: Sample | None, max_pixels: int) -> Sample:
    try:
        status = stat_file(entry.image, MAX_BYTES)
    except BadFile as error:
        kind = _MissingImage if error.missing else BadFile
        hint = (
            "; write / instead of backslashes" if error.missing and "\\" in str(entry.image) and os.sep == "/" else ""
        )
        raise kind(f"image file {error.reason}: {str(entry.image)!r}{hint}") from error
    text = _text(entry.text, encoding)
    if known is not None and (str(entry.image), status.st_size, status.st_mtime_ns) == (
        known.image,
        known.image_bytes,
        known.image_mtime_ns,
    ):
        image_sha256, width, height = known.image_sha256, known.width, known.height
    else:
        data = image_bytes(entry.image)
        width, height = image_size(data, max_pixels)
        image_sha256 = hashlib.sha256(data).hexdigest()
    return Sample(
        id=entry.id,
        image=str(entry.image),
        text=text,
        label=entry.label,
        text_label=entry.text_label,
        image_label=entry.image_label,
        image_sha256=image_sha256,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        width=width,
        height=height,
        image_bytes=status.st_size,
        image_mtime_ns=status.st_mtime_ns,
    )


def _text(source: Path | str, encoding: str) -> str:
    if isinstance(source, str):
        text = source.strip()
    else:
        try:
            text = read_bytes(source, MAX_TEXT_BYTES).decode(encoding).strip()
        except BadFile as error:
            raise BadFile(f"text file {error.reason}: {str(source)!r}") from error
        except UnicodeDecodeError as error:
            raise BadFile(f"text is not {encoding.upper()}: byte {error.start} of {str(source)!r}") from error
    if not text:
        raise BadFile("text is empty")
    return text


def undecodable(
    samples: Sequence[Sample], workers: int = 8, advance: Callable[[], None] | None = None
) -> list[Rejected]:
    """Decode every image and return the samples whose image cannot be, which a scan of the headers does not tell.

    Args:
        samples: those of a scan.
        workers: threads.
        advance: called in the calling thread after each.
    """

    def look(sample: Sample) -> Rejected | None:
        try:
            read_image(Path(sample.image))
        except (BadFile, TransientError) as error:
            return Rejected(sample.id, error.reason if isinstance(error, BadFile) else error.what)
        return None

    found = []
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="decode") as pool:
        for one in pool.map(look, samples):
            found += [one] if one is not None else []
            if advance is not None:
                advance()
    return found
