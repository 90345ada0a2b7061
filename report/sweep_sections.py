"""Sections about sweeps: the configurations over their seeds, and curves over the paper's axes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from ..itin_head.registry import label_of
from ..train.config import CLASS_SCORES, REPEATS, SCORE_TITLES, SELECTS, shown_scores
from ..train.statistics import Estimate, over_seeds
from ..train.sweeps.folder import CASE, FIELDS, Sweep
from ..train.sweeps.reveal import revealed
from .names import SIGNS
from .page.figures import Line, LineChart, curve
from .page.numbers import between, ends, percent, plain
from .page.section import Section
from .paper import published

PAPER = {"m": (published.BEST_M, "Fig. 5"), "lam": (published.BEST_LAM, "Fig. 6")}
"""The axes that the paper plots, each with the paper's optimum and figure."""

AXIS_LABELS = {"m": "m, regions of an image", "lam": "λ, from text alone to the image's context alone"}

LINES = 8
"""Number of lines in a chart of learning curves, at most."""

ROWS = 60
"""Number of configurations in a table, at most: the best by validation."""


def sweep_sections(sweep: Sweep, number: int) -> list[Section]:
    """Return the sections of one sweep.

    Args:
        sweep: the sweep.
        number: its position among the sweeps of the report, from 1; part of the sections' names.
    """
    results = sweep.results()
    name = sweep.path.resolve().name
    is_number, inner_folds = sweep.definition.is_number, sweep.definition.inner_folds
    finals = results[results["inner_fold"].isna()] if inner_folds else None
    if inner_folds:
        results = results[results["inner_fold"].notna()]
    sections = [_configurations(sweep, results, finals, name, number)]
    part = f"{inner_folds} inner folds" if inner_folds else "validation part"
    title, has = f"{name}: learning curve", sweep.definition.has
    if (chart := learning_curve(results, f"sweep-{number}-learning", title, is_number, has)) is not None:
        text = f"Means over the runs on the {part}; the bands are their 95% intervals (Student's t)."
        sections.append(Section(chart.name, chart.title, [text], figures=[chart]))
    for axis in _axes(results):
        figure = f", after the paper's {PAPER[axis][1]}" if axis in PAPER and not is_number else ""
        title = f"{name}: {SIGNS.get(axis, axis)}{figure}"
        chart = curve_of(results, axis, f"sweep-{number}-{axis.replace('_', '-')}", title, is_number)
        if chart is not None:
            text = f"Means over the seeds on the {part}; the bands are their 95% intervals (Student's t)."
            notes = ["m = 0 is only-context: no region is left."] if axis == "m" else []
            sections.append(Section(chart.name, title, [text], figures=[chart], notes=notes))
    return sections


def curve_of(results: pd.DataFrame, axis: str, name: str, title: str, is_number: bool = False) -> LineChart | None:
    """Return the chart of a sweep's results over one field; None if fewer than two values have finished runs.

    Args:
        results: the frame of `Sweep.results`.
        axis: a numeric field; in the paper's sweep only the rows on this axis are used, else all rows.
        name: the name of the chart.
        title: the title of the chart.
        is_number: whether the sweep's target is a number.
    """
    scores = [f"val_{score}" for score in shown_scores(is_number)]
    rows = results[(results["axis"] == axis) & (results["status"] == "done")]
    if rows.empty:
        rows = results[results["status"] == "done"]
    points = []
    for value, group in rows.groupby(axis):
        point: dict[str, Any] = {axis: value}
        for score in scores:
            estimate = over_seeds(group[score].to_numpy(dtype=np.float64))
            low, high = _within(score.removeprefix("val_"), estimate)
            point |= {score: estimate.value, f"{score}_low": low, f"{score}_high": high}
        points.append(point)
    if len(points) < 2:
        return None
    mark, figure = (None, "") if is_number else PAPER.get(axis, (None, ""))
    return curve(
        name,
        title,
        pd.DataFrame(points),
        axis,
        AXIS_LABELS.get(axis, axis),
        scores,
        mark,
        "the paper's optimum" if figure else "",
        percent=not is_number,
    )


def learning_curve(
    results: pd.DataFrame, name: str, title: str, is_number: bool = False, has: Collection[str] = ()
) -> LineChart | None:
    """Return the chart of a score over the pairs that train; None where no two shares of a training part have ended.

    Args:
        results: the frame of `Sweep.results`; each configuration but for its share is a line, `LINES` at most.
        name: the name of the chart.
        title: the title of the chart.
        is_number: whether the sweep's target is a number.
        has: `Definition.has` of the sweep.
    """
    done = results[results["status"] == "done"].drop_duplicates("key")
    if done["train_share"].nunique() < 2:
        return None
    own = [n for n in FIELDS if n not in (*REPEATS, "train_share")]
    varied = [n for n in own if done[n].nunique(dropna=False) > 1]
    score = shown_scores(is_number)[0]
    lines = []
    for _, group in done.groupby(own, dropna=False, sort=False):
        each = [one for _, one in group.groupby("train_share")]
        found = [over_seeds(one[f"val_{score}"].to_numpy(dtype=np.float64)) for one in each]
        ends = zip(*(_within(score, estimate) for estimate in found), strict=True)
        low, high = (tuple(end) for end in ends)
        told = {n: label_of(group[n].iloc[0], has) if n == "head" else group[n].iloc[0] for n in varied}
        said = [value if n == "head" else f"{SIGNS.get(n, n)}={value}" for n, value in told.items()]
        label = ", ".join(said) or f"validation {SCORE_TITLES[score]}"
        pairs = tuple(float(one["train_pairs"].mean()) for one in each)
        lines.append(Line(label, pairs, tuple(estimate.value for estimate in found), low, high))
    y_label = f"Validation {SCORE_TITLES[score]}"
    return LineChart(name, title, "pairs that train", y_label, tuple(lines[:LINES]), percent=not is_number)


