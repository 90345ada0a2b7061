"""Predictions for a whole table of raw pairs: a line for each row; one that cannot be used keeps its line, with why."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .. import disk
from ..cache.format.shard_write import FeatureError
from ..errors import DataError, ItinError, RunError, TransientError
from ..extract.data.images import read_image
from ..extract.data.reading import BadFile
from ..extract.data.samples import DataSet, Entry, Rejected, Sample
from ..extract.data.scan import Scan, scan
from ..extract.data.sets.folder import read_rows
from ..labels import LABELS
from ..train.runs.folder import FILES
from .prediction import Prediction
from .predictor import Predictor

CHUNK = 32
"""Rows that are predicted together."""

COLUMNS = ["id", "predicted", *(f"p_{label}" for label in LABELS), "error"]

_ELSEWHERE = "see to the folder or the disk, or name another file with --out; then run the command again"


def predict_table(
    predictor: Predictor,
    table: Path,
    out: Path | None,
    allow_outside: bool = False,
    columns: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """Predict for a CSV, TSV or JSONL file with the columns id, image and text; labels are not looked at.

    Args:
        predictor: a run's encoders and head.
        table: the file; image paths in it start from its folder.
        out: CSV to write, with a line for each row in the table's order, whole or not at all; None prints line by line.
        allow_outside: whether image paths may lead out of the table's folder.
        columns: the table's names for `id`, `image` and `text` where they differ.

    Returns:
        How many rows were predicted, and how many were not.

    Raises:
        DataError: not such a table, or `out` is one of the files that are read.
        RunError: the predictions cannot be written.
        TransientError: the table could not be read this time.
        ValueError: `columns` names what is no column of a table.
    """
    check_out(out, table, predictor.run.path)
    table = table.resolve()
    rows = read_rows(table, table.parent, columns or {}, allow_outside, labels=False)
    seen = scan(DataSet(table.name, table.parent, [row for row in rows if isinstance(row, Entry)], rejected=[]))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(sys.stdout if out is None else text, COLUMNS, restval="")
    good = 0
    try:
        writer.writeheader()
        for id, result in _results(predictor, rows, seen):
            if isinstance(result, Prediction):
                good += 1
                chances = {f"p_{label}": f"{value:.6f}" for label, value in result.probabilities.items()}
                writer.writerow({"id": id, "predicted": result.label, **chances})
            else:
                writer.writerow({"id": id, "error": result})
        if out is None:
            sys.stdout.flush()
    except OSError as error:
        if out is not None or error.errno == errno.EPIPE:  # EPIPE: whoever reads the output has enough
            raise
        raise RunError(f"cannot print the predictions: {error.strerror or error}", next_step=_ELSEWHERE) from error
    if out is not None:
        _put(out, text.getvalue().encode(errors="replace"))
    return good, len(rows) - good


def check_out(out: Path | None, table: Path, run: Path) -> None:
    """Refuse a place for predictions that cannot be written to, or in which something stands that is read.

    Raises:
        DataError: it is the table, under whatever name, or a file of the run.
        RunError: there is no such folder, or no file can be made in it.
    """
    if out is None:
        return
    place = Path(os.path.realpath(out))
    what = "the table itself" if out.exists() and table.exists() and out.samefile(table) else ""
    if place.parent == Path(os.path.realpath(run)) and place.name in (*FILES, "tokenizer.json"):
        what = f"a file of the run {run}"
    if what:
        raise DataError(
            f"--out {out} is {what}",
            expected="a file of its own for the predictions",
            next_step="name another file with --out",
        )
    try:
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _special(out):
            tempfile.TemporaryFile(dir=place.parent).close()
    except OSError as error:
        raise RunError(
            f"cannot write {out}: {error.strerror or error}",
            expected=f"a folder {place.parent} in which files can be made",
            next_step=_ELSEWHERE,
        ) from error


def _special(out: Path) -> bool:
    """Tell whether it is a pipe or a device, which is written to as it is."""
    return out.exists() and not out.is_file()


def _put(out: Path, data: bytes) -> None:
    if not _special(out):
        disk.replace(Path(os.path.realpath(out)), data, _fault)  # a link stays a link
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise _fault(out, error) from error


def _fault(path: Path, error: OSError) -> ItinError:
    return disk.write_error(path, error, _ELSEWHERE)


def _results(predictor: Predictor, rows: list[Entry | Rejected], seen: Scan) -> Iterator[tuple[str, Prediction | str]]:
    """Yield each row's id, and its prediction or why there is none."""
    refused = {one.id: one for one in [*seen.rejected, *seen.unread]}
    predicted = _predict(predictor, seen.samples)
    for row in rows:
        bad = row if isinstance(row, Rejected) else refused.get(row.id)
        yield row.id, next(predicted) if bad is None else bad.reason


def _predict(predictor: Predictor, samples: list[Sample]) -> Iterator[Prediction | str]:
    remaining = iter(samples)
    while chunk := list(islice(remaining, CHUNK)):
        decoded: list[tuple[Sample, Any]] = [(sample, _image(sample)) for sample in chunk]
        whole = [(image, sample.text) for sample, image in decoded if not isinstance(image, str)]
        try:
            results: Iterator[Prediction | str] = iter(predictor.predict(whole) if whole else [])
        except FeatureError:  # one of them: find out which
            results = iter([_alone(predictor, pair) for pair in whole])
        for _, image in decoded:
            yield image if isinstance(image, str) else next(results)


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
