"""The commands' output: one console, progress on terminals and in log files, tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)

notes = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)
"""The console for notes on standard error, when a program reads the result."""

LOG_SECONDS = 30
"""Seconds between two progress lines in a log file."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "", style="progress.data.speed")


class _Shown(Progress):
    """A display that prints nothing at all where it is disabled; rich 13 ends it with an empty line."""

    def stop(self) -> None:
        """End the display, if there is one."""
        if not self.disable:
            super().stop()


class Bars:
    """Progress of an extraction: bars with rate and time left on a terminal, a line every half minute elsewhere.

    Args:
        to: the console to write to.
    """

    def __init__(self, to: Console = console) -> None:
        self._to = to
        self._bars = _Shown(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=to,
            disable=not to.is_terminal,
        )
        self._tasks: dict[str, tuple[Task, int]] = {}
        self._reported = time.monotonic()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, kind: str, total: int, done: int) -> None:
        """Begin a kind of work; what was done before does not count for the rate."""
        unknown = kind == "scan" and not total
        number = self._bars.add_task(kind, total=None if unknown else total - done)
        self._tasks[kind] = (self._bars.tasks[number], done)

    def advance(self, kind: str, count: int) -> None:
        """Count that many more as done."""
        task, _ = self._tasks[kind]
        self._bars.advance(task.id, count)
        now = time.monotonic()
        if not self._to.is_terminal and now - self._reported >= LOG_SECONDS:
            self._reported = now
            kinds = [kind for kind in self._tasks if kind != "scan"] or list(self._tasks)
            self._to.print(", ".join(self._line(kind) for kind in kinds))

    def _line(self, kind: str) -> str:
        task, done = self._tasks[kind]
        total = "" if task.total is None else f"/{done + int(task.total)}"
        return f"{kind} {done + int(task.completed)}{total}"


def first_score(row: Mapping[str, float]) -> str:
    """Return the first validation score of a history's row, in words."""
    from ...train.config import SCORE_TITLES, shown_scores

    name = shown_scores("val_mae" in row)[0]
    return f"validation {SCORE_TITLES[name]} {row[f'val_{name}']:.4f}"


@contextmanager
def epochs_bar(epochs: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """Show a bar of epochs with the latest loss and validation score; call the yielded function after each epoch."""
    with _Shown(
        TextColumn("   epoch"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[scores]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        task = bars.add_task("epoch", total=epochs, scores="")

        def on_epoch(row: dict[str, float]) -> None:
            scores = f"loss {row['train_loss']:.4f}  {first_score(row)}"
            bars.update(task, advance=1, scores=scores)

        yield on_epoch


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 row`, `2 rows`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def ends(rows: Sequence[Sequence[object]], most: int = 20) -> list[Sequence[object]]:
    """Return the rows of a table; of more than `most` the first and the last, and how many are left out between."""
    half = most // 2
    if len(rows) <= most + 1:
        return list(rows)
    between = [f"... {len(rows) - 2 * half} more ..."] + [""] * (len(rows[0]) - 1)
    return [*rows[:half], between, *rows[-half:]]


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Text:
    """Return a plain table, one record per line, as wide as its values: nothing is cut, whatever the terminal's width.

    Args:
        columns: the headings.
        rows: one value per column.
        right: right-aligned columns.
    """
    table = [[Text(column, style="bold") for column in columns]]
    table += [[cell.copy() if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        width = max(row[number].cell_len for row in table)
        for row in table:
            row[number].align("right" if column in right else "left", width)
    lines = [Text("  ").join(row) for row in table]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)
