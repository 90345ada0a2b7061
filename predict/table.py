"""Predictions for every row of a table; a row that cannot be predicted keeps its line, with the reason."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ..cache.shard import FeatureError
from ..errors import TransientError
from ..extract.files import BadFile
from ..extract.images import read_image
from ..extract.samples import Sample, open_dataset
from ..extract.scan import scan
from ..labels import LABELS
from .prediction import Prediction
from .predictor import Predictor

CHUNK = 32
"""Rows that are predicted together."""

COLUMNS = ["id", "predicted", *(f"p_{label}" for label in LABELS), "error"]


def predict_table(predictor: Predictor, table: Path, out: Path | None, allow_outside: bool = False) -> tuple[int, int]:
    """Predicts for a CSV, TSV or JSONL file with the columns id, image and text.

    Args:
        predictor: a run's encoders and head.
        table: the file; image paths in it start from its folder.
        out: CSV to write, with one line a row; None writes to standard output.
        allow_outside: whether image paths may lead out of the table's folder.

    Returns:
        How many rows were predicted, and how many were not.

    Raises:
        DataError: not such a table.
    """
    dataset = open_dataset("folder", table.parent, table=table, allow_outside=allow_outside)
    seen = scan(dataset)
    good = 0
    bad = dataset.rejected + seen.rejected + seen.unread
    with ExitStack() as stack:
        file: TextIO = sys.stdout if out is None else stack.enter_context(out.open("w", newline="", encoding="utf-8"))
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for sample, result in _predict(predictor, seen.samples):
            if isinstance(result, Prediction):
                good += 1
                chances = {f"p_{label}": f"{value:.6f}" for label, value in result.probabilities.items()}
                writer.writerow({"id": sample.id, "predicted": result.label, **chances})
            else:
                writer.writerow({"id": sample.id, "error": result})
        for row in bad:
            writer.writerow({"id": row.id, "error": row.reason})
        file.flush()
    return good, len(dataset.entries) + len(dataset.rejected) - good


def _predict(predictor: Predictor, samples: list[Sample]) -> Iterator[tuple[Sample, Prediction | str]]:
    remaining = iter(samples)
    while chunk := list(islice(remaining, CHUNK)):
        decoded: list[tuple[Sample, Any]] = [(sample, _image(sample)) for sample in chunk]
        whole = [(image, sample.text) for sample, image in decoded if not isinstance(image, str)]
        try:
            results: Iterator[Prediction | str] = iter(predictor.predict(whole) if whole else [])
        except FeatureError:  # one of them: find out which
            results = iter([_alone(predictor, pair) for pair in whole])
        for sample, image in decoded:
            yield sample, image if isinstance(image, str) else next(results)


def _image(sample: Sample) -> Any:
    try:
        return read_image(sample.image)
    except BadFile as error:
        return error.reason
    except TransientError as error:
        return error.what


def _alone(predictor: Predictor, pair: tuple[Any, str]) -> Prediction | str:
    try:
        return predictor.predict([pair])[0]
    except FeatureError as error:
        return str(error)
