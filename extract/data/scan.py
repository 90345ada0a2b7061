"""From entries to samples: each text is decoded, each image hashed and measured; unusable entries are named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError, TransientError
from .images import MAX_BYTES, ImageInput, image_bytes, image_input, read_image
from .places.remote import spelt
from .reading import BadFile, read_bytes
from .samples import DataSet, Entry, Rejected, Sample
from .text_encoding import TextEncoding, decide_encoding, decode

MAX_TEXT_BYTES = 2**20
"""Size of a text file above which it is not read."""


@dataclass(frozen=True)
class Scan:
    """The state of a data set's entries today; every entry is in exactly one of the lists, in the entries' order."""

    samples: Sequence[Sample]
    """Pairs that can be used, as far as the image's header tells."""
    rejected: list[Rejected]
    """Pairs that cannot be used as they are."""
    unread: list[Rejected]
    """Pairs that could not be read this time and may be sound."""
    encoding: TextEncoding = field(default_factory=TextEncoding)
    """Encoding of the text files."""


def scan(
    dataset: DataSet,
    known: Mapping[str, Sample] | None = None,
    workers: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Read all that identifies the inputs of a data set; images are hashed but not decoded.

    Text files are decoded once all are read, in the data set's one encoding (`text_encoding.decide_encoding`).

    Args:
        dataset: as `open_dataset` gives it.
        known: id -> sample of an earlier scan. The hash and size of an image whose path, file size and modification
            time are still the same are taken over without reading it, unless they come from a version that did not
            read the orientation. Texts are always read.
        workers: threads.
        progress: called in the calling thread with the number of entries done so far.

    Raises:
        DataError: not one of the images exists.
    """
    known = known or {}
    samples: list[Sample] = []
    rejected: list[Rejected] = []
    unread: list[Rejected] = []
    missing = 0
    read: list[RawEntry | BadFile | TransientError] = []

    def look(entry: Entry) -> RawEntry | BadFile | TransientError:
        try:
            return read_entry(entry, known.get(entry.id))
        except (BadFile, TransientError) as error:
            return error

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="scan")
    try:
        for done, one in enumerate(pool.map(look, dataset.entries), start=1):
            read.append(one)
            if progress is not None:
                progress(done)
    finally:
        pool.shutdown(cancel_futures=True)
    raw = (one.text for one in read if isinstance(one, RawEntry) and isinstance(one.text, bytes))
    encoding = decide_encoding(raw, dataset.text_encoding, dataset.encoding)
    for entry, found in zip(dataset.entries, read, strict=True):
        try:
            if not isinstance(found, RawEntry):
                raise found
            samples.append(sample_of(entry, found, encoding.name or dataset.text_encoding))
        except TransientError as error:
            unread.append(Rejected(entry.id, error.what))
        except BadFile as error:
            rejected.append(Rejected(entry.id, error.reason))
            missing += isinstance(error, _MissingImage)
    if missing and missing == len(dataset.entries):
        image, told = dataset.entries[0].image, "no file at any of the paths"
        next_step = "name the folder that the image paths start from with --root"
        if windows := [entry.image for entry in dataset.entries if _has_backslash(entry.image)]:
            image = windows[0]
            told = f"backslashes in {len(windows)} of the paths: only Windows takes them for folders"
            next_step = "write the table's image paths with / instead of \\, and without a drive such as C:"
        raise DataError(
            f"none of the {missing} images of {dataset.name} exists",
            expected=f"images such as {spelt(image)}",
            found=told,
            next_step=next_step,
        )
    return Scan(samples, rejected, unread, encoding)


class _MissingImage(BadFile):
    pass


def _has_backslash(path: Path) -> bool:
    """Return whether a path was probably written on Windows, and names no folders here."""
    return os.sep == "/" and "\\" in str(path)


@dataclass(frozen=True)
class RawEntry:
    """The data read for an entry."""

    image: ImageInput
    image_bytes: int
    image_mtime_ns: int
    text: str | bytes
    """The text, or the bytes of its file, not decoded yet."""


def read_entry(entry: Entry, known: Sample | None) -> RawEntry:
    """Read what identifies the inputs of an entry; see `scan` for `known`."""
    try:
        status = entry.locator.status(MAX_BYTES)
    except BadFile as error:
        kind = _MissingImage if error.missing else BadFile
        hint = "; write / instead of backslashes" if error.missing and _has_backslash(entry.image) else ""
        raise kind(f"{entry.locator.what} {error.reason}: {spelt(entry.image)!r}{hint}") from error
    try:
        text = entry.text if isinstance(entry.text, str) else read_bytes(entry.text, MAX_TEXT_BYTES)
    except BadFile as error:
        raise BadFile(f"text file {error.reason}: {str(entry.text)!r}") from error
    if (
        known is not None
        and known.orientation
        and (entry.locator, *status) == (known.locator, known.image_bytes, known.image_mtime_ns)
    ):
        image = ImageInput(known.image_sha256, known.width, known.height, known.orientation)
    else:
        image = image_input(image_bytes(entry.place))
    return RawEntry(image, *status, text)


def sample_of(entry: Entry, read: RawEntry, encoding: str) -> Sample:
    """Return an entry with what was read of it; raise BadFile where its text cannot be used."""
    try:
        text = (read.text if isinstance(read.text, str) else decode(read.text, encoding)).strip()
    except UnicodeDecodeError as error:
        raise BadFile(f"text is not {encoding.upper()}: byte {error.start} of {str(entry.text)!r}") from error
    if not text:
        raise BadFile("text is empty")
    return Sample(
        id=entry.id,
        image=spelt(entry.image),
        text=text,
        label=entry.label,
        text_label=entry.text_label,
        image_label=entry.image_label,
        image_sha256=read.image.sha256,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        width=read.image.width,
        height=read.image.height,
        image_bytes=read.image_bytes,
        image_mtime_ns=read.image_mtime_ns,
        orientation=read.image.orientation,
        part=entry.part,
        targets=entry.targets,
        within=entry.within,
    )


def undecodable(
    samples: Sequence[Sample], workers: int = 8, advance: Callable[[], None] | None = None
) -> list[Rejected]:
    """Decode every image and return the samples whose image cannot be decoded, which a scan of headers does not show.

    Args:
        samples: the samples of a scan.
        workers: threads.
        advance: called in the calling thread after each.
    """

    def look(sample: Sample) -> Rejected | None:
        try:
            read_image(sample.place)
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
