"""The data sets by name, without an import of their readers, so that a command line can list them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from .places.remote import is_remote, scrub, spelt
from .samples import DataSet, DataSetSource
from .sets.scores import checked_range
from .text_encoding import ENCODINGS


class Reader(NamedTuple):
    """The facts about a data set that need no import of its reader."""

    module: str
    """The file in `sets/` whose `read` makes a `DataSet` of a `DataSetSource`."""
    options: tuple[str, ...] = ("classes",)
    """Those of `OPTIONS` that it has."""


OPTIONS = (
    "table", "columns", "classes", "min_class_size", "allow_outside", "aspect", "encoding", "labelled_only", "ordered",
    "score_range",
)  # fmt: skip
"""The options that only some data sets have."""

FOLDER = ("table", "columns", "classes", "min_class_size", "ordered", "score_range", "allow_outside")
"""The options of a table of one's own."""

STREAM = ("columns", "classes", "min_class_size", "ordered", "score_range")
"""The options of archives, and of data sets by the library `datasets`."""

ASPECTS = ("pair", "insert", "keep")
"""How a text names the aspect that its label is about: `sets/twitter.py`."""

DATASETS = {
    "mvsa-single": Reader("mvsa", ("encoding", "labelled_only")),
    "mvsa-multiple": Reader("mvsa", ("encoding", "labelled_only")),
    "msed": Reader("msed", ("columns", "classes")),
    "hfm": Reader("hfm"),
    "mmsd2": Reader("mmsd2"),
    "tumemo": Reader("tumemo"),
    "twitter-2015": Reader("twitter", ("classes", "aspect")),
    "twitter-2017": Reader("twitter", ("classes", "aspect")),
    "memotion": Reader("memotion", ("columns", "classes")),
    "folder": Reader("folder", FOLDER),
}
"""The readers by name of the data set. A new data set is a file in `sets/` and a line here."""

STREAMS = {"webdataset": Reader("webdataset", STREAM), "hf": Reader("hf", (*STREAM, "allow_outside"))}
"""The readers of archives, and of what the library `datasets` can load; the latter are named as `HF_FORM`."""

REMOTE = ("folder", "webdataset")
"""The data sets that can be read behind a protocol."""

HF_FORM = "hf:NAME_OR_FOLDER[:SPLIT]"
"""How a data set of the library `datasets` is named."""

KINDS = (*DATASETS, "webdataset")
"""The names of all others."""


def reader_of(kind: str) -> Reader:
    """Return the reader of a data set by name; raise ValueError where there is none."""
    name, _, rest = kind.partition(":")
    known = {**DATASETS, **STREAMS}
    if name not in known or (name == "hf") != bool(rest):
        raise ValueError(f"no data set {kind!r}; there are {', '.join(KINDS)}, and {HF_FORM}")
    return known[name]


def open_dataset(
    kind: str,
    root: str | Path | None = None,
    *,
    name: str | None = None,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
    encoding: str | None = None,
    classes: Sequence[str] | None = None,
    min_class_size: int | None = None,
    aspect: str | None = None,
    labelled_only: bool = False,
    ordered: bool | None = None,
    score_range: Sequence[float] | None = None,
    cache: Path | None = None,
) -> DataSet:
    """Read a data set's table; images and text files are not touched.

    Args:
        kind: one of `KINDS`, or `HF_FORM`.
        root: the data set's folder; for all but `folder` `$ITIN_DATA/<kind>` where none is given.
        name: names the data set in the cache; by default the kind, for `folder` the folder's name and a short hash of
            its path.
        table: for `folder`: the CSV, TSV or JSONL file, where the folder does not hold exactly one.
        columns: for `folder`: the table's names for `id`, `image`, `text`, `label` and `score` where they differ; for
            `msed` and `memotion` that of `label` alone: which of their columns it is.
        allow_outside: for `folder`: accept images outside `root`.
        encoding: for MVSA: the encoding of the text files, one of `text_encoding.ENCODINGS`; None: by their contents.
        classes: for all but MVSA: the names of the classes, in their order; by default the data set's own, for
            `folder` what was decided before, else `classes.decide` decides.
        min_class_size: for `folder`: the rows of a label that make it a class.
        aspect: for `twitter-2015` and `twitter-2017`: one of `ASPECTS`, by default the first.
        labelled_only: for MVSA: leave the pairs out that its label rule gives no label.
        ordered: for `folder`: the classes go from the least to the greatest; None: as was said before.
        score_range: for `folder`: the least and the greatest score; by default what was recorded before, else those of
            the column.
        cache: the cache folder that knows what was decided before.

    Raises:
        DataError: a folder or table is missing or is not what its reader expects.
        TransientError: the table could not be read this time.
        ValueError: the kind is unknown, the name cannot name a folder, or the kind does not have an option.
    """
    reader = reader_of(kind)
    if name is not None and not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"the name {name!r} cannot be used: letters, digits, '_', '-', '+' and '.' only, '.' not first"
        )
    if name in (*DATASETS, *STREAMS) and name != kind:
        raise ValueError(f"the name {name!r} belongs to the data set {name}: choose another")
    given = {"table": table, "columns": columns, "classes": classes, "min_class_size": min_class_size,
             "allow_outside": allow_outside, "aspect": aspect, "labelled_only": labelled_only, "ordered": ordered,
             "score_range": score_range}  # fmt: skip
    for option, value in given.items():
        if value and option not in reader.options:
            have = [one for one, other in DATASETS.items() if option in other.options]
            raise ValueError(f"{option}: an option of {', '.join(have)}, not of the data set {kind!r}")
    if aspect is not None and aspect not in ASPECTS:
        raise ValueError(f"aspect: expected one of {', '.join(ASPECTS)}, got {aspect!r}")
    if encoding is not None and ("encoding" not in reader.options or encoding not in ENCODINGS):
        raise ValueError(
            f"encoding: expected one of {', '.join(ENCODINGS)}, for MVSA alone, got {encoding!r} for {kind!r}"
        )
    if root is not None and kind not in REMOTE and (is_remote(root) or "::" in str(root)):
        raise DataError(
            f"{scrub(spelt(root))} is no folder of this machine, which {kind!r} needs",
            expected=f"a local folder, or one of the data sets {', '.join(REMOTE)}",
            next_step="fetch the files, and name their folder with --root",
        )
    source = DataSetSource(
        kind=kind,
        root=None if root is None else str(root),
        name=name,
        table=None if table is None else str(table),
        columns=dict(columns) if columns else None,
        allow_outside=allow_outside,
        encoding=encoding,
        classes=tuple(classes) if classes else None,
        min_class_size=min_class_size,
        aspect=aspect,
        labelled_only=labelled_only,
        ordered=ordered,
        score_range=None if score_range is None else checked_range(score_range),
        cache=cache,
    )
    read: Callable[[DataSetSource], DataSet] = import_module(f".sets.{reader.module}", __package__).read
    return read(source)
