"""CSV, TSV and JSONL tables that other people wrote: every row as text, and what is wrong with the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .files import BadFile, read_bytes

SUFFIXES = (".csv", ".tsv", ".jsonl")
MAX_TABLE_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    line: int
    """Number of its first line in the file, from 1."""
    values: dict[str, Any]
    """Column -> value: a str, except in JSONL, where it is what JSON says."""
    problem: str = ""
    """Why the row has no values."""


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Read a table in UTF-8, with or without a byte order mark; its suffix says of which kind it is.

    Bytes that are not UTF-8 come as lone surrogates, which no UTF-8 text holds, so that the rest can be used.
    A quoted cell may hold line ends. A cell's text is never taken for a missing value: "NA" and "null" are texts.

    Returns:
        The columns, and the rows in the file's order.

    Raises:
        DataError: the file is missing, of another kind, in UTF-16, or without rows.
        TransientError: the file could not be read this time.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path} is no table that can be read",
            expected=f"a name that ends in {', '.join(SUFFIXES)}",
            found=f"'{path.name}'",
            next_step="rename or convert the file, or name another with --table",
        )
    try:
        data = read_bytes(path, MAX_TABLE_BYTES)
    except BadFile as error:
        raise DataError(
            f"the table {path} {error.reason}", next_step="name another with --table FILE, relative to --root"
        ) from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is in UTF-16", expected="UTF-8", next_step="save the table again as UTF-8")
    if suffix == ".jsonl":
        rows = list(_json_rows(data))
        columns = list(dict.fromkeys(column for row in rows for column in row.values))
    else:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="")
        columns, rows = _csv_rows(text, "," if suffix == ".csv" else "\t")
    if not rows:
        raise DataError(f"{path} has no rows", expected="a row for each pair", found="a header line" * bool(columns))
    return columns, rows


def _csv_rows(text: io.TextIOWrapper, delimiter: str) -> tuple[list[str], list[Row]]:
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[Row] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return columns, rows
        except csv.Error as error:
            rows.append(Row(line, {}, f"malformed: {error}"))
            continue
        if not columns:
            columns = [cell.strip() for cell in cells]
        elif len(cells) == len(columns):
            rows.append(Row(line, dict(zip(columns, cells, strict=True))))
        elif cells:
            rows.append(Row(line, {}, f"malformed: {len(cells)} cells in a table of {len(columns)} columns"))


def _json_rows(data: bytes) -> Iterator[Row]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8", errors="surrogateescape"))
        except (ValueError, RecursionError) as error:
            where = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            yield Row(number, {}, f"malformed: {where}")
        else:
            if isinstance(values, dict):
                yield Row(number, values)
            else:
                yield Row(number, {}, f"malformed: a JSON object is expected, this is {type(values).__name__}")
