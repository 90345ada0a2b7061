"""The results of runs, and the records of those on inner folds, which keep no weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import disk
from ...targets import Target
from ..config import scores_of
from ..protocols.split import Split
from ..runs.folder import Run
from .axes import Trial

if TYPE_CHECKING:
    from ..loop import Fit

RECORD_FORMAT = 1
"""Version of a record's format; a reader refuses every other one."""


@dataclass(frozen=True)
class Result:
    """The result of one configuration and seed."""

    key: str
    run: Path | None = None
    """Its run folder, or its record on an inner fold; None where it failed."""
    figures: dict[str, float] = field(default_factory=dict)
    """`Definition.figures`, `best_epoch`, `seconds` and `train_pairs`; empty where it failed. An undefined correlation
    is NaN."""
    error: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, run: Run) -> Result:
        """Return the validation figures that a run's folder holds.

        Raises:
            RunError: a file lacks one, or cannot be read.
        """
        again = "train the run again"
        with disk.describing(run.path / "metrics.json", "the scores of a run", again):
            figures = {**_val_figures(run.metrics["val"], run.target), "best_epoch": run.metrics["best_epoch"]}
        with disk.describing(run.path / "environment.json", "the training of a run", again):
            figures["seconds"] = float(run.environment["training_seconds"])
        with disk.describing(run.path / "config.json", "a run", again):
            figures["train_pairs"] = run.record["split"]["sizes"]["train"]
        return cls(str(run.record.get("key")), run.path, figures)

    @property
    def reason(self) -> str:
        """The first line of the error, never empty."""
        return next(iter(self.error.strip().splitlines()), "no reason given")


def write_record(folder: Path, trial: Trial, fit: Fit, split: Split) -> Result:
    """Write the record of a trial on an inner fold, and return its result.

    Args:
        folder: the sweep's folder.
        trial: the trial.
        fit: the result of its training.
        split: the parts that it was trained on.
    """
    figures = _val_figures(fit.metrics["val"], fit.targets[0])
    figures |= {"best_epoch": fit.best_epoch, "seconds": fit.seconds, "train_pairs": len(split.train)}
    path = folder / "inner" / f"{trial.key}.json"
    record = {"format": RECORD_FORMAT, "key": trial.key, "config": trial.config.to_dict(), "split": split.description}
    there = {name: None if math.isnan(value) else value for name, value in figures.items()}
    disk.replace(path, disk.to_json({**record, "figures": there}))
    return Result(trial.key, path, figures)


def read_record(path: Path) -> Result:
    """Read the record of a trial on an inner fold.

    Raises:
        RunError: it cannot be read, or is of another format.
    """
    record = disk.read_record(path, "remove it, and resume the sweep", RECORD_FORMAT)
    with disk.describing(path, "a configuration on an inner fold", "remove it, and resume the sweep"):
        figures = {name: math.nan if value is None else value for name, value in record["figures"].items()}
        return Result(record["key"], path, figures)


def _val_figures(val: Mapping[str, Any], target: Target) -> dict[str, float]:
    return {f"val_{name}": math.nan if val[name] is None else float(val[name]) for name in scores_of(target)}
