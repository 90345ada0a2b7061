"""Pairs in Parquet or Arrow tables, row by row: images as paths, or as bytes in a column."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import DataError, TransientError
from ....tabular.rows import as_text
from ..classes import Labelling, clean
from ..places.cells import Cells
from ..places.locator import Locator
from ..places.opening import Status, status
from ..places.tables import TableFile
from ..reading import BadFile
from ..samples import DataSet, Entry
from ..sets.contained import image_path
from ..sets.decided import Decided, cell_string, checked_id
from ..sets.scores import SCORE, Scale
from .stream import Found, Known, Stream

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("id", "image", "text", "label", SCORE)

TEXTS = ("text", "caption", "sentence")
"""Columns that are taken for the text where none is named, in this order."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what."""

    id: str | None
    """None: the ids are the rows' numbers."""
    image: str
    """The bytes of images; empty where there are none."""
    path: str
    """The paths of images whose bytes are not in the table; empty where there are none."""
    text: str
    label: str | None
    score: str | None
    names: tuple[str, ...] = ()
    """The names of the classes where labels are their numbers."""

    @property
    def light(self) -> list[str]:
        """The columns without the bytes of images."""
        return [one for one in (self.id, self.text, self.label, self.score, self.path) if one]


def columns_of(
    schema: pa.Schema, given: Mapping[str, str], table: Path, classes: Mapping[str, tuple[str, ...]]
) -> Columns:
    """Return the columns of a table, named or guessed from names and types.

    Args:
        schema: its columns.
        given: its names for some of `COLUMNS`.
        table: its path, for messages.
        classes: the class names of columns that hold labels as numbers, where they are known.

    Raises:
        DataError: a column that is named is not there, or image or text cannot be told.
    """
    import pyarrow as pa

    types = {field.name: field.type for field in schema}
    classes = classes or _class_names(schema)

    def fault(what: str) -> DataError:
        return DataError(
            f"{table} {what}",
            expected="a column with images (bytes, or paths), one with texts, and, where known, id, label and score",
            found=", ".join(f"{name!r} ({str(kind)[:40]})" for name, kind in types.items()) or "no column",
            next_step="say what they are called, for example --columns image=photo,text=caption",
        )

    for name in given.values():
        if name not in types:
            raise fault(f"has no column {name!r}")

    def is_image(kind: pa.DataType) -> bool:
        held = {field.name for field in kind} if pa.types.is_struct(kind) else set()
        return "bytes" in held or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    taken = {*given.values(), *COLUMNS} - {"image", "text"}

    def one_of(role: str, names: Iterable[str], fits: Callable[[Any], bool]) -> str:
        known = next((name for name in names if name in types), None)
        found = [name for name, kind in types.items() if fits(kind) and name not in taken]
        if role in given or known or len(found) == 1:
            return given.get(role) or known or found[0]
        raise fault(f"has no column {role!r}" if not found else f"has several columns that may be the {role}")

    image = one_of("image", ("image",), is_image)
    text = one_of("text", TEXTS, is_text)
    guessed = next(iter(classes), None) if len(classes) == 1 else None
    label = given.get("label") or ("label" if "label" in types else guessed)
    held, path = image, ""
    if pa.types.is_struct(types[image]):
        path = f"{image}.path" if "path" in {field.name for field in types[image]} else ""
        held = f"{image}.bytes"
    elif is_text(types[image]):
        held, path = "", image
    if held and not is_image(types[image]):
        raise fault(f"has no images in the column {image!r}")
    own = given.get("id") or ("id" if "id" in types else None)
    score = given.get(SCORE) or (SCORE if SCORE in types and SCORE not in given.values() else None)
    return Columns(own, held, path, text, label, score, classes.get(label or "", ()))


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names of the columns that the library `datasets` recorded as labels."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


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
                yield found if not part or not found.entry else found._replace(entry=replace(found.entry, part=part))
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
    cells = Cells(table)
    for number, group in enumerate(table.groups):
        row, end = group.first, group.first + group.rows
        try:
            if missing := [one for one in columns.light if one.split(".")[0] not in table.schema.names]:
                raise BadFile(f"has no column {missing[0]!r}")
            for batch in table.batches(number, columns.light):
                for values in batch.to_pylist():
                    yield _row(
                        table, cells, state, number, row, values, columns, root, inside, f"{before}{first + row}", known
                    )
                    row += 1
        except BadFile as error:
            for lost in range(row, end):
                where = f"{table.path.name}, row {lost}"
                yield Found(where, where if columns.id else f"{before}{first + lost}", problem=error.reason)


def _row(
    table: TableFile,
    cells: Cells,
    state: Status,
    group: int,
    row: int,
    values: dict[str, Any],
    columns: Columns,
    root: Path,
    inside: Callable[[Path], bool],
    number: str,
    known: Known,
) -> Found:
    where = f"{table.path.name}, row {row}"
    found = Found(where, where, status=state)
    try:
        id = checked_id(cell_string(values, "id", columns.id)) if columns.id else number
        score = values.get(columns.score) if columns.score else None
        score = score if score is None or isinstance(score, str | int | float | bool) else str(score)
        found = found._replace(id=id, score=score, label=_label(values, columns))
        text = cell_string(values, "text", columns.text)
        outer, _, inner = columns.path.partition(".")
        path = (values.get(outer) or {}).get(inner) if inner else values.get(outer)
        if not columns.image:
            return found._replace(entry=Entry(id, _path(path, root, inside), text, None))
        place = Locator(table.path, {"row": row, "column": columns.image, "group": group})
        entry = Entry(id, table.path, text, None, within=place.within)
        if (same := known(id, place, state)) is not None:
            return found._replace(entry=entry, known=same)
        try:
            return found._replace(entry=entry, data=cells.read(row, columns.image))
        except BadFile as error:
            if not path or error.reason != "is empty":
                raise BadFile(f"{place.what} {error.reason}") from error
        return found._replace(entry=Entry(id, _path(path, root, inside), text, None))
    except BadFile as error:
        return found._replace(problem=error.reason)
    except TransientError as error:
        return found._replace(unread=error.what)
    except ValueError as error:
        return found._replace(problem=str(error))


def _label(values: Mapping[str, Any], columns: Columns) -> str:
    """Return a row's label; of a number of a class its name, and none of -1, which stands for an unknown one."""
    if columns.label is None:
        return ""
    value = values.get(columns.label)
    if columns.names and isinstance(value, int) and not isinstance(value, bool):
        if not -1 <= value < len(columns.names):
            raise ValueError(f"the label {value} is not the number of one of {len(columns.names)} classes")
        return clean(columns.names[value]) if value >= 0 else ""
    return clean(cell_string(values, "label", columns.label))


def _path(given: Any, root: Path, inside: Callable[[Path], bool]) -> Path:
    image = as_text(given, "image").strip() if given is not None else ""
    return image_path(image, root, inside)
