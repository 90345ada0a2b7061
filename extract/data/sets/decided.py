"""What is decided of the labels and scores of a data set of one's own: what was decided before, and what is given."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....errors import DataError
from ....labels import listed
from ....tabular.rows import as_text
from ..classes import Labelling, check_number, decide, record_before, recorded, unknown_of
from ..samples import DataSet, DataSetSource, Entry, Rejected, source_of
from .scores import SCORE, Scale, recorded_span, scale_of


class Decided:
    """The classes and the range of scores of one data set.

    Args:
        source: the arguments of its reader.
        root: its folder.
        name: its name in the cache.
        table: its table, if it has one.
        classes: the classes that its own files name, in their order.
    """

    def __init__(
        self, source: DataSetSource, root: Path, name: str, table: Path | None, classes: Sequence[str] = ()
    ) -> None:
        self.name, self.root, self.table = name, root, table or root
        self._record = source_of(source, root=root, name=name, table=table)
        was = record_before(None if source.cache is None else source.cache / name)
        self._before, self._options = recorded(was, self._record)
        self._own = tuple(classes)
        self.given = dict(source.columns or {})
        """Our names of columns -> those in the table."""
        self._span = source.score_range
        if self._span is not None:
            self.given.setdefault(SCORE, SCORE)
        elif (span := recorded_span(was, self._record)) is not None:
            self._span = span
            if "score_range" in was["source"]:
                self._options["score_range"] = list(span)
        ordered = bool(self._options.pop("ordered", False))
        self._ordered = ordered if source.ordered is None else source.ordered
        self.counts: Counter[str] = Counter()

    def labelling(self, found: Counter[str]) -> Labelling:
        """Return the classes, given the number of rows of each label."""
        self.counts.update(found)
        if self._before is not None:
            return replace(self._before, rare={label: self.counts[label] for label in self._before.rare})
        named = self._options.get("classes", ()) or self._own
        decided = decide(self.counts, named, self._options.get("min_class_size"))
        check_number(decided, self.table)
        return decided

    def scaling(self, cells: list[Any], column: str) -> Scale:
        """Return the range of the scores in a column's cells."""
        return scale_of(cells, self._span, SCORE in self.given, column, self.table)

    @property
    def empty(self) -> DataSet:
        """The data set before its rows are read."""
        source = {**self._record, **self._options, **({"ordered": True} if self._ordered else {})}
        return DataSet(name=self.name, root=self.root, entries=[], rejected=[], ordered=self._ordered, source=source)

    def dataset(self, rows: Sequence[Entry | Rejected], labels: Labelling, scale: Scale) -> DataSet:
        """Return the data set of some rows, with classes and range as `labelling` and `scaling` decided them.

        Raises:
            DataError: the classes are to be ordered, and there are none.
        """
        if self._ordered and len(labels.classes) < 2:
            raise DataError(
                f"{self.table} has no classes to be ordered",
                expected="a column with at least two different labels",
                found=listed(labels.classes) or "no labels",
                next_step="name the column with --columns label=NAME, or leave out --ordered",
            )
        return replace(
            self.empty,
            entries=[row for row in rows if isinstance(row, Entry)],
            rejected=[row for row in rows if isinstance(row, Rejected)],
            classes=labels.classes,
            targets=scale.targets,
            rare={label: count for label, count in labels.rare.items() if count},
            unknown=unknown_of(self.counts, labels),
        )


def default_name(root: Path) -> str:
    """Return the name in the cache of a data set of one's own: that of its folder, and a short hash of its path."""
    plain = re.sub(r"[^\w.+-]+", "-", root.name).strip("-.+") or "folder"
    return f"{plain[:60]}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


def checked_id(id: str) -> str:
    """Return an id without white space at its ends; raise ValueError where it is empty or cannot be printed."""
    id = id.strip()
    if not id:
        raise ValueError("no id")
    if not id.isprintable():
        raise ValueError(f"the id {id!a} holds characters that cannot be printed")
    return id


def cell_string(values: Mapping[str, Any], role: str, column: str) -> str:
    """Return the value of a column as text, see `string_of`."""
    return string_of(values.get(column), role)


def string_of(value: Any, role: str) -> str:
    """Return a value as text; an id or a label may be a whole number. Raise ValueError where it is of another type."""
    if isinstance(value, str):
        return as_text(value, role)
    if role in ("id", "label") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if role == "label" and isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else as_text(value, role)
