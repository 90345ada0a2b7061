"""Pairs in Parquet or Arrow tables, row by row: images as paths, or as bytes in a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

from ....errors import DataError, TransientError
from ....tabular.rows import as_text
from ..classes import Labelling, clean
from ..places.cells import Cells, values_of
from ..places.opening import Status, status
from ..places.tables import TableFile
from ..reading import BadFile
from ..samples import DataSet, Entry
from ..sets.contained import image_path
from ..sets.decided import Decided, checked_id, string_of
from ..sets.scores import SCORE, Scale
from .columns import COLUMNS, Columns, columns_of
from .stream import Found, Known, Stream


def table_stream(
    files: Sequence[tuple[Path, str | None]],
    given: Mapping[str, str],
    root: Path,
    inside: Callable[[Path], bool],
    decided: Callable[[Sequence[str]], Decided],
    prefix: Callable[[Path], str] = lambda path: "",
    classes: Mapping[str, tuple[str, ...]] | None = None,
) -> DataSet:
    """Return a data set of tables that are read as a stream.

    Args:
        files: the tables, each with its part of the data set's own split.
        given: the tables' names for some of `COLUMNS`.
        root: the folder that image paths start from.
        inside: tells whether the path of an image is acceptable.
        decided: given the class names in the tables, returns what is decided of the data set.
        prefix: what stands before the number of a row of a table where it is the id.
        classes: see `columns_of`.

    Raises:
        DataError: the first table cannot be read, or its columns cannot be told.
    """
    if unknown := sorted(set(given) - set(COLUMNS)):
        raise ValueError(f"columns: expected names of {', '.join(COLUMNS)}, got {', '.join(unknown)}")
    first = _open(files)
    columns = columns_of(first.schema, given, first.path, classes or {})
    own = decided(columns.names)

    def pairs(known: Known) -> Iterator[Found]:
        return _pairs(files, columns, root, inside, prefix, known)

    def finish(counts: Counter[str], cells: Sequence[Any]) -> tuple[DataSet, Labelling, Scale]:
        labels = own.labelling(counts)
        scale = own.scaling(list(cells), columns.score) if columns.score else Scale()
        return own.dataset([], labels, scale), labels, scale

    return replace(own.empty, stream=Stream(tuple(path for path, _ in files), 0, pairs, finish))


def unlabelled_pairs(
    files: Sequence[Path], given: Mapping[str, str], root: Path, inside: Callable[[Path], bool]
) -> Iterator[Found]:
    """Return the pairs of tables in order, each with its image; labels and scores are not looked at.

    Args:
        files: the tables.
        given: see `table_stream`, as the next two.
        root: the folder that image paths start from.
        inside: tells whether the path of an image is acceptable.

    Raises:
        DataError: the first table cannot be read, or its columns cannot be told.
    """
    parts = [(path, None) for path in files]
    first = _open(parts)
    named = {name: column for name, column in given.items() if name not in ("label", SCORE)}
    columns = replace(columns_of(first.schema, named, first.path, {}), label=None, score=None)
    return _pairs(parts, columns, root, inside, lambda path: "", lambda *_: None)


def _pairs(
    files: Sequence[tuple[Path, str | None]],
    columns: Columns,
    root: Path,
    inside: Callable[[Path], bool],
    prefix: Callable[[Path], str],
    known: Known,
) -> Iterator[Found]:
    numbers: Counter[str] = Counter()
    for path, part in files:
        before = prefix(path)
        try:
            table, state = TableFile(path), status(path)
            for found in _rows(table, state, columns, root, inside, before, numbers[before], known):
                yield found if not part or not found.entry else found._replace(entry=found.entry._replace(part=part))
            numbers[before] += len(table)
        except BadFile as error:
            yield Found(path.name, path.name, problem=error.reason)
        except TransientError as error:
            yield Found(path.name, path.name, unread=error.what)


def _open(files: Sequence[tuple[Path, str | None]]) -> TableFile:
    """Return the first table that can be opened."""
    fault: BadFile | None = None
    for path, _ in files:
        try:
            return TableFile(path)
        except BadFile as error:
            fault = fault or error
    raise DataError(f"the table {files[0][0]} {fault}", next_step="name another with --table FILE") from fault


def _rows(
    table: TableFile,
    state: Status,
    columns: Columns,
    root: Path,
    inside: Callable[[Path], bool],
    before: str,
    first: int,
    known: Known,
) -> Iterator[Found]:
    """Yield the pairs of one table; rows of a damaged group are named one by one."""
    cells, name = Cells(table, remembered=0), table.path.name

    def pair(group: int, row: int, cell: Any, text: Any, label: Any, value: Any, path: Any) -> Found:
        where = f"{name}, row {row}"
        id, own, score = where, "", None
        try:
            id = checked_id(string_of(cell, "id")) if columns.id else f"{before}{first + row}"
            own = _label(label, columns.names)
            score = value if value is None or isinstance(value, str | int | float | bool) else str(value)
            text = string_of(text, "text")
            if not columns.image:
                return Found(where, id, Entry(id, _path(path, root, inside), text, None), own, score, state)
            within = {"row": row, "column": columns.image, "group": group}
            entry = Entry(id, table.path, text, None, within=within)
            if (same := known(id, table.path, within, state)) is not None:
                return Found(where, id, entry, own, score, state, known=same)
            try:
                return Found(where, id, entry, own, score, state, cells.read(row, columns.image))
            except BadFile as error:
                if not path or error.reason != "is empty":
                    raise BadFile(f"{entry.locator.what} {error.reason}") from error
            return Found(where, id, Entry(id, _path(path, root, inside), text, None), own, score, state)
        except TransientError as error:
            return Found(where, id, None, own, score, state, unread=error.what)
        except ValueError as error:  # a BadFile too
            return Found(where, id, None, own, score, state, problem=str(error))

    for number, group in enumerate(table.groups):
        row, end = group.first, group.first + group.rows
        try:
            if missing := [one for one in columns.light if one.split(".")[0] not in table.schema.names]:
                raise BadFile(f"has no column {missing[0]!r}")
            for batch in table.batches(number, columns.light):
                wanted = (columns.id, columns.text, columns.label, columns.score, columns.path)
                lists = (values_of(batch, one).to_pylist() if one else repeat(None, len(batch)) for one in wanted)
                for values in zip(*lists, strict=True):
                    yield pair(number, row, *values)
                    row += 1
        except BadFile as error:
            for lost in range(row, end):
                where = f"{name}, row {lost}"
                yield Found(where, where if columns.id else f"{before}{first + lost}", problem=error.reason)


def _label(value: Any, names: Sequence[str]) -> str:
    """Return a row's label; of a number of a class its name, and none of -1, which stands for an unknown one."""
    if names and isinstance(value, int) and not isinstance(value, bool):
        if not -1 <= value < len(names):
            raise ValueError(f"the label {value} is not the number of one of {len(names)} classes")
        return _clean(names[value]) if value >= 0 else ""
    return _clean(string_of(value, "label"))


_clean = lru_cache(maxsize=1024)(clean)  # a table has few labels


def _path(given: Any, root: Path, inside: Callable[[Path], bool]) -> Path:
    image = as_text(given, "image").strip() if given is not None else ""
    return image_path(image, root, inside)
