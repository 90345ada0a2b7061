"""A reproduction as frames of numbers: Tables II and III, the curves of Figs. 5 and 6, and the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..labels import LABELS
from ..train.axes import Place
from ..train.statistics import Difference, Estimate, accuracy_of, difference, holm, mcnemar, weighted_f1_of
from . import published, testing

if TYPE_CHECKING:
    from .reproduction import Reproduction, Row

SCORES = ("accuracy", "weighted_f1")


def table_2(made: Reproduction) -> pd.DataFrame:
    """Published methods, then the full model here and always predicting the majority class."""
    rows: list[dict[str, Any]] = [
        {"method": name, "source": "published", "accuracy": score.accuracy, "weighted_f1": score.f1}
        for name, score in published.TABLE_2.get(made.dataset, {}).items()
    ]
    if (full := made.full) is not None and (run := made.first) is not None:
        rows.append({"method": "ITIN", "source": "here", **_flat(full.scores)})
        always = str(run.metrics["val"]["majority"]["class"])  # the most frequent one of the training part
        fixed = scores_of(made.labels, np.full((1, len(made.labels)), LABELS.index(always)))
        scores = {name: float(values[0]) for name, values in fixed.items()}
        rows.append({"method": f"always {always}", "source": "here", **scores})
    return _frame(rows, "method", "source", *_flat_names())


def table_3(made: Reproduction) -> pd.DataFrame:
    """Every ablation with the paper's figures, ours, and what they come to against the full model."""
    paper = published.TABLE_3.get(made.dataset, {})
    rows: list[dict[str, Any]] = []
    full = made.full
    for ablation, name in published.NAMES.items():
        row: dict[str, Any] = {"ablation": ablation, "name": name}
        if ablation in paper:
            row |= {"paper_accuracy": paper[ablation].accuracy, "paper_f1": paper[ablation].f1}
        if (own := made.row("ablation", ablation=ablation)) is not None:
            row |= _flat(own.scores)
            if full is not None and own is not full:
                row |= _against(own, full)
        rows.append(row)
    told = [f"{score}_{end}" for score in SCORES for end in ("difference", "difference_low", "difference_high", "p")]
    table = _frame(
        rows,
        "ablation",
        "name",
        "paper_accuracy",
        "paper_f1",
        *_flat_names(),
        *told,
        "only_here",
        "only_full",
        "mcnemar_p",
    )
    for score in SCORES:
        there = table[f"{score}_p"].notna()
        table[f"{score}_p_holm"] = np.nan
        table.loc[there, f"{score}_p_holm"] = holm(table.loc[there, f"{score}_p"].to_numpy(dtype=np.float64))
    return table


def curve(made: Reproduction, axis: str) -> pd.DataFrame:
    """The values of an axis, `m` or `lam`, that have all their runs."""
    rows = []
    for value in getattr(made.request, axis):
        if (row := made.row(axis, **{axis: value})) is not None:
            rows.append({axis: value, **_flat(row.scores)})
    return _frame(rows, axis, *_flat_names())


def runs(made: Reproduction) -> pd.DataFrame:
    """One row a run: its recipe, validation and test figures, and why it has none."""
    rows = []
    for key, places in _by_key(made.keys).items():
        result = made.results.get(key)
        row: dict[str, Any] = {"key": key, "axes": ",".join(dict.fromkeys(place.axis for place in places))}
        row |= places[0].config.to_dict()
        row |= {"val_accuracy": result.figures.get("val_accuracy") if result is not None else None}
        if key not in made.missing:
            table = testing.read(made.path, key)
            scores = scores_of(classes_of(table["label"]), classes_of(table["predicted"])[None])
            row |= {"n": len(table), **{f"test_{name}": float(values[0]) for name, values in scores.items()}}
        rows.append({**row, "error": made.missing.get(key, "")})
    found: pd.DataFrame = pd.DataFrame(rows)
    return found


def scores_of(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """`SCORES` of predictions (S, N), each (S,)."""
    size = len(LABELS)
    confusion = np.stack([np.bincount(size * labels + one, minlength=size**2) for one in predicted])
    matrices = confusion.reshape(-1, size, size).astype(np.float64)
    return {"accuracy": accuracy_of(matrices), "weighted_f1": weighted_f1_of(matrices)}


def classes_of(column: pd.Series[Any]) -> NDArray[np.int64]:
    """The classes of a column of labels, (N,)."""
    return np.array([LABELS.index(label) for label in column], dtype=np.int64)


def _against(row: Row, full: Row) -> dict[str, Any]:
    """The columns that compare a configuration with the full model."""
    columns: dict[str, Any] = {}
    for name in SCORES:
        apart: Difference = difference(
            row.scores[name].value - full.scores[name].value, row.resampled[name], full.resampled[name]
        )
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


def _flat_names() -> list[str]:
    return [f"{name}{end}" for name in SCORES for end in ("", "_std", "_low", "_high")]


def _frame(rows: Sequence[dict[str, Any]], *columns: str) -> pd.DataFrame:
    texts = {"method", "source", "ablation", "name"}
    table = pd.DataFrame(rows, columns=list(columns))
    typed: pd.DataFrame = table.astype({name: "float64" for name in columns if name not in texts})
    return typed


def _by_key(keys: dict[Place, str]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place, key in keys.items():
        found.setdefault(key, []).append(place)
    return found
