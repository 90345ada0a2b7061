"""The classes of a table of one's own: which labels are classes, in which order, and what becomes of the others."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...cache.format.sealed_json import read_json
from ...errors import CacheError, DataError
from ...labels import LABELS, listed

MIN_SIZE = 2
"""Rows of a label from which it is a class where neither classes nor a size are given."""

MAX_CLASSES = 1000
"""Classes above which a column holds no labels but texts or ids."""

MAX_LENGTH = 200
"""The longest label, in characters."""

OPTIONS = ("classes", "min_class_size")
"""The options that decide the classes, as a data set's source records them."""


@dataclass(frozen=True)
class Labelling:
    """The classes of a table, and the labels whose rows are left unlabelled."""

    classes: tuple[str, ...]
    """The names of the classes, in their order."""
    rare: dict[str, int] = field(default_factory=dict)
    """The labels of too few rows to be classes, and the number of their rows."""

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    def class_of(self, label: str) -> str | None:
        """Return the class of a row's label, None for an empty or a rare one.

        Labels are compared as they stand, those of positive, neutral and negative alone in any case.

        Raises:
            ValueError: the label is none of the classes.
        """
        if not label or label in self.rare:
            return None
        name = label.lower() if _any_case(self.classes) else label
        if name not in self._numbers:
            raise ValueError(f"unknown label {label[:40]!r}; known are {listed(self.classes)}")
        return name


def clean(label: str) -> str:
    """Return a label without white space at its ends.

    Raises:
        ValueError: it is too long, or holds line ends or other control characters.
    """
    label = label.strip()
    if len(label) > MAX_LENGTH:
        raise ValueError(f"the label {label[:40]!r}... is longer than {MAX_LENGTH} characters")
    if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in label):
        raise ValueError(f"the label {label!a} holds characters that cannot be printed")
    return label


def check_number(labelling: Labelling, table: Path) -> None:
    """Raise DataError if a table has too many classes for a column of labels."""
    if len(labelling.classes) > MAX_CLASSES:
        raise DataError(
            f"the label column of {table} has too many different labels",
            expected=f"at most {MAX_CLASSES} classes",
            found=f"{len(labelling.classes)}: {listed(labelling.classes, 3)}",
            next_step="say with --columns label=NAME which column holds the labels, or raise --min-class-size",
        )


def decide(counts: Mapping[str, int], named: Sequence[str] = (), least: int | None = None) -> Labelling:
    """Decide which labels of a table are its classes.

    Those that are named, in their order; else MVSA's three if all other labels are rare; else all that are not rare, by
    name. Rare is a label of fewer than `least` rows, by default `MIN_SIZE`; where classes are named or MVSA's, only
    `least` makes one of them rare, and any other label is unknown.

    Args:
        counts: the number of rows of each label, as it stands in the table.
        named: the classes, if given.
        least: the smallest number of rows of a class, if given.
    """
    common = sorted(label for label, count in counts.items() if count >= (least or MIN_SIZE))
    sentiment = {label for label in counts if label.lower() in LABELS}
    fixed = tuple(named) or (LABELS if sentiment and sentiment.issuperset(common) else ())
    classes = fixed or tuple(common)
    fold = str.lower if _any_case(classes) else str
    sizes: Counter[str] = Counter()
    for label, count in counts.items():
        sizes[fold(label)] += count
    kept = tuple(name for name in classes if least is None or sizes[name] >= least)
    small = {label for label in counts if fold(label) not in kept and (not fixed or fold(label) in fixed)}
    return Labelling(kept, {label: counts[label] for label in sorted(small)})


def record_before(folder: Path | None) -> dict[str, Any]:
    """Return what a data set's folder in the cache records of it; nothing where it is not known or damaged."""
    try:
        return read_json(folder / "dataset.json") if folder is not None and (folder / "dataset.json").exists() else {}
    except CacheError:  # the table is about to be written anew
        return {}


def recorded(record: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[Labelling | None, dict[str, Any]]:
    """Return what was decided for a table before, with the options that decided it.

    It stands for the same label column of the same table until other options are given, so that rows that are added
    later do not change the classes of runs that there are. A table from before classes were recorded has MVSA's.

    Args:
        record: what the cache records of the data set, by `record_before`.
        source: the data set's source, with the options that are given now.

    Returns:
        The labelling, None if there is none that stands; and the options, given now or else before, with `ordered`
        if it was given before.
    """
    given = {name: source[name] for name in OPTIONS if name in source}
    was = record.get("source") or {}
    if _column(was) != _column(source):
        return None, given
    options = {name: was[name] for name in (*OPTIONS, "ordered") if name in was}
    if given != {name: options.get(name) for name in given} or not record.get("labelled"):
        return None, {**options, **given}
    return Labelling(tuple(record.get("classes", LABELS)), dict(record.get("rare", {}))), options


def _column(source: Mapping[str, Any]) -> list[Any]:
    """Return what says which column of which table holds the labels."""
    return [*map(source.get, ("kind", "root", "table")), (source.get("columns") or {}).get("label", "label")]


def unknown_of(counts: Mapping[str, int], labelling: Labelling) -> dict[str, int]:
    """Return the labels that are neither classes nor rare, and the number of their rows."""
    fold = str.lower if _any_case(labelling.classes) else str
    known = {*labelling.classes, *labelling.rare}
    return {label: count for label, count in sorted(counts.items()) if not {label, fold(label)} & known}


def parse_classes(text: str) -> list[str]:
    """Return the names in `--classes a,b,c`; one with a comma stands in quotation marks.

    Raises:
        ValueError: fewer than two, an empty one, or one that is named twice.
    """
    names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"classes: expected at least two names such as joy,anger, each once, got {text!r}")
    return names


def _any_case(classes: Sequence[str]) -> bool:
    """Return whether labels are compared in any case, as those of MVSA's three always were."""
    return bool(classes) and set(classes) <= set(LABELS)
