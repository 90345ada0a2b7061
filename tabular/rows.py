"""Third-party CSV, TSV and JSONL tables, read so that each line belongs to exactly one row or problem."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError
from .lines import count_lines, lines_of

_RawRow = tuple[int, int, Any]
"""First line, last line, and their content: cells, an object, a problem (str), or None for blank lines."""

_OPEN = re.compile(r'((?:(?:"[^"]*(?:""[^"]*)*"|[^",\r\n][^,\r\n]*)?,)*")[^"]*(?:""[^"]*)*')
"""A row of a CSV up to the quotation mark (in the group) of a cell that is never closed."""


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """The number of its first line in the file, from 1."""
    last: int
    """The number of its last line; not `line` where a cell of a CSV holds line ends."""
    values: dict[str, Any]
    """Column -> value: a str, except in JSONL, where it is what JSON says."""
    problem: str = ""
    """The reason why the row has no values, else empty."""
    unit: str = "line"
    """What `line` and `last` count."""

    @property
    def where(self) -> str:
        """The row's place in the file, such as `line 4` or `lines 4-9`."""
        return f"{self.unit} {self.line}" if self.line == self.last else f"{self.unit}s {self.line}-{self.last}"


def rows_of(path: Path, data: bytes, suffix: str | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return the columns and the rows of a table in UTF-8, with or without a byte order mark.

    - `.csv`: a cell in quotation marks may hold commas, line ends and, doubled, quotation marks.
    - `.jsonl`: one JSON object a line.
    - any other name: cells separated by tabs. A quotation mark is an ordinary character, unless every cell of every
      line begins and ends with one: those are removed, and "" within stands for one. Such cells hold no tab and no
      line end.

    Blank lines are skipped, and every other line belongs to exactly one row. A cell's text is never taken for a
    missing value: "NA" and "null" are texts. Bytes that are not UTF-8 become lone surrogates, which no UTF-8 text
    holds, so that the rest can be used.

    Args:
        path: the file.
        data: its contents.
        suffix: the format, by default the file's own suffix.

    Returns:
        The columns (an empty list for JSONL, which has no header), and an iterator over the rows in file order.

    Raises:
        DataError: at once or while reading: the file is in UTF-16, its header is malformed, a quotation mark is never
            closed, only part of a TSV's cells is in quotation marks, or a JSONL file holds one JSON array.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is in UTF-16", expected="UTF-8", next_step="save the table again as UTF-8")
    lines, total = lines_of(data, "surrogateescape"), count_lines(data)
    suffix = path.suffix.lower() if suffix is None else suffix
    if suffix == ".jsonl":
        return [], _rows(_without_blanks(path, total, _json(path, lines)))
    raw = _csv(path, data, lines, total) if suffix == ".csv" else _tsv(path, lines)
    rows = _without_blanks(path, total, raw)
    line, last, header = next(rows, (0, 0, []))
    if isinstance(header, str):
        raise DataError(
            f"{path}, {Row(line, last, {}).where}: {header}",
            expected="the names of the columns",
            next_step="fix the table's first line",
        )
    columns = [cell.strip() for cell in header]
    return columns, _rows(rows, columns)


def _rows(rows: Iterable[_RawRow], columns: Sequence[str] = ()) -> Iterator[Row]:
    for line, last, content in rows:
        if isinstance(content, str):
            yield Row(line, last, {}, content)
        elif isinstance(content, dict):
            yield Row(line, last, content)
        elif len(content) == len(columns):
            yield Row(line, last, dict(zip(columns, content, strict=True)))
        else:
            yield Row(line, last, {}, f"malformed: {len(content)} cells in a table of {len(columns)} columns")


def _without_blanks(path: Path, total: int, rows: Iterable[_RawRow]) -> Iterator[_RawRow]:
    """Yield the rows that are not blank, and check that each line of the file is in exactly one row."""
    taken = 0
    for row in rows:
        first, last, content = row
        if first != taken + 1:
            break
        taken = last
        if content is not None:
            yield row
    if taken != total:
        raise DataError(
            f"{path}: the rows were read wrongly after line {taken} of {total}",
            next_step="this is a bug in itin: please report it with the lines around that one",
        )


def _csv(path: Path, data: bytes, lines: Iterable[str], total: int) -> Iterator[_RawRow]:
    # The limit is global and never lowered here: a reader that gives up on a long cell continues in the middle of it.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    reader = csv.reader(lines, strict=True)
    last = width = odd = 0
    while True:
        first = last + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num
            if last == total:
                _check_closed(path, data, first, last, odd)
            odd = odd or first
            across = "" if first == last else ", after a quotation mark that opens a cell on an earlier line"
            yield first, last, f"malformed: {error}{across}"
            continue
        last = reader.line_num
        if cells and len(cells) != width:
            odd = odd or (first if width else 0)
            width = width or len(cells)
        yield first, last, cells or None


def _check_closed(path: Path, data: bytes, first: int, last: int, odd: int) -> None:
    """Check that the last row of a table has no cell that never ends.

    Args:
        path: the file.
        data: its contents.
        first: the row's first line.
        last: the file's last line.
        odd: first line of the first malformed row before that one, or 0.
    """
    found = _OPEN.fullmatch("".join(islice(lines_of(data, "surrogateescape"), first - 1, None)))
    if found is None:
        return
    opened = first - 1 + count_lines(found[1].encode(errors="surrogateescape"))
    earlier = f"; the first malformed row before it begins on line {odd}, which may be the cause" if odd else ""
    raise DataError(
        f"{path}, line {opened}: a quotation mark opens a cell and none closes it",
        expected='a quotation mark at the end of the cell too, and "" for each one within',
        found=f"the end of the file, line {last}{earlier}",
        next_step="close the cell, or remove the quotation mark",
    )


def _tsv(path: Path, lines: Iterable[str]) -> Iterator[_RawRow]:
    quoted: bool | None = None
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line:
            yield number, number, None
            continue
        cells = line.split("\t")
        if quoted is None:
            quoted = all(map(_in_quotes, cells))
        if quoted:
            if not all(map(_in_quotes, cells)):
                raise DataError(
                    f"{path}, line {number}: the header's cells are in quotation marks, and not all of this line's",
                    expected="every cell of every line in quotation marks, without tabs and line ends within, or none",
                    found=repr(line[:80]),
                    next_step="save the table without quotation marks, or as CSV",
                )
            cells = [cell[1:-1].replace('""', '"') for cell in cells]
        yield number, number, cells


def _in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _json(path: Path, lines: Iterable[str]) -> Iterator[_RawRow]:
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield number, number, None
            continue
        value: Any
        try:
            value = json.loads(line.rstrip("\r\n"))
        except (ValueError, RecursionError) as error:
            where = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            value = f"malformed: {where}"
            array = line.lstrip().startswith("[")
        else:
            array = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
            if not isinstance(value, dict):
                value = f"malformed: a JSON object is expected, this is {type(value).__name__}"
        if first and array:
            command = "import json, sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]"
            name = shlex.quote(str(path))
            raise DataError(
                f"{path} is a JSON array, not JSONL",
                expected="one JSON object a line, without brackets and commas around them",
                found=f"'[' at the beginning of line {number}",
                next_step=f"python -c '{command}' < {name} > {shlex.quote(str(path.with_stem(path.stem + '-lines')))}",
            )
        first = False
        yield number, number, value


def as_text(value: object, column: str) -> str:
    """Return a cell's value, which must be text.

    Raises:
        ValueError: it is of another type or not UTF-8; names the column.
    """
    if not isinstance(value, str):
        raise ValueError(f"{column} is of type {type(value).__name__}, not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{column} is not UTF-8") from None
    return value
