"""A data set as the rest of the package sees it: entries, samples, and rows that cannot be used."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...targets import COLUMNS, Target
from .places.locator import Locator

LATER = ("part", "targets", "within")
"""Fields of a sample that tables of before do not have."""


class Entry(NamedTuple):
    """One pair as the data set names it; nothing has been read yet."""

    id: str
    """Unique in its data set."""
    image: Path
    """Absolute path of the image file, or of the archive or table that holds the image."""
    text: Path | str
    """The text itself, or the absolute path of a file that holds it."""
    label: str | None
    """The name of its class, or None: unlabelled."""
    text_label: str | None = None
    """The text's own label, where the data set has one."""
    image_label: str | None = None
    """The image's own label, where the data set has one."""
    part: str | None = None
    """`train`, `val` or `test` in the data set's own split, where it has one."""
    targets: Mapping[str, str | float] = {}
    """The values of further targets, by name: the name of a class, or a number."""
    within: Mapping[str, Any] = {}
    """Where in the file the image is, see `places.locator.Locator`; empty: the file is the image."""

    @property
    def locator(self) -> Locator:
        """Where the image is."""
        return Locator(self.image, self.within)

    @property
    def place(self) -> Path | Locator:
        """Where the image is, as `images.read_image` takes it: the path of a file, else a locator."""
        return self.locator if self.within else self.image


@dataclass(frozen=True)
class Sample:
    """One pair that can be used, with the identity of its inputs."""

    id: str
    """Unique in its data set."""
    image: str
    """Absolute path or URL of the image file, or of the archive or table that holds the image; a table of before may
    have URLs with one slash."""
    text: str
    """The decoded text, without white space at its ends; never empty."""
    label: str | None
    """The name of its class, or None: unlabelled."""
    text_label: str | None
    """The text's own label, where the data set has one."""
    image_label: str | None
    """The image's own label, where the data set has one."""
    image_sha256: str
    """SHA-256 of the image file, in hexadecimal digits; where EXIF turns the picture, with the orientation
    (`images.ImageInput`)."""
    text_sha256: str
    """SHA-256 of `text` in UTF-8, in hexadecimal digits."""
    width: int
    """Width of the picture as shown, in pixels."""
    height: int
    """Height of the picture as shown, in pixels."""
    image_bytes: int
    """Size of the file `image`."""
    image_mtime_ns: int
    """Modification time of the file `image`, in nanoseconds."""
    orientation: int = 0
    """EXIF orientation of the picture, 1 to 8; 0 in a table of a version that did not read it: digest and size are then
    those of the picture as stored."""
    part: str | None = None
    """`train`, `val` or `test` in the data set's own split, where it has one."""
    targets: Mapping[str, str | float] = field(default_factory=dict)
    """The values of further targets, by name: the name of a class, or a number."""
    within: Mapping[str, Any] = field(default_factory=dict)
    """Where in the file the image is, see `places.locator.Locator`; empty: the file is the image."""

    @property
    def locator(self) -> Locator:
        """Where the image is."""
        return Locator(Path(self.image), self.within)

    @property
    def place(self) -> str | Locator:
        """Where the image is, as `images.read_image` takes it: the path of a file, else a locator."""
        return self.locator if self.within else self.image

    def value(self, target: str) -> str | float | None:
        """Return the value of a target, None where there is none."""
        value: str | float | None = getattr(self, COLUMNS[target]) if target in COLUMNS else self.targets.get(target)
        return value

    @property
    def row(self) -> dict[str, Any]:
        """The sample in the data set's table; what it does not have of `LATER` is left out, as before there was any."""
        return {name: value for name, value in asdict(self).items() if name not in LATER or value}


