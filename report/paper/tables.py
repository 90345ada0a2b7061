"""A reproduction as frames of numbers: Table III, the curves of Figs. 5 and 6, and the runs; `systems` has Table II."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...labels import numbers_of
from ...train.statistics import Estimate, difference, holm, mcnemar
from ...train.sweeps.axes import Trial
from ...train.sweeps.folder import Result
from . import published
from .published import Score
from .scores import SCORES, ConfigurationScores, scores_of

PAPER = dict(zip(SCORES, ("paper_accuracy", "paper_f1"), strict=True))
"""The column of the published figure of each score."""

FLAT = [f"{name}{end}" for name in SCORES for end in ("", "_std", "_low", "_high")]
"""The columns of a configuration's scores."""

TEXTS = ("system", "head", "label", "recipe", "ablation", "name")
"""The columns that hold text."""

COMPARED = [
    *(f"{score}_{end}" for score in SCORES for end in ("difference", "difference_low", "difference_high", "p")),
    *("only_here", "only_full", "mcnemar_p"),
]
"""The columns that compare a configuration with the full model, but for the adjusted p-values."""


def table_3(paper: Mapping[str, Score], own: Callable[[str], ConfigurationScores | None]) -> pd.DataFrame:
    """Return every ablation with the paper's scores, those here, and the comparison with the full model.

    Args:
        paper: the published scores by ablation; empty for a data set that has none, which leaves out their columns.
        own: a function from an ablation to its configuration, or None if its runs are incomplete.
    """
    full = own("none")
    rows = [
        {"ablation": ablation, "name": name, **paper_columns(paper.get(ablation)), **own_columns(own(ablation), full)}
        for ablation, name in published.NAMES.items()
    ]
    return adjusted(frame(rows, "ablation", "name", *(PAPER.values() if paper else ()), *FLAT, *COMPARED))


def paper_columns(score: Score | None) -> dict[str, float | None]:
    """Return the columns of published figures; empty where there are none."""
    return dict(zip(PAPER.values(), score, strict=True)) if score is not None else {}


def own_columns(here: ConfigurationScores | None, full: ConfigurationScores | None) -> dict[str, Any]:
    """Return the columns of a configuration: its scores, and its comparison with the full model.

    Args:
        here: the configuration, or None if its runs are incomplete.
        full: the full model, or None if its runs are incomplete; not compared with itself.
    """
    if here is None:
        return {}
    return {**_flat(here.scores), **(_against(here, full) if full is not None and here is not full else {})}


def adjusted(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with `COMPARED` and the p-values of each score, adjusted by Holm's method for its rows."""
    table = table.copy()
    for score in SCORES:
        there = table[f"{score}_p"].notna()
        table[f"{score}_p_holm"] = np.nan
        table.loc[there, f"{score}_p_holm"] = holm(table.loc[there, f"{score}_p"].to_numpy(dtype=np.float64))
    return table


def curve_table(axis: str, rows: Mapping[float, ConfigurationScores | None]) -> pd.DataFrame:
    """Return the scores over an axis, `m` or `lam`, for the values whose runs are complete."""
    return frame([{axis: value, **_flat(row.scores)} for value, row in rows.items() if row is not None], axis, *FLAT)


def runs_table(
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    missing: Mapping[str, str],
    read: Callable[[str], pd.DataFrame],
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return one row per run: its recipe, its validation and test scores, or why it has none.

    Args:
        trials: the requested trials.
        results: the results by key.
        missing: why runs have no test predictions, by key.
        read: a function from a key to the test predictions.
        classes: the names of the classes, in order.
    """
    by_key: dict[str, list[Trial]] = {}
    for trial in trials:
        by_key.setdefault(trial.key, []).append(trial)
    rows = []
    for key, same in by_key.items():
        result = results.get(key)
        row: dict[str, Any] = {"key": key, "axes": ",".join(dict.fromkeys(trial.axis for trial in same))}
        row |= same[0].config.to_dict()
        row |= {"val_accuracy": result.figures.get("val_accuracy") if result is not None else None}
        if key not in missing:
            table = read(key)
            labels, predicted = (numbers_of(table[name], classes) for name in ("label", "predicted"))
            scores = scores_of(labels, predicted[None], len(classes))
            row |= {"n": len(table), **{f"test_{name}": float(values[0]) for name, values in scores.items()}}
        rows.append({**row, "error": missing.get(key, "")})
    found: pd.DataFrame = pd.DataFrame(rows)
    return found


def _against(row: ConfigurationScores, full: ConfigurationScores) -> dict[str, Any]:
    """Return the columns that compare a configuration with the full model."""
    columns: dict[str, Any] = {}
    for name in SCORES:
        apart = difference(row.scores[name].value - full.scores[name].value, row.resampled[name], full.resampled[name])
        columns |= {
            f"{name}_difference": apart.value,
            f"{name}_difference_low": apart.low,
            f"{name}_difference_high": apart.high,
            f"{name}_p": apart.p,
        }
    only_here, only_full, p = mcnemar(row.right, full.right)
    return {**columns, "only_here": only_here, "only_full": only_full, "mcnemar_p": p}


def _flat(scores: dict[str, Estimate]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, one in scores.items():
        values |= {name: one.value, f"{name}_std": one.std, f"{name}_low": one.low, f"{name}_high": one.high}
    return values


def frame(rows: Sequence[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """Return rows as a frame of these columns; those that are not `TEXTS` are numbers, NaN where there is none."""
    table = pd.DataFrame(rows, columns=list(columns))
    typed: pd.DataFrame = table.astype({name: "float64" for name in columns if name not in TEXTS})
    return typed
