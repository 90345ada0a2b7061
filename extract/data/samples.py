"""What a data set is to the rest of the package: entries, samples, and what cannot be used."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One pair as the data set names it; nothing has been read yet."""

    id: str
    """Unique in its data set."""
    image: Path
    """Absolute path of the image file."""
    text: Path | str
    """The text itself, or the absolute path of a file that holds it."""
    label: str | None
    """One of `LABELS`, or None: unlabelled."""
    text_label: str | None = None
    """The text's own label, where the data set has one."""
    image_label: str | None = None
    """The image's own label, where the data set has one."""


@dataclass(frozen=True)
class Sample:
    """One pair that can be used, with all that identifies its inputs."""

    id: str
    """Unique in its data set."""
    image: str
    """Absolute path of the image file."""
    text: str
    """Decoded, without white space at its ends; never empty."""
    label: str | None
    """One of `LABELS`, or None: unlabelled."""
    text_label: str | None
    """The text's own label, where the data set has one."""
    image_label: str | None
    """The image's own label, where the data set has one."""
    image_sha256: str
    """Of the image file's bytes, in hexadecimal digits, or where EXIF turns the picture of these with the orientation
    (`images.ImageInput`)."""
    text_sha256: str
    """Of `text` in UTF-8, in hexadecimal digits."""
    width: int
    """Of the picture as shown, in pixels."""
    height: int
    """Of the picture as shown, in pixels."""
    image_bytes: int
    """Size of the image file."""
    image_mtime_ns: int
    """Modification time of the image file, in nanoseconds."""
    orientation: int = 0
    """How EXIF data turn the picture, 1 to 8; 0 in a table from before that was looked at: its digest and size are of
    the picture as stored."""


@dataclass(frozen=True)
class Rejected:
    """A pair or a row that cannot be used."""

    id: str
    """The pair's id, or "line 12" where a row has no id of its own."""
    reason: str
    """One line for people."""


@dataclass(frozen=True)
class DataSet:
    """The pairs of one data set, in the order of its table."""

    name: str
    """Names the folder of its features in the cache."""
    root: Path
    """Absolute path of its folder."""
    entries: list[Entry]
    """Every pair that keeps a place in the data set."""
    rejected: list[Rejected]
    """Rows that make no entry: malformed, a duplicate id, an unknown label, an image outside the root."""
    dropped: dict[str, int] = field(default_factory=dict)
    """How many pairs the data set's own label rule leaves out, by reason."""
    source: dict[str, object] = field(default_factory=dict)
    """The arguments with which `datasets.open_dataset(**source)` opens it again."""
    text_encoding: str = "utf-8"
    """In which the data set is published; of the files that entries name as their text."""

    @property
    def encoding(self) -> str | None:
        """What the text files are read as where that was given or decided before; None: `scan` decides."""
        given = self.source.get("encoding")
        return None if given is None else str(given)

    def read_as(self, encoding: str | None) -> DataSet:
        """The same with text files of this encoding."""
        return replace(self, source={**self.source, "encoding": encoding})


@dataclass(frozen=True)
class Source:
    """What a reader is asked for; see `datasets.open_dataset`."""

    kind: str
    root: str | None
    name: str | None
    table: str | None
    columns: dict[str, str] | None
    allow_outside: bool
    encoding: str | None


def source_of(source: Source, *, root: Path, name: str, table: Path | None = None) -> dict[str, object]:
    """`source` as the arguments of `open_dataset`, with what the reader found put in."""
    return {**asdict(source), "root": str(root), "name": name, "table": None if table is None else str(table)}


def reject(failed: Iterable[tuple[str, str, str]], kept: Container[str], file: str) -> list[Rejected]:
    """Rejected rows of a table.

    Args:
        failed: (id, place in the file such as "line 4", reason) of each; the id is empty where there is none.
        kept: ids that another row of the table gave an entry: the row is rejected by its place, not by its id.
        file: the table's name.
    """
    return [
        Rejected(id if id and id not in kept else where, f"{file}, {where}: {reason}") for id, where, reason in failed
    ]
