"""The column of scores in a table of one's own: strict numbers, and the range that they lie in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import DataError
from ....targets import Target, targets_of

SCORE = "score"
"""The name of the target, and of the column unless `--columns` says otherwise."""

Span = tuple[float, float]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Scale:
    """The range of a column's scores."""

    span: Span | None = None
    """The least and the greatest score; None where the column is none of scores."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The target `score`, where there is one."""
        return () if self.span is None else (Target(SCORE, "number", span=self.span),)

    def values(self, cell: Any) -> dict[str, float]:
        """Return a row's score by the target's name; nothing for an empty cell.

        Raises:
            ValueError: it is not a number, or one outside of the range.
        """
        if self.span is None or (value := number(cell)) is None:
            return {}
        low, high = self.span
        if not low <= value <= high:
            span = f"{low:.10g} to {high:.10g}"
            raise ValueError(
                f"the score {value:.10g} is outside of the range {span} (--score-range LO,HI sets another)"
            )
        return {SCORE: value}


def number(cell: Any) -> float | None:
    """Return a cell's number, None for an empty cell.

    Args:
        cell: a text, or what JSON gave.

    Raises:
        ValueError: it is not a finite number.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, str):
        value = float(cell) if _NUMBER.fullmatch(cell.strip()) else math.nan
    else:
        is_number = isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 2**1023
        value = float(cell) if is_number else math.nan
    if not math.isfinite(value):
        pointed = cell.strip().replace(",", ".") if isinstance(cell, str) else ""
        hint = f": write {pointed}" if "," in str(cell) and _NUMBER.fullmatch(pointed) else ""
        raise ValueError(f"the score {str(cell)[:40]!r} is not a finite number{hint}")
    return value


def numbers_in(cells: Sequence[Any]) -> list[float]:
    """Return the numbers among a column's cells."""
    found = []
    for cell in cells:
        with suppress(ValueError):
            found.append(number(cell))
    return [value for value in found if value is not None]


def scale_of(cells: Sequence[Any], span: Span | None, named: bool, column: str, table: Path) -> Scale:
    """Return the scale of a column.

    Args:
        cells: the column's cells, of all rows that can be read.
        span: the range that was given or recorded; None: from the least to the greatest number.
        named: whether the column was named; one that was not is ignored where it holds no scores.
        column: its name in the table, and `table` the file, for the message.
        table: see `column`.

    Raises:
        DataError: there is no range, for want of two different numbers.
    """
    # A column that nobody named holds scores if a cell does, with a point or a comma.
    if not named and not numbers_in([cell.replace(",", ".") if isinstance(cell, str) else cell for cell in cells]):
        return Scale()
    if span is not None:
        return Scale(span)
    values = sorted(set(numbers_in(cells)))
    if len(values) > 1:
        return Scale((values[0], values[-1]))
    if not named and values:
        return Scale()
    other = next((f"no number: {str(cell)[:40]!r}" for cell in cells if cell not in (None, "")), "empty cells alone")
    raise DataError(
        f"the column {column!r} of {table} has no range",
        expected="two different numbers, such as -0.5 and 1",
        found=f"{values[0]:g} alone" if values else other,
        next_step="give the range with --score-range LO,HI, or name another column with --columns score=NAME",
    )


def recorded_span(record: Mapping[str, Any], source: Mapping[str, Any]) -> Span | None:
    """Return the range that was recorded for the same column of the same table, which later rows do not change."""
    was = record.get("source") or {}
    if _column(was) != _column(source):
        return None
    found = targets_of(record).get(SCORE)
    return None if found is None else found.span


def parse_range(text: str) -> Span:
    """Return the numbers in `--score-range LO,HI`.

    Raises:
        ValueError: it is not two numbers, the lower one first.
    """
    try:
        low, high = (number(part) for part in text.split(","))
    except ValueError:
        low = high = None
    if low is None or high is None:
        raise ValueError(f"score_range: expected two numbers such as -1,1, got {text!r}")
    return checked_range((low, high))


def checked_range(span: Sequence[float]) -> Span:
    """Return a range as a pair; raise ValueError unless it is two finite numbers, the lower one first."""
    if len(span) != 2 or not -math.inf < span[0] < span[1] < math.inf:
        raise ValueError(f"score_range: expected two numbers, the lower one first, got {list(span)}")
    return float(span[0]), float(span[1])


def _column(source: Mapping[str, Any]) -> list[Any]:
    """Return what says which column of which table holds the scores."""
    return [*map(source.get, ("kind", "root", "table")), (source.get("columns") or {}).get(SCORE, SCORE)]
