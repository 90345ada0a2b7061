"""Annotation files that are no tables with a header of their own: a Python list a line, cells without names, JSON."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .lines import lines_of
from .rows import Row

MAX_LITERAL_BYTES = 64 * 2**10
"""The longest line that is read as a Python literal."""

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_PLAIN = rf"(?:{_STRING}|[+-]?\d{{1,20}}(?:\.\d{{1,20}})?|None|True|False)"
_LIST = re.compile(rf"\[\s*(?:{_PLAIN}\s*(?:,\s*{_PLAIN}\s*)*,?\s*)?\]")
"""A list of strings, numbers, None, True and False; nothing within another."""


def literals(data: bytes, columns: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each line of Python lists such as `['7', "it's a text", 1]`; blank lines are skipped.

    A line is never run: it must be a flat list of plain values of at most 64 kB before `ast.literal_eval` reads it.

    Args:
        data: the file's contents, in UTF-8.
        columns: the name of each value.
    """
    for number, line in enumerate(lines_of(data, "surrogateescape"), 1):
        if line.strip():
            yield _named(number, _literal(line.strip()), columns)


def cells(data: bytes, columns: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each line of cells that tabs separate.

    A first line that begins with the first column's name is skipped, whatever it calls the others. A quotation mark is
    an ordinary character; blank lines are skipped.

    Args:
        data: the file's contents, in UTF-8.
        columns: the name of each cell.
    """
    for number, line in enumerate(lines_of(data, "surrogateescape"), 1):
        found = line.rstrip("\r\n").split("\t")
        if line.strip() and not (number == 1 and found[0].strip() == columns[0]):
            yield _named(number, found, columns)


def json_array(data: bytes) -> Iterator[Row]:
    """Yield a row for each object of a JSON array; `where` counts the array's items, from 1.

    Raises:
        ValueError: it is no JSON array in UTF-8; the message says what is wrong.
    """
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(found, list):
        raise ValueError(f"JSON of type {type(found).__name__}")
    for number, value in enumerate(found, 1):
        problem = "" if isinstance(value, dict) else f"a JSON object is expected, this is {type(value).__name__}"
        yield Row(number, number, {} if problem else value, problem, "item")


def _named(number: int, values: list[Any] | str, columns: Sequence[str]) -> Row:
    if isinstance(values, str):
        return Row(number, number, {}, values)
    if len(values) != len(columns):
        return Row(number, number, {}, f"{len(values)} values instead of {len(columns)}: {', '.join(columns)}")
    return Row(number, number, dict(zip(columns, values, strict=True)))


def _literal(line: str) -> list[Any] | str:
    """Return the values of a line, or why it has none."""
    if len(line.encode(errors="surrogateescape")) > MAX_LITERAL_BYTES:
        return f"longer than {MAX_LITERAL_BYTES // 2**10} kB"
    if not _LIST.fullmatch(line):
        return f"not one flat list of plain values such as ['7', 'a text', 1]: {line[:40]!a}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape such as \d stands for itself
            values: list[Any] = ast.literal_eval(line)
    except (ValueError, SyntaxError) as error:  # a wrong escape, or bytes that are not UTF-8
        return f"not a Python list: {error}"
    return values
