"""The evaluation of a sweep's chosen configuration on the test part, once."""

from __future__ import annotations

import math
import statistics
from typing import Any

from ... import disk
from ...errors import RunError
from ..config import REPEATS, SCORE_TITLES, SELECTS, scores_of
from ..runs.evaluation import evaluate
from .folder import CASE, FIELDS, FORMAT, Sweep
from .prepare import SweepData


def chosen_by(select: str, inner_folds: int = 0) -> str:
    """Return the rule that chooses a configuration by a validation score, or by that on inner folds, in words."""
    what, over = "validation ", "the seeds"
    if inner_folds:
        what, over = "", f"{inner_folds} inner folds of the training part"
    if select == "loss":
        return f"lower mean {what}loss over {over}"
    way = "" if SELECTS[select] > 0 else "lower "
    return f"{way}mean {what}{SCORE_TITLES[select]} over {over}, then lower {what}loss"


def revealed(sweep: Sweep) -> dict[str, Any] | None:
    """Return the figures that `reveal` has kept, or None."""
    path = sweep.path / "test.json"
    if not path.exists():
        return None
    return disk.read_record(path, "use the itin that made the sweep", FORMAT)


def reveal(sweep: Sweep, data: SweepData, device: str = "cpu") -> dict[str, Any]:
    """Evaluate the sweep's best configuration on the test part and keep the figures in `test.json`.

    With inner folds that is the chosen one of each training part.

    Called again, it reads them from there: the test part is evaluated once, for the one configuration that was chosen
    without it.

    Args:
        sweep: a sweep whose runs have all ended.
        data: its features.
        device: where to compute.

    Returns:
        `config`, the configuration without seeds, of several the fields that they share; `chosen_by`; `val_accuracy`,
        or the score that it was chosen by, on inner folds their mean; `runs`, with `run`, `seed`, `fold` and the test
        part's scores each; `mean` and `std` over the runs; `note`.

    Raises:
        RunError: runs are missing, or none has finished.
    """
    if (record := revealed(sweep)) is not None:
        return record
    table = sweep.results()
    if (left := int((table["status"] == "open").sum())) or not len(table):
        raise RunError(
            f"the sweep {sweep.path} has not ended",
            expected="a result of every run before the test part is evaluated",
            found=f"{left} trials without one",
            next_step=f"itin sweep --resume {sweep.path}",
        )
    configurations = sweep.configurations()
    whole = configurations[(configurations["open"] == 0) & (configurations["seeds"] > 0)]
    inner_folds = sweep.definition.inner_folds
    if inner_folds:
        whole = whole[whole["chosen"]]
    if whole.empty:
        raise RunError(
            f"the sweep {sweep.path} has no configuration whose runs have all finished",
            expected="at least one to choose from",
            found=f"{int((table['status'] == 'failed').sum())} trials that failed",
            next_step="see the column error of results.csv, or sweep over other values",
        )
    rows: list[dict[str, Any]] = []
    runs = sweep.best_runs() if inner_folds else sweep.runs_of(whole.iloc[0])
    for run in runs:
        score = evaluate(run, data.features[run.config.view], device)
        name = run.path.relative_to(sweep.path).as_posix()
        rows.append({"run": name, "seed": run.config.seed, "fold": run.config.fold, "test": score})
    select = sweep.definition.select
    values = {
        name: [math.nan if row["test"][name] is None else float(row["test"][name]) for row in rows]
        for name in scores_of(run.target)
    }
    recipes = [one.config.to_dict() for one in runs]
    config = {name: recipes[0][name] for name in FIELDS if all(one[name] == recipes[0][name] for one in recipes)}
    record = {
        "format": FORMAT,
        "protocol": str(sweep.definition.protocol_used),
        "chosen_by": chosen_by(select, inner_folds),
        "config": {name: value for name, value in config.items() if name not in REPEATS},
        "configurations": int(configurations.groupby(list(CASE)).size().max()) if inner_folds else len(configurations),
        f"val_{select}": float(whole[f"val_{select}"].mean() if inner_folds else whole[f"val_{select}"].iloc[0]),
        "runs": rows,
        "mean": {name: statistics.fmean(each) for name, each in values.items()},
        "std": {name: statistics.stdev(each) if len(each) > 1 else None for name, each in values.items()},
        "note": sweep.definition.note,
    }
    disk.replace(sweep.path / "test.json", disk.to_json(record))
    return record
