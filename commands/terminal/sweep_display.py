"""The display of a sweep while it runs, and its results at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from ...targets import LABEL
from ...train.config import SCORE_TITLES, SELECTS, shown_scores
from .console import LOG_SECONDS, console, first_score, grid
from .scores import number

if TYPE_CHECKING:
    import pandas as pd

    from ...train.sweeps.folder import Sweep
    from ...train.sweeps.result import Result
    from ...train.sweeps.setup import Event, TrialSource

TEXT_COLUMNS = (
    "run",
    "dataset",
    "target",
    "head",
    "preset",
    "ablation",
    "gate",
    "schedule",
    "class_weights",
    "protocol",
)
"""The columns that are aligned to the left."""

MAX_BEST = 5
"""The maximum number of best configurations shown."""

MAX_WORKERS = 16
"""The maximum number of workers shown."""


class Display:
    """A live table on a terminal: what each worker does, how many runs are done, the rate, the time left, the best.

    In log files: a line for each failure, and one every half minute with the same numbers.

    Args:
        select: the validation score that runs are compared by.
    """

    def __init__(self, select: str) -> None:
        self._select = select
        self._workers: dict[int, tuple[str, str]] = {}
        self._source: TrialSource | None = None
        self._kept = 0
        self._done = self._failed = 0
        self._under_way: dict[int, float] = {}  # worker -> the part of its run that is done
        self._best: list[tuple[float, str]] = []
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._begun = self._reported = time.monotonic()

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if kind is None and self._source is not None:
            console.print(self._progress())

    def begin(self, source: TrialSource, results: dict[str, Result]) -> None:
        """Begin the display; these results exist already."""
        self._source, self._kept = source, len(results)
        self._begun = time.monotonic()
        if results:
            console.print(f"{len(results)} results are there already")

    def listen(self, event: Event) -> None:
        """Show an event."""
        config, row, result = event.trial.config, event.row, event.result
        if result is None:
            self._under_way[event.worker] = row["epoch"] / config.epochs
            text = f"epoch {row['epoch']:.0f}/{config.epochs}  {first_score(row)}"
            self._workers[event.worker] = (event.trial.name.rpartition("-")[0], text)
        else:
            self._under_way.pop(event.worker, None)
            self._workers.pop(event.worker, None)
            if result.run is not None:
                self._done += 1
                best = (result.figures[f"val_{self._select}"], event.trial.name)
                way = SELECTS[self._select]
                self._best = sorted([*self._best, best], key=lambda one: (way * one[0], one[1]), reverse=True)
                self._best = self._best[:MAX_BEST]
            else:
                self._failed += 1
                console.print(f"failed: {event.trial.name}: {result.reason}", style="red")
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if self._live is not None:
            working = [(number + 1, *what) for number, what in sorted(self._workers.items())[:MAX_WORKERS]]
            parts: list[Any] = [grid(("worker", "run", ""), working)]
            if self._best:
                best = [(f"{value:.4f}", name) for value, name in self._best]
                parts.append(grid((f"validation {SCORE_TITLES[self._select]}", "best runs so far"), best))
            self._live.update(Group(*parts, Text(self._progress())), refresh=True)
        elif now - self._reported >= LOG_SECONDS and self._done + self._failed < self._total:  # `__exit__` has the last
            self._reported = now
            console.print(self._progress())

    @property
    def _total(self) -> int:
        return self._source.total if self._source is not None else 0

    def _progress(self) -> str:
        total = self._total
        ended = self._done + self._failed
        seconds = time.monotonic() - self._begun
        parts = ended + sum(self._under_way.values())
        text = f"{ended}/{total} runs in {_duration(seconds)}"
        if self._failed:
            text += f", {self._failed} failed"
        if parts:
            text += f", {60 * parts / seconds:.3g} a minute"
            if ended < total:
                text += f", {_duration((total - parts) * seconds / parts)} left"
        return text


def show_best(sweep: Sweep) -> None:
    """Print the best configurations by the score that is selected by: means over the seeds, standard deviations."""
    definition = sweep.definition
    table = sweep.configurations()
    done = table[table["seeds"] > 0]
    if len(done) < len(table):
        console.print(f"{len(table) - len(done)} configurations have no result: see the column error of results.csv")
    if done.empty:
        return
    table, varying = with_differences(table.assign(has="+".join(definition.has)), _fields())
    done = table[table["seeds"] > 0]
    several = bool((done["seeds"] > 1).any())
    scores = list(dict.fromkeys((definition.select, *shown_scores(definition.is_number))))[:2]
    rows = []
    for _, row in done.head(MAX_BEST).iterrows():
        figures = []
        for name in (f"val_{score}" for score in scores):
            spread = f" ± {row[f'{name}_std']:.4f}" if row[f"{name}_std"] == row[f"{name}_std"] else ""
            figures.append(f"{row[name]:.4f}{spread}")
        rows.append([*(_cell(row[name]) for name in varying), *([row["seeds"]] if several else []), *figures])
    figures = [SCORE_TITLES[score] for score in scores]
    figures[0] = f"validation {figures[0]}"
    folds = len({trial.config.fold for trial in sweep.definition.trials}) > 1
    columns = [*varying, *(["runs" if folds else "seeds"] if several else []), *figures]
    console.print(f"Best of {len(done)} by validation {SCORE_TITLES[definition.select]}:")
    console.print(grid(columns, rows, right=[name for name in columns if name not in TEXT_COLUMNS]))


def show_chosen(sweep: Sweep) -> None:
    """Print the best configurations by inner folds, or the chosen one of each of several training parts."""
    from ...train.sweeps.folder import CASE
    from ...train.sweeps.nested import cases_of

    definition, results = sweep.definition, sweep.results()
    table = sweep.configurations().assign(has="+".join(definition.has))
    table, varying = with_differences(table, [*CASE, *_fields()])
    several = len(cases_of(definition)) > 1
    scores = list(dict.fromkeys((definition.select, *shown_scores(definition.is_number))))[:2]
    finals = results[results["inner_fold"].isna() & (results["status"] == "done")]
    rows = []
    for _, row in (table[table["chosen"]] if several else table[table["seeds"] > 0].head(MAX_BEST)).iterrows():
        own = finals[(finals[list(CASE)] == [row[name] for name in CASE]).all(axis=1)]
        trained = f"{own[f'val_{scores[0]}'].mean():.4f}" if row["chosen"] and len(own) else ""
        figures = [f"{row[name]:.4f} ± {row[f'{name}_std']:.4f}" for name in (f"val_{score}" for score in scores)]
        rows.append([*(_cell(row[name]) for name in varying), *figures, trained])
    if not rows:
        return
    titles = [SCORE_TITLES[score] for score in scores]
    columns = [*varying, f"inner {titles[0]}", titles[1], f"chosen: validation {titles[0]}"]
    what = "Chosen in each training part" if several else f"Best of {len(table)}"
    part = "it" if several else "the training part"
    by = f"by {titles[0]} on {definition.inner_folds} inner folds of {part}"
    console.print(f"{what} {by}, mean ± standard deviation:")
    console.print(grid(columns, rows, right=[name for name in columns if name not in TEXT_COLUMNS]))


def with_differences(table: pd.DataFrame, fields: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with a column `preset`, and the columns in which rows differ but for those that others tell.

    `preset` tells the fields that it sets; `head` the hops that are its own, and what stands in for a scene.

    Args:
        table: configurations or runs; `has` holds those of `registry.SIZES` that the features have, joined by +.
        fields: the columns that are fields of the configuration.
    """
    from ...itin_head.registry import HEADS, label_of
    from ...train.presets import READINGS, preset_of

    known = table.astype(object).where(table.notna(), None)
    rows = known.to_dict("records")
    names = [preset_of(row) or "own" for row in rows]
    labels = [label_of(row["head"], row["has"].split("+"), row["scene"]) for row in rows]
    table = table.assign(**{**{name: known[name] for name in fields}, "preset": names, "head": labels})
    said = set(READINGS) if "own" not in names else set()
    if all(row["hops"] == HEADS[row["head"]].hops for row in rows):
        said.add("hops")  # the head says them
    if all(row["scene"] is None or HEADS[row["head"]].reads_scene for row in rows):
        said.add("scene")
    columns = dict.fromkeys(("head", "preset", *fields))
    return table, [name for name in columns if name not in said and table[name].nunique(dropna=False) > 1]


