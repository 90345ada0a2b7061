"""Tables of data sets, read from disk, with errors that concern the whole file."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from ...tabular.rows import Row, rows_of
from .places.remote import spelt
from .reading import BadFile, read_bytes

SUFFIXES = (".csv", ".tsv", ".jsonl")
MAX_TABLE_BYTES = 8 * 2**30


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Read a table as `rows_of` does.

    Returns:
        The columns, and the rows in the file's order.

    Raises:
        DataError: the file is missing, of another kind, without rows, or one that `rows_of` refuses.
        TransientError: the file could not be read this time.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{spelt(path)} is not a table that can be read",
            expected=f"a name that ends in {', '.join(SUFFIXES)}",
            found=f"'{path.name}'",
            next_step="rename or convert the file, or name another with --table",
        )
    try:
        data = read_bytes(path, MAX_TABLE_BYTES)
    except BadFile as error:
        what = f"the table {spelt(path)} {error.reason}"
        raise DataError(what, next_step="name another with --table FILE") from error
    columns, found = rows_of(path, data)
    rows = list(found)
    if suffix == ".jsonl":
        columns = list(dict.fromkeys(column for row in rows for column in row.values))
        if rows and all(row.problem for row in rows):
            raise DataError(
                f"no line of {spelt(path)} is a JSON object",
                expected="one JSON object a line, such as " + '{"id": "1", "image": "1.jpg", "text": "a day"}',
                found=f"{rows[0].where}: {rows[0].problem}",
                next_step="write each row as one line",
            )
    if not rows:
        raise DataError(
            f"{spelt(path)} has no rows",
            expected="a row for each pair",
            found="a header line" if columns else "an empty file",
            next_step="fill it, or name another with --table",
        )
    return columns, rows
