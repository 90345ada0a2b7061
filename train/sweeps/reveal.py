"""The evaluation of a sweep's chosen configuration on the test part, once."""

from __future__ import annotations

import math
import statistics
from typing import Any

from ... import disk
from ...errors import RunError
from ..config import REPEATS, SCORE_TITLES, SELECTS, scores_of
from ..runs.evaluation import evaluate
from .folder import FIELDS, FORMAT, Sweep
from .prepare import SweepData


def chosen_by(select: str) -> str:
    """Return the rule that chooses a configuration by a validation score, in words."""
    if select == "loss":
        return "lower mean validation loss over the seeds"
    way = "" if SELECTS[select] > 0 else "lower "
    return f"{way}mean validation {SCORE_TITLES[select]} over the seeds, then lower validation loss"


def revealed(sweep: Sweep) -> dict[str, Any] | None:
    """Return the figures that `reveal` has kept, or None."""
    path = sweep.path / "test.json"
    if not path.exists():
        return None
    return disk.read_record(path, "use the itin that made the sweep", FORMAT)


def reveal(sweep: Sweep, data: SweepData, device: str = "cpu") -> dict[str, Any]:
    """Evaluate the sweep's best configuration on the test part and keep the figures in `test.json`.

    Called again, it reads them from there: the test part is evaluated once, for the one configuration that was chosen
    without it.

    Args:
        sweep: a sweep whose runs have all ended.
        data: its features.
        device: where to compute.

    Returns:
        `config`, the configuration without seeds; `chosen_by`; `val_accuracy`, or the score that it was chosen by;
        `runs`, with `run`, `seed` and the test part's scores each; `mean` and `std` over the runs; `note`.

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
    if whole.empty:
        raise RunError(
            f"the sweep {sweep.path} has no configuration whose runs have all finished",
            expected="at least one to choose from",
            found=f"{int((table['status'] == 'failed').sum())} trials that failed",
            next_step="see the column error of results.csv, or sweep over other values",
        )
    best = whole.iloc[0]
    rows: list[dict[str, Any]] = []
    for run in sweep.runs_of(best):
        score = evaluate(run, data.features[run.config.view], device)
        name = run.path.relative_to(sweep.path).as_posix()
        rows.append({"run": name, "seed": run.config.seed, "fold": run.config.fold, "test": score})
    select = sweep.definition.select
    values = {
        name: [math.nan if row["test"][name] is None else float(row["test"][name]) for row in rows]
        for name in scores_of(run.target)
    }
    config = {name: value for name, value in run.config.to_dict().items() if name not in REPEATS}
    record = {
        "format": FORMAT,
        "protocol": str(sweep.definition.protocol_used),
        "chosen_by": chosen_by(select),
        "config": {name: config[name] for name in FIELDS if name in config},
        "configurations": len(configurations),
        f"val_{select}": float(best[f"val_{select}"]),
        "runs": rows,
        "mean": {name: statistics.fmean(each) for name, each in values.items()},
        "std": {name: statistics.stdev(each) if len(each) > 1 else None for name, each in values.items()},
        "note": sweep.definition.note,
    }
    disk.replace(sweep.path / "test.json", disk.to_json(record))
    return record