def unit_of(sample: Sample) -> tuple[str, int] | None:
    """Return the archive or row group that holds a sample's image, which one part of an extraction reads as a whole."""
    return (sample.image, sample.within.get("group", 0)) if sample.within else None


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
    """Name of the folder of its features in the cache."""
    root: Path
    """Absolute path of its folder."""
    entries: list[Entry]
    """Every pair that keeps a place in the data set."""
    rejected: list[Rejected]
    """Rows that make no entry: malformed, with a duplicate id, an unknown label, or an image outside the root."""
    dropped: dict[str, int] = field(default_factory=dict)
    """How many pairs the data set's own label rule leaves out, by reason."""
    undecided: dict[str, int] = field(default_factory=dict)
    """How many entries have no label by the data set's own label rule, by reason; if any, these are all without one."""
    classes: tuple[str, ...] = ()
    """The names of the classes, in their order."""
    ordered: bool = False
    """Whether the classes go from the least to the greatest."""
    targets: tuple[Target, ...] = ()
    """What can be learnt from it beside its label."""
    rare: dict[str, int] = field(default_factory=dict)
    """How many rows are left unlabelled, by their label: one of too few rows to be a class."""
    unknown: dict[str, int] = field(default_factory=dict)
    """How many rows have another label that is no class, by label; they are among `rejected`."""
    strange: dict[str, int] = field(default_factory=dict)
    """How many values of further targets are none of their classes, by target and value; these pairs have no value."""
    source: dict[str, object] = field(default_factory=dict)
    """The arguments with which `datasets.open_dataset(**source)` opens it again."""
    text_encoding: str = "utf-8"
    """Encoding of the published text files, where entries name files as their text."""
    stream: Any = field(default=None, compare=False, repr=False)
    """The `streams.stream.Stream` of a data set in archives or tables; it has no entries, and no classes until it is
    scanned."""

    @property
    def all_targets(self) -> list[Target]:
        """Its targets, `label` first where it has classes."""
        label = Target(kind="ordered" if self.ordered else "classes", classes=self.classes) if self.classes else None
        return [*([] if label is None else [label]), *self.targets]

    @property
    def encoding(self) -> str | None:
        """Encoding of the text files where it was given or decided before; None: `scan` decides."""
        given = self.source.get("encoding")
        return None if given is None else str(given)

    def read_as(self, encoding: str | None) -> DataSet:
        """Return the same data set with text files of this encoding."""
        return replace(self, source={**self.source, "encoding": encoding})


@dataclass(frozen=True)
class DataSetSource:
    """The arguments of a reader; see `datasets.open_dataset`."""

    kind: str
    root: str | None
    name: str | None
    table: str | None
    columns: dict[str, str] | None
    allow_outside: bool
    encoding: str | None
    classes: tuple[str, ...] | None = None
    min_class_size: int | None = None
    aspect: str | None = None
    labelled_only: bool = False
    ordered: bool | None = None
    score_range: tuple[float, float] | None = None
    cache: Path | None = None
    """The cache folder whose record of the data set says what was decided before; no part of a source."""


def source_of(source: DataSetSource, *, root: Path, name: str, table: Path | None = None) -> dict[str, object]:
    """Return `source` as the arguments of `open_dataset`, with the root, name and table that the reader found."""
    values = {**asdict(source), "root": str(root), "name": name, "table": None if table is None else str(table)}
    del values["cache"]
    for name in ("classes", "score_range"):  # as JSON gives them back
        values[name] = list(values[name]) if values[name] else None
    # Younger options are left out where they are not given, so that sources of before stay the same.
    younger = ("classes", "min_class_size", "aspect", "labelled_only", "ordered", "score_range")
    return {one: value for one, value in values.items() if value or one not in younger}


def reject(failed: Iterable[tuple[str, str, str]], kept: Container[str], file: str) -> list[Rejected]:
    """Return the rejected rows of a table.

    Args:
        failed: (id, place in the file such as "line 4", reason) of each; the id is empty where there is none.
        kept: ids that another row of the table gave an entry: the row is rejected by its place, not by its id.
        file: the table's name.
    """
    return [
        Rejected(id if id and id not in kept else where, f"{file}, {where}: {reason}") for id, where, reason in failed
    ]
