"""The user's own data: a folder with pictures and one table of id, image path, text and label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ....errors import DataError
from ....tabular.lines import lines_of
from ....tabular.rows import Row
from ..classes import Labelling, clean
from ..places.remote import is_remote, named_place, spelt
from ..samples import DataSet, DataSetSource, Entry, Rejected, reject
from ..tables import SUFFIXES, read_table
from .contained import containment_check, image_path
from .decided import Decided, cell_string, checked_id, default_name
from .parquet import is_parquet, read_parquet
from .remote_table import remote_table
from .scores import SCORE, Scale

COLUMNS = ("id", "image", "text", "label", SCORE)
"""Columns of a table; the last two may be absent."""


def read(source: DataSetSource) -> DataSet:
    """Read the data set `folder`, for `open_dataset`."""
    root = _root(source.root)
    table = _table(root, source.table)
    if is_parquet(table):
        return read_parquet(source, root, table)
    decided = Decided(source, root, source.name or default_name(root), table)
    rows, labels, scale = read_rows(
        table, root, decided.given, source.allow_outside, decided.labelling, decided.scaling
    )
    return decided.dataset(rows, labels, scale)


def read_rows(
    table: Path,
    root: Path,
    given: Mapping[str, str],
    allow_outside: bool,
    labelling: Callable[[Counter[str]], Labelling] | None = None,
    scaling: Callable[[list[Any], str], Scale] | None = None,
) -> tuple[list[Entry | Rejected], Labelling, Scale]:
    """Read a table of pairs: one entry or rejected row for each of its rows, in the table's order.

    A row whose id, label or score is not valid, whose image lies outside the root, or which is malformed is rejected
    with its line number; of several rows with one id the first is kept.

    Args:
        table: the file.
        root: the folder, all links followed, that image paths start from.
        given: the table's names for some of `COLUMNS`.
        allow_outside: accept images outside `root`.
        labelling: decides the classes from the number of rows of each label; without, labels are ignored.
        scaling: decides the range of the scores from the cells and the name of their column; without, scores are
            ignored.

    Returns:
        The rows, the classes, and the range of the scores.

    Raises:
        DataError: the table cannot be read, lacks a column, or has no row that can be used.
        TransientError: it could not be read this time.
        ValueError: `given` names a column that is not in `COLUMNS`.
    """
    found, rows = read_table(table)
    columns = _columns(table, found, given, labelling is not None, scaling is not None)
    inside = (lambda path: True) if allow_outside else containment_check(root)
    labels = Labelling(()) if labelling is None else labelling(_label_counts(rows, columns))
    scale = Scale()
    if scaling is not None and SCORE in columns:
        scale = scaling([row.values.get(columns[SCORE]) for row in rows if not row.problem], columns[SCORE])
    entries: dict[str, Entry] = {}
    kept: list[Entry | None] = []
    failed: list[tuple[str, str, str]] = []
    for row in rows:
        id = ""
        try:
            _check_lines(row, columns)
            id = _id(row, columns)
            if id in entries:
                raise ValueError(f"id {id} is on an earlier line too")
            score = scale.values(row.values.get(columns.get(SCORE, "")))
            entries[id] = _entry(id, row.values, columns, root, inside, labels)._replace(targets={**score})
            kept.append(entries[id])
        except ValueError as error:
            failed.append((id, row.where, str(error)))
            kept.append(None)
    rejected = reject(failed, entries, table.name)
    if not entries:
        raise DataError(
            f"no row of {spelt(table)} can be used",
            found=f"{len(rejected)} bad row{'s' * (len(rejected) != 1)}; {rejected[0].reason}",
            next_step="fix the table, or say with --columns what its columns are",
        )
    left = iter(rejected)
    return [next(left) if entry is None else entry for entry in kept], labels, scale


def _label_counts(rows: Iterable[Row], columns: dict[str, str]) -> Counter[str]:
    """Return the number of rows of each label; rows that cannot be read do not count."""
    counts: Counter[str] = Counter()
    for row in rows:
        if not row.problem:
            with suppress(ValueError):
                counts[_label(row.values, columns)] += 1
    del counts[""]
    return counts


def _root(given: str | None) -> Path:
    if given is None:
        raise DataError("the data set 'folder' needs a folder", next_step="name it with --root DIR")
    root = named_place(given)
    if is_remote(root):
        return root
    root = root.resolve()
    if not root.is_dir():
        is_table = root.suffix.lower() in SUFFIXES and root.exists()
        raise DataError(
            f"{root} is not a folder",
            expected="a folder with pictures and a CSV, TSV or JSONL table",
            found="a file" if root.exists() else "nothing",
            next_step=f"use --root '{root.parent}' --table '{root.name}'" if is_table else "name another with --root",
        )
    return root


def _table(root: Path, given: str | None) -> Path:
    if is_remote(root):
        return remote_table(root, given)
    if given is not None:
        places = [root / Path(given).expanduser(), Path(given).expanduser().absolute()]
        return next((place for place in places if place.exists()), places[0])
    files = sorted(path for path in root.iterdir() if path.is_file() and not path.name.startswith("."))
    tables = [path for path in files if path.suffix.lower() in SUFFIXES]
    for folder in (root, root / "data") if not tables else ():  # as the hub stores data sets
        shards = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
        if shards:
            return shards[0] if len(shards) == 1 else folder / "*.parquet"
    if len(tables) != 1:
        raise DataError(
            f"{root} holds {'more than one table' if tables else 'no table'}",
            expected=f"one file whose name ends in {', '.join(SUFFIXES)}, or Parquet files",
            found=", ".join(path.name for path in (tables or files)[:8]) or "no file",
            next_step="name the table with --table FILE",
        )
    return tables[0]


def check_columns(given: Iterable[str]) -> None:
    """Check that every name is in `COLUMNS`; raise ValueError otherwise."""
    if unknown := sorted(set(given) - set(COLUMNS)):
        raise ValueError(f"columns: expected names of {', '.join(COLUMNS)}, got {', '.join(unknown)}")


def _columns(table: Path, found: list[str], given: Mapping[str, str], labels: bool, scores: bool) -> dict[str, str]:
    """Return our name of each column -> the table's name."""
    check_columns(given)
    columns = {column: given.get(column, column) for column in COLUMNS}
    if not labels or ("label" not in given and "label" not in found):
        del columns["label"]
    alone = found.count(SCORE) == 1 and SCORE not in given.values()
    if not scores or (SCORE not in given and not alone):
        del columns[SCORE]
    if double := sorted({name for name in columns.values() if found.count(name) > 1}):
        raise DataError(
            f"{spelt(table)} has more than one column {' and '.join(map(repr, double))}",
            next_step="rename all but one of them",
        )
    missing = [name for name in columns.values() if name not in found]
    if missing:
        ours = next(name for name, column in columns.items() if column not in found)
        free = next((name for name in found if name not in columns.values()), "NAME")
        raise DataError(
            f"{spelt(table)} has no column {' and no column '.join(repr(name) for name in missing)}",
            expected="columns id, image, text" + " and, where known, label" * labels,
            found=", ".join(repr(name[:40]) for name in found) or "no column",
            next_step=f"say what they are called in the table, for example --columns {ours}={free[:40]}",
        )
    return columns