def show_test(record: dict[str, Any]) -> None:
    """Print the chosen configuration's figures on the test part."""
    config = {
        name: value
        for name, value in record["config"].items()
        if name in ("head", "m", "lam", "gate", "ablation") or (name == "target" and value != LABEL)
    }
    console.print(
        f"Chosen of {record['configurations']} by {record['chosen_by']}: "
        + ", ".join(f"{name}={_cell(value)}" for name, value in config.items())
    )
    first = record["runs"][0]["test"]
    scores = shown_scores("mae" in first)
    rows = []
    several_folds = len({row.get("fold", 0) for row in record["runs"]}) > 1
    for row in record["runs"]:
        test = row["test"]
        fold = f", fold {row['fold']}" if several_folds else ""
        rows.append([f"seed {row['seed']}{fold}", test["n"], *(number(test[name]) for name in scores)])
    if len(rows) > 1:
        cells = [f"{record['mean'][name]:.4f} ± {record['std'][name]:.4f}" for name in scores]
        rows.append(["mean", "", *cells])
    if "majority" in first:
        majority = first["majority"]
        rows.append([f"always {majority['class']}", "", *(number(majority[name]) for name in scores)])
    else:
        rows.append([f"always {first['baseline']['value']:.3g}", "", number(first["baseline"]["mae"]), ""])
    columns = ("test part", "n", *(SCORE_TITLES[name] for name in scores))
    console.print(grid(columns, rows, right=columns[1:]))


def _fields() -> list[str]:
    from ...train.config import REPEATS
    from ...train.sweeps.folder import FIELDS

    return [name for name in FIELDS if name not in REPEATS]


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
