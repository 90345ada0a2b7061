"""Scores of runs on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from ...train.config import SCORE_TITLES
from ...train.protocols.protocol import describe
from ...train.protocols.split import PART_NAMES
from ...train.statistics import wilson
from .console import console, ends, grid

MAX_F1 = 5
"""The maximum number of classes whose F1 have a column each."""

CUTS = {"nonzero": "below / above 0", "negative": "below 0 / rest", "three": "below / at / above 0"}
"""The display names of the classes that numbers are cut into, `metrics.score_number`."""


def show_scores(metrics: Mapping[str, dict[str, Any]], split: dict[str, Any], target: str | None = None) -> None:
    """Print the protocol, the scores of each part, and those of predicting the same for every pair.

    Args:
        metrics: the scores by part.
        split: the description of the split.
        target: the name of what is scored, where it is not the label.
    """
    console.print(f"protocol {describe(split)}")
    _show(metrics, target)
    _show_ways(metrics)
    for name in next(iter(metrics.values())).get("targets", {}):
        _show({part: scores["targets"][name] for part, scores in metrics.items() if name in scores["targets"]}, name)


def show_mean(metrics: Sequence[dict[str, dict[str, Any]]], split: dict[str, Any]) -> None:
    """Print the protocol, the mean over the seeds, and their standard deviation."""
    is_number = "mae" in metrics[0]["test"]
    shown = ("mae", "rmse", "pearson", "ccc") if is_number else ("accuracy", "weighted_f1", "macro_f1")
    columns = [f"mean of {len(metrics)} seeds", "n", *(SCORE_TITLES[name] for name in shown)]
    rows = []
    for part in ("val", "test"):
        cells = []
        for name in shown:
            values = [one[part][name] for one in metrics]
            cells.append(_mean(values) if None not in values else number(None))
        rows.append([PART_NAMES[part], str(metrics[0][part]["n"]), *cells])
    console.print(f"protocol {describe(split)}")
    console.print(grid(columns, rows, right=columns[1:]))


def number(value: float | None) -> str:
    """Return a score in four decimals, a dash for one that is not defined."""
    return "–" if value is None else f"{value:.4f}"


def _show_ways(metrics: Mapping[str, dict[str, Any]]) -> None:
    """Print the scores of the label by its own output, by the rule over its two sides, and by their mean."""
    rows = [
        [way, PART_NAMES[part], str(scores["n"]), number(scores["accuracy"]), number(scores["weighted_f1"])]
        for part, each in metrics.items()
        for way, scores in each.get("label_from", {}).items()
    ]
    if rows:
        columns = ["label from", "", "n", "accuracy", "weighted F1"]
        console.print(grid(columns, rows, right=columns[2:]))


def _show(metrics: Mapping[str, dict[str, Any]], target: str | None) -> None:
    if "mae" in next(iter(metrics.values())):
        _show_number(metrics, target)
    else:
        _show_classes(metrics, target)


def _show_classes(metrics: Mapping[str, dict[str, Any]], target: str | None) -> None:
    """Print accuracy (with Wilson's 95% interval) and F1 of each part, and of the majority class."""
    classes = list(next(iter(metrics.values()))["f1"])
    few = classes if len(classes) <= MAX_F1 else []
    columns = [target or "", "n", "accuracy", "95% interval", "weighted F1", "macro F1", *(f"F1 {one}" for one in few)]
    rows = []
    for part, scores in metrics.items():
        f1 = [number(scores["f1"][label]) for label in few]
        accuracy, *means = (number(scores[name]) for name in ("accuracy", "weighted_f1", "macro_f1"))
        low, high = wilson(round(scores["accuracy"] * scores["n"]), scores["n"])
        rows.append([PART_NAMES[part], str(scores["n"]), accuracy, f"{low:.3f}–{high:.3f}", *means, *f1])
        majority = scores["majority"]
        rows.append(
            [f"  always {majority['class']}", "", number(majority["accuracy"]), "", number(majority["weighted_f1"])]
            + [""] * (1 + len(few))
        )
    console.print(grid(columns, rows, right=columns[1:]))
    if not few:
        columns = ["F1", *(PART_NAMES[part] for part in metrics)]
        console.print(grid(columns, ends(_f1_rows(list(metrics.values()))), right=columns[1:]))


def _show_number(metrics: Mapping[str, dict[str, Any]], target: str | None) -> None:
    """Print the errors and correlations of each part, those of always predicting the mean, and the classes at 0."""
    names = ("mae", "rmse", "pearson", "spearman", "ccc")
    columns = [target or "", "n", *(SCORE_TITLES[name] for name in names)]
    rows = []
    for part, scores in metrics.items():
        rows.append([PART_NAMES[part], str(scores["n"]), *(number(scores[name]) for name in names)])
        always = scores["baseline"]
        rows.append([f"  always {always['value']:.3f}", "", number(always["mae"]), number(always["rmse"]), "", "", ""])
    console.print(grid(columns, rows, right=columns[1:]))
    columns = ["cut at 0", "", "n", "accuracy", "weighted F1"]
    rows = [
        [PART_NAMES[part], CUTS[name], str(cut["n"]), number(cut["accuracy"]), number(cut["weighted_f1"])]
        for part, scores in metrics.items()
        for name, cut in (scores["cut"] or {}).items()
    ]
    if rows:
        console.print(grid(columns, rows, right=columns[2:]))


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def _f1_rows(parts: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the F1 of each class in each part, the best of the last part first; nothing where it has no pair."""
    rows = []
    for place, label in enumerate(parts[0]["f1"]):
        there = [sum(scores["confusion"][place]) > 0 for scores in parts]
        f1 = [scores["f1"][label] if pairs else -1.0 for scores, pairs in zip(parts, there, strict=True)]
        if any(there):
            rows.append((-f1[-1], [label, *(f"{value:.4f}" if value >= 0 else "" for value in f1)]))
    return [cells for _, cells in sorted(rows, key=lambda row: row[0])]
