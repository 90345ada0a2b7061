"""Run folders as one table: find, filter, sort."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import RunError
from ...targets import Target
from ..config import INTEGERS_OR_NONE, shown_scores
from ..protocols.protocol import named
from ..sweeps.folder import FIELDS, FIGURES, NUMBER_FIGURES
from ..sweeps.result import Result
from .folder import Run, load_run

ALL_FIGURES = tuple(dict.fromkeys((*FIGURES, *NUMBER_FIGURES)))

COLUMNS = (
    "run", "key", "dataset", "protocol", *FIELDS, "kind", "best_epoch", *ALL_FIGURES, "seconds", "written", "has",
    "note",
)  # fmt: skip
TEST_COLUMNS = tuple(f"test_{score}" for is_number in (False, True) for score in shown_scores(is_number))

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")


def find_runs(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the run folders at and below some paths, in order; unfinished ones are skipped."""
    for path in paths:
        for folder, inside, files in os.walk(path):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            if {"config.json", "metrics.json"} <= set(files):
                inside.clear()
                yield Path(folder)


def runs_table(paths: Iterable[str | Path] = ("runs",)) -> tuple[pd.DataFrame, list[tuple[Path, str]]]:
    """Return the runs below some paths as one table, and those that cannot be read, with the reason.

    The columns are `COLUMNS`, with the validation part's figures, and `TEST_COLUMNS`, empty for the runs of a sweep.
    `kind` says what the first target's values are: the number of its classes, or the span of a number. Scores that a
    target of this kind does not have are empty. `has` holds what its features have beside the vectors, joined by +
    (`HeadConfig.has`).
    Every table made from the rows must carry `note` where it is not empty.
    """
    rows, bad = [], []
    for path in find_runs(paths):
        try:
            rows.append(_row(load_run(path)))
        except RunError as error:
            bad.append((path, error.what))
    table = pd.DataFrame(rows, columns=[*COLUMNS, *TEST_COLUMNS])
    typed: pd.DataFrame = table.astype(dict.fromkeys(("best_epoch", *INTEGERS_OR_NONE), "Int64"))
    return typed, bad


def where(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return the rows for which a condition such as `m=2`, `lam<=0.3` or `ablation!=none` holds.

    Raises:
        ValueError: no such column, or a value of the wrong type for it.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ValueError(f"expected a condition such as m=2 or lam<=0.3, got {condition!r}")
    name, sign, text = match.groups()
    column = _column(table, name)
    value: Any = text
    if pd.api.types.is_bool_dtype(column):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{condition}: expected true or false")
        value = text.lower() == "true"
    elif pd.api.types.is_numeric_dtype(column):
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{condition}: expected a number") from None
    else:
        column = column.astype(str)
    holds = {
        "=": column.eq, "==": column.eq, "!=": column.ne, "<": column.lt, "<=": column.le, ">": column.gt,
        ">=": column.ge,
    }[sign](value)  # fmt: skip
    rows: pd.DataFrame = table[holds.fillna(False).astype(bool)]
    return rows


def sort(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the rows sorted by a column, in descending order where a `-` precedes its name."""
    name = by.removeprefix("-")
    _column(table, name)
    rows: pd.DataFrame = table.sort_values(name, ascending=not by.startswith("-"), kind="stable")
    return rows


def best(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return the runs of the highest validation accuracy, among equal ones those of the lowest validation loss.

    Runs whose target is a number are sorted by the validation loss alone.

    Raises:
        ValueError: there are runs of both.
    """
    numbers = table["val_mae"].notna()
    if numbers.any() and not numbers.all():
        raise ValueError("runs of classes and of numbers have no score in common: choose some with --where target=NAME")
    by = {"val_loss": True} if numbers.any() else {"val_accuracy": False, "val_loss": True}
    rows: pd.DataFrame = table.sort_values(list(by), ascending=list(by.values()), kind="stable")
    first: pd.DataFrame = rows.head(number)
    return first


def _column(table: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in table:
        columns = [str(one) for one in table]
        near = dict.fromkeys([*get_close_matches(name, columns), *(one for one in columns if name in one)])
        expected = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(columns)}"
        raise ValueError(f"no column {name!r}: {expected}")
    column: pd.Series[Any] = table[name]
    return column


def _row(run: Run) -> dict[str, Any]:
    figures = Result.of(run).figures
    test = run.metrics.get("test", {})
    return {
        "run": str(run.path),
        "key": run.record.get("key"),
        "dataset": run.record["dataset"].get("name"),
        "protocol": named(run.record["split"]),
        **run.config.to_dict(),
        "kind": kind_of(run.target),
        **figures,
        "written": run.environment.get("written"),
        "has": "+".join(sorted(run.head_config.has)),
        "note": run.note or "",
        **{name: test.get(name.removeprefix("test_")) for name in TEST_COLUMNS},
    }


def kind_of(target: Target) -> str:
    """Return what the values of a target are, in a few words: `3 classes`, `5 ordered classes`, `-1 to 1`."""
    if target.is_number:
        return f"{target.bounds[0]:g} to {target.bounds[1]:g}"
    return f"{len(target.classes)} {'ordered ' * (target.kind == 'ordered')}classes"
