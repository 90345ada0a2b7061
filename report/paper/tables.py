"""A reproduction as frames of numbers: Tables II and III, the curves of Figs. 5 and 6, and the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...labels import LABELS, numbers_of
from ...train.statistics import Estimate, difference, holm, mcnemar
from ...train.sweeps.axes import Trial
from ...train.sweeps.result import Result
from . import published
from .scores import SCORES, ConfigurationScores, scores_of

_FLAT = [f"{name}{end}" for name in SCORES for end in ("", "_std", "_low", "_high")]
"""The columns of a configuration's scores."""


def table_2(
    dataset: str, full: ConfigurationScores | None, always: str | None, labels: NDArray[np.int64]
) -> pd.DataFrame:
    """Return the published methods, then the full model here and always predicting the majority class.

    Args:
        dataset: the data set's name in `published`.
        full: the full model, or None if its runs are incomplete.
        always: the most frequent class of the training part, or None if there is no run.
        labels: (N,), the true classes of the test pairs.
    """
    rows: list[dict[str, Any]] = [
        {"method": name, "source": "published", "accuracy": score.accuracy, "weighted_f1": score.f1}
        for name, score in published.TABLE_2.get(dataset, {}).items()
    ]
    if full is not None and always is not None:
        rows.append({"method": "ITIN", "source": "here", **_flat(full.scores)})
        fixed = scores_of(labels, np.full((1, len(labels)), LABELS.index(always)))
        scores = {name: float(values[0]) for name, values in fixed.items()}
        rows.append({"method": f"always {always}", "source": "here", **scores})
    return _frame(rows, "method", "source", *_FLAT)


def table_3(dataset: str, own: Callable[[str], ConfigurationScores | None]) -> pd.DataFrame:
    """Return every ablation with the paper's scores, those here, and the comparison with the full model.

    Args:
        dataset: the data set's name in `published`.
        own: a function from an ablation to its configuration, or None if its runs are incomplete.
    """
    paper = published.TABLE_3.get(dataset, {})
    rows: list[dict[str, Any]] = []
    full = own("none")
    for ablation, name in published.NAMES.items():
        row: dict[str, Any] = {"ablation": ablation, "name": name}
        if ablation in paper:
            row |= {"paper_accuracy": paper[ablation].accuracy, "paper_f1": paper[ablation].f1}
        if (here := own(ablation)) is not None:
            row |= _flat(here.scores)
            if full is not None and here is not full:
                row |= _against(here, full)
        rows.append(row)
    compared = [
        f"{score}_{end}" for score in SCORES for end in ("difference", "difference_low", "difference_high", "p")
    ]
    columns = (
        "ablation",
        "name",
        "paper_accuracy",
        "paper_f1",
        *_FLAT,
        *compared,
        "only_here",
        "only_full",
        "mcnemar_p",
    )
    table = _frame(rows, *columns)
    for score in SCORES:
        there = table[f"{score}_p"].notna()
        table[f"{score}_p_holm"] = np.nan
        table.loc[there, f"{score}_p_holm"] = holm(table.loc[there, f"{score}_p"].to_numpy(dtype=np.float64))
    return table


def curve_table(axis: str, rows: Mapping[float, ConfigurationScores | None]) -> pd.DataFrame:
    """Return the scores over an axis, `m` or `lam`, for the values whose runs are complete."""
    return _frame([{axis: value, **_flat(row.scores)} for value, row in rows.items() if row is not None], axis, *_FLAT)


def runs_table(
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    missing: Mapping[str, str],
    read: Callable[[str], pd.DataFrame],
) -> pd.DataFrame:
    """Return one row per run: its recipe, its validation and test scores, or why it has none.

    Args:
        trials: the requested trials.
        results: the results by key.
        missing: why runs have no test predictions, by key.
        read: a function from a key to the test predictions.
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
            labels, predicted = (numbers_of(table[name], LABELS) for name in ("label", "predicted"))
            scores = scores_of(labels, predicted[None])
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


def _frame(rows: Sequence[dict[str, Any]], *columns: str) -> pd.DataFrame:
    texts = {"method", "source", "ablation", "name"}
    table = pd.DataFrame(rows, columns=list(columns))
    typed: pd.DataFrame = table.astype({name: "float64" for name in columns if name not in texts})
    return typed
