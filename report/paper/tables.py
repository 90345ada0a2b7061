"""A reproduction as frames of numbers: Tables II and III, the curves of Figs. 5 and 6, and the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...itin_head.registry import HEADS
from ...labels import numbers_of
from ...train.statistics import Estimate, difference, holm, mcnemar
from ...train.sweeps.axes import Trial
from ...train.sweeps.result import Result
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


def table_2(
    paper: Mapping[str, Score],
    own: Callable[[str], ConfigurationScores | None],
    preset_of: Callable[[str], str],
    label_of: Callable[[str], str],
) -> pd.DataFrame:
    """Return one row per head: the systems in the paper's order, then the other heads.

    Args:
        paper: the published scores by system; empty for a data set that has none, which leaves out their columns.
        own: a function from a head to its configuration, or None if its runs are incomplete.
        preset_of: a function from a head to the preset that it is trained with.
        label_of: a function from a head to its name in tables.

    Returns:
        Beside the scores and their comparison with ITIN, Holm's method for all rows: `rank`, the place among all rows,
        and of the rows with both a published figure and ours `rank_paper` and `rank_here`, the place among these; each
        for both scores, NAME_rank and so on.
    """
    system_of = {head: system for system, head in published.SYSTEMS.items()}
    heads = [head for head, system in system_of.items() if head in HEADS or system in paper]
    full = own("itin")
    rows = [
        {
            "system": (system := system_of.get(head, "")),
            "head": head,
            "label": label_of(head) if head in HEADS else "",
            "recipe": "" if head not in HEADS or HEADS[head].seedless else preset_of(head),
            **paper_columns(paper.get(system)),
            **own_columns(own(head), full),
        }
        for head in (*heads, *(head for head in HEADS if head not in heads))
    ]
    columns = ("system", "head", "label", "recipe", *(PAPER.values() if paper else ()), *FLAT, *COMPARED)
    table = adjusted(frame(rows, *columns))
    for score in SCORES:
        table[f"{score}_rank"] = _ranks(table[score])
        if paper:
            both = table[score].notna() & table[PAPER[score]].notna()
            table[f"{score}_rank_paper"] = _ranks(table[PAPER[score]].where(both))
            table[f"{score}_rank_here"] = _ranks(table[score].where(both))
    return table


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


def _ranks(values: pd.Series) -> pd.Series:
    """Return the places from the greatest on, equal values on the better one; NaN where there is none."""
    return values.round(12).rank(ascending=False, method="min")


def frame(rows: Sequence[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """Return rows as a frame of these columns; those that are not `TEXTS` are numbers, NaN where there is none."""
    table = pd.DataFrame(rows, columns=list(columns))
    typed: pd.DataFrame = table.astype({name: "float64" for name in columns if name not in TEXTS})
    return typed
