"""The runs of a reproduction on the test part: each is evaluated once, and its predictions are kept.

REPRODUCTION/test/KEY.csv  id, part, label, predicted, and the probability of each class, as in a run's predictions.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ... import disk
from ...errors import RunError
from ...train.label_rule import decided
from ...train.runs.evaluation import predict_part
from ...train.runs.folder import load_run, read_table
from ...train.runs.write import prediction_columns, predictions_csv
from ...train.sweeps.prepare import SweepData
from ...train.sweeps.result import Result


def path_of(folder: Path, key: str) -> Path:
    """Return the file of a run's test predictions."""
    return folder / "test" / f"{key}.csv"


def missing(folder: Path, keys: Sequence[str]) -> list[str]:
    """Return the runs that have not been evaluated yet."""
    return [key for key in keys if not path_of(folder, key).exists()]


def evaluate(folder: Path, results: Sequence[Result], data: SweepData, device: str = "cpu") -> None:
    """Predict the test part with each run that has no test predictions yet.

    Args:
        folder: the folder of the reproduction.
        results: the finished runs.
        data: the features that the runs were trained on.
        device: the device to compute on.

    Raises:
        RunError: the features do not fit a run, or a file cannot be written.
    """
    (folder / "test").mkdir(parents=True, exist_ok=True)
    for result in results:
        path = path_of(folder, result.key)
        if result.run is None or path.exists():
            continue
        run = load_run(result.run)
        features = data.features[run.config.view]
        split, predicted = predict_part(run, features, device)
        disk.replace(
            path,
            predictions_csv(
                {"test": decided(predicted, run.config.label_from)[run.target.name]}, features, split, run.target
            ),
        )


def read(folder: Path, key: str, classes: Sequence[str]) -> pd.DataFrame:
    """Return the test predictions of a run, sorted by id, with the columns of `prediction_columns`.

    Args:
        folder: the folder of the reproduction.
        key: the key of the run.
        classes: the names of the classes, in order.

    Raises:
        RunError: the file cannot be read, or is of other classes.
    """
    path, again = path_of(folder, key), "remove the file and run `itin reproduce` again"
    table, columns = read_table(path, again), prediction_columns(classes)
    if list(table) != columns:
        raise RunError(
            f"{path} is not a table of predictions",
            expected=f"the columns {', '.join(columns)}",
            found=", ".join(map(str, table)),
            next_step=again,
        )
    by_id: pd.DataFrame = table.sort_values("id", ignore_index=True)
    return by_id