def _check_lines(row: Row, columns: dict[str, str]) -> None:
    """Refuse a row that a stray pair of quotation marks has joined from several, each line a row itself.

    CSV cannot tell these from a text of several lines; but a line of a text is not expected to have as many cells as
    the table, with an image's suffix in the right one.
    """
    if row.line == row.last or row.problem:
        return
    place, ending = list(row.values).index(columns["image"]), _ending(row.values[columns["image"]])
    joined = ",".join(row.values.values()).encode(errors="surrogateescape")
    for number, line in enumerate(lines_of(joined, "surrogateescape"), row.line):
        cells = line.split(",")
        if number > row.line and len(cells) == len(row.values) and ending and _ending(cells[place]) == ending:
            raise ValueError(
                f"a cell in quotation marks runs over these lines, and line {number} reads as a row of its own: "
                "a quotation mark within a cell must be doubled"
            )


def _ending(image: str) -> str:
    return Path(image.strip()).suffix.lower()


def _id(row: Row, columns: dict[str, str]) -> str:
    if row.problem:
        raise ValueError(row.problem)
    return checked_id(cell_string(row.values, "id", columns["id"]))


def _entry(
    id: str,
    values: dict[str, Any],
    columns: dict[str, str],
    root: Path,
    inside: Callable[[Path], bool],
    labels: Labelling,
) -> Entry:
    label = labels.class_of(_label(values, columns))
    image = cell_string(values, "image", columns["image"]).strip()
    path = image_path(image, root, inside)
    return Entry(id, path, cell_string(values, "text", columns["text"]), label)


def _label(values: dict[str, Any], columns: dict[str, str]) -> str:
    """Return a row's label, empty where there is none."""
    return clean(cell_string(values, "label", columns["label"])) if "label" in columns else ""
