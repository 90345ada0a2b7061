"""What a data set is to the rest of the package, and the table of data sets by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .text_encoding import ENCODINGS

KINDS = ("mvsa-single", "mvsa-multiple", "folder")
"""Data sets that `open_dataset` knows."""


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
    """The arguments with which `open_dataset(**source)` opens it again."""
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
    """What a reader is asked for; see `open_dataset`."""

    kind: str
    root: str | None
    name: str | None
    table: str | None
    columns: dict[str, str] | None
    allow_outside: bool
    encoding: str | None


def open_dataset(
    kind: str,
    root: str | Path | None = None,
    *,
    name: str | None = None,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
    encoding: str | None = None,
) -> DataSet:
    """Read a data set's table; images and text files are not touched.

    Args:
        kind: one of `KINDS`.
        root: the data set's folder; for MVSA `$ITIN_DATA/<kind>` where none is given.
        name: names the data set in the cache; by default the kind, for `folder` the folder's name and a short hash of
            its path.
        table: for `folder`: the CSV, TSV or JSONL file, where the folder does not hold exactly one.
        columns: for `folder`: the table's names for `id`, `image`, `text` and `label` where they differ.
        allow_outside: for `folder`: accept images outside `root`.
        encoding: for MVSA: one of `text_encoding.ENCODINGS`, in which the text files are; None: by what they hold.

    Raises:
        DataError: a folder or table is missing or is not what its reader expects.
        TransientError: the table could not be read this time.
        ValueError: an unknown kind, a name that cannot be a folder's name, or an option that the kind does not have.
    """
    from . import folder, mvsa  # they build on the classes above

    readers: dict[str, Callable[[Source], DataSet]] = {
        "mvsa-single": mvsa.read,
        "mvsa-multiple": mvsa.read,
        "folder": folder.read,
    }
    if kind not in readers:
        raise ValueError(f"no data set {kind!r}; there are {', '.join(readers)}")
    if name is not None and not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(f"the name {name!r} does not do: letters, digits, '_', '-', '+' and '.' only, '.' not first")
    if name in KINDS and name != kind:
        raise ValueError(f"the name {name!r} belongs to the data set {name}: choose another")
    if kind != "folder" and (table is not None or columns or allow_outside):
        raise ValueError(f"table, columns and allow_outside belong to the data set 'folder', not to {kind!r}")
    if encoding is not None and (kind == "folder" or encoding not in ENCODINGS):
        raise ValueError(f"encoding is for MVSA's text files, one of {', '.join(ENCODINGS)}: not {encoding!r}")
    source = Source(
        kind=kind,
        root=None if root is None else str(root),
        name=name,
        table=None if table is None else str(table),
        columns=dict(columns) if columns else None,
        allow_outside=allow_outside,
        encoding=encoding,
    )
    return readers[kind](source)


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