def _axes(results: pd.DataFrame) -> list[str]:
    """Return the fields to plot: the paper's axes, or else the only field that varies, if it is numeric."""
    on_axes = [axis for axis in PAPER if (results["axis"] == axis).any()]
    if on_axes:
        return on_axes
    varied = [n for n in FIELDS if n not in REPEATS and results[n].nunique(dropna=False) > 1]
    numeric = [
        n
        for n in varied
        if n != "train_share" and pd.api.types.is_numeric_dtype(results[n]) and results[n].dtype != bool
    ]
    return numeric if len(varied) == 1 else []


def _configurations(
    sweep: Sweep, results: pd.DataFrame, finals: pd.DataFrame | None, name: str, number: int
) -> Section:
    frame, chosen = sweep.configurations(), sweep.definition.chosen_by
    fields = [n for n in FIELDS if n in frame and frame[n].astype(str).nunique() > 1]
    done = results[results["status"] == "done"].drop_duplicates("key")
    own = [n for n in FIELDS if n not in REPEATS or (finals is not None and n in CASE)]
    select, is_number = sweep.definition.select, sweep.definition.is_number
    scores = list(dict.fromkeys((*shown_scores(is_number), select)))
    part = "validation" if finals is None else "inner"
    rows = []
    for _, group in done.groupby(own, dropna=False, sort=False):
        row: dict[str, Any] = {SIGNS.get(n, n): group[n].iloc[0] if group[n].notna().all() else "" for n in fields}
        if "head" in row:
            told = bool(group["scene"].iloc[0]) if group["scene"].notna().all() else None
            row["head"] = label_of(row["head"], sweep.definition.has, told)
        row["seeds" if finals is None else "inner runs"] = len(group)
        for score in scores:
            estimate = over_seeds(group[f"val_{score}"].to_numpy(dtype=np.float64))
            row[f"{part} {SCORE_TITLES[score]}"] = _estimate(score, estimate)
        if finals is not None:
            row["chosen"] = "yes" if group["key"].iloc[0] in chosen else ""
        row["by"] = (
            finals is not None and not row["chosen"],
            -SELECTS[select] * float(group[f"val_{select}"].mean()),
            float(group["val_loss"].mean()),
        )
        rows.append(row)
    rows.sort(key=lambda row: row["by"])
    table = pd.DataFrame(rows[:ROWS]).drop(columns="by", errors="ignore")
    first = "the best" if finals is None else "the chosen, then the best"
    counts = results.drop_duplicates("key")["status"].value_counts()
    counted = ", ".join(f"{counts[status]} {status}" for status in ("done", "failed", "open") if status in counts)
    text = [
        f"{len(frame)} configurations over the seeds {', '.join(map(str, sweep.definition.seeds))}; runs: {counted}."
        " Each row is the mean over the seeds ± their standard deviation, in brackets the mean's 95% interval."
    ]
    notes = [f"The best {ROWS} of {len(rows)} are shown; results.csv has all."] if len(rows) > ROWS else []
    if finals is not None:
        seeds = ", ".join(map(str, sweep.definition.seeds))
        text = [
            f"{len(frame)} configurations, each on {sweep.definition.inner_folds} inner folds of a training part"
            f" and over the seeds {seeds}; runs there: {counted}. Each row is the mean over folds and seeds ± their"
            " standard deviation, in brackets the mean's 95% interval, as if they were independent; but their training"
            " parts overlap."
        ]
        there = finals[finals["status"] == "done"]
        values = there[f"val_{select}"].to_numpy(dtype=np.float64)
        if len(values):
            notes.append(
                f"What was chosen for a training part was then trained on all of it: {len(values)} runs with a"
                f" validation {SCORE_TITLES[select]} of {_estimate(select, over_seeds(values))}."
            )
    if (record := revealed(sweep)) is not None:
        show = plain if is_number else percent
        means = (f"{SCORE_TITLES[score]} {show(record['mean'][score])}" for score in shown_scores(is_number))
        notes.append(
            f"The configuration chosen by {record['chosen_by']} was evaluated once on the test part:"
            f" {', '.join(means)}, means of {len(record['runs'])}."
        )
    return Section(
        f"sweep-{number}",
        f"Sweep {name}",
        text,
        table,
        f"Configurations, {first} by {part} {SCORE_TITLES[select]} first.",
        notes=notes,
    )


def _estimate(score: str, estimate: Estimate) -> str:
    """Format a score's mean over seeds, fractions in per cent; with its deviation and interval if there are several."""
    fraction = score in CLASS_SCORES and score != "loss"
    mean = percent(estimate.value) if fraction else plain(estimate.value)
    if estimate.std != estimate.std:
        return mean
    low, high = _within(score, estimate)
    spread = (
        f"{100 * estimate.std:.1f} {between(low, high)}" if fraction else f"{plain(estimate.std)} {ends(low, high)}"
    )
    return f"{mean} ± {spread}"


def _within(score: str, estimate: Estimate) -> tuple[float, float]:
    """Return the ends of a score's interval, as far as the score can go."""
    if score in CLASS_SCORES:
        return estimate.low, estimate.high
    least, most = (-1.0, 1.0) if SELECTS[score] > 0 else (0.0, np.inf)  # correlations; errors
    return float(np.maximum(estimate.low, least)), float(np.minimum(estimate.high, most))
