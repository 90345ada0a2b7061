"""Learning curves as TensorBoard event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...lazy import optional
from .setup import Event

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "val_weighted_f1": "weighted F1/validation",
    "val_macro_f1": "macro F1/validation",
    "train_mae": "MAE/train",
    "val_mae": "MAE/validation",
    "val_rmse": "RMSE/validation",
    "val_pearson": "Pearson/validation",
    "val_spearman": "Spearman/validation",
    "val_ccc": "CCC/validation",
    "lr": "learning rate",
}
"""The columns of a run's history, and their tags in event files."""


class EventFiles:
    """Event files of one run or several, one folder each: `tensorboard --logdir FOLDER` shows them side by side.

    Args:
        folder: the folder of the event files, made if need be.

    Raises:
        RunError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._make = optional(
            "torch.utils.tensorboard", "event files need TensorBoard", "itin[tensorboard]"
        ).SummaryWriter
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> EventFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for run in list(self._writers):
            self.end(run)

    def add(self, run: str, row: Mapping[str, float]) -> None:
        """Write an epoch.

        Args:
            run: the name of the run's folder.
            row: the history's newest row.
        """
        if run not in self._writers:
            self._writers[run] = self._make(str(self.folder / run))
        for column, tag in ((column, tag) for column, tag in TAGS.items() if column in row):
            self._writers[run].add_scalar(tag, row[column], int(row["epoch"]))

    def listen(self, event: Event) -> None:
        """Write an event of a sweep."""
        if event.result is None:
            self.add(event.trial.name, event.row)
        else:
            self.end(event.trial.name)

    def end(self, run: str) -> None:
        """Close the files of a run."""
        if (writer := self._writers.pop(run, None)) is not None:
            writer.close()
