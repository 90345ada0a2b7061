"""Predictions for a table of raw pairs: one line per row; a row that cannot be used gets a line with the reason."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .. import disk
from ..cache.format.shard_write import FeatureError
from ..errors import DataError, ItinError, RunError, TransientError, first_line
from ..extract.data.images import read_image
from ..extract.data.reading import BadFile
from ..extract.encoders.checked import FailedInputError
from ..targets import Target
from ..train.runs.folder import FILES, VOCABULARY, Run
from .prediction import Prediction
from .predictor import Predictor
from .raw import RawPair, raw_pairs, table_files

CHUNK = 32
"""Number of rows predicted together."""

_NEXT_STEP = "fix the folder or the disk, or choose another file with --out; then run the command again"


def predict_table(
    predictor: Predictor,
    table: Path,
    out: Path | None,
    allow_outside: bool = False,
    columns: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """Predict the rows of a CSV, TSV, JSONL or Parquet file with the columns id, image and text, or the pairs of tar
    archives; labels are ignored.

    Args:
        predictor: a run's encoders and head.
        table: the file; image paths in it start from its folder. Of Parquet and archives also a pattern.
        out: CSV to write atomically, one line per row in the table's order; None prints line by line.
        allow_outside: whether image paths may lead outside the table's folder.
        columns: the table's names for `id`, `image` and `text` where they differ.

    Returns:
        The number of rows predicted and the number not predicted.

    Raises:
        DataError: the file is not such a table, or `out` is one of the files that are read.
        RunError: the predictions cannot be written.
        TransientError: the table could not be read this time.
        ValueError: `columns` has a name that is not a column of such tables.
    """
    files = table_files(table)
    for file in files:
        check_out(out, file, predictor.run.path)
    pairs = raw_pairs(files, columns or {}, allow_outside)
    text = io.StringIO(newline="")
    names = ["id", *(name for target in predictor.run.targets for name in _columns(target, predictor.run)), "error"]
    writer = csv.writer(sys.stdout if out is None else text)
    good = bad = 0
    try:
        writer.writerow(names)
        for id, result in _results(predictor, pairs):
            if isinstance(result, Prediction):
                good += 1
                cells = (cell for one in (result, *result.further.values()) for cell in _cells(one))
                writer.writerow([id, *cells, ""])
            else:
                bad += 1
                writer.writerow([id, *[""] * (len(names) - 2), result])
        if out is None:
            sys.stdout.flush()
    except OSError as error:
        if out is not None or error.errno == errno.EPIPE:  # EPIPE: the reader closed the pipe
            raise
        raise RunError(f"cannot print the predictions: {error.strerror or error}", next_step=_NEXT_STEP) from error
    if out is not None:
        _write(out, text.getvalue().encode(errors="replace"))
    return good, bad


def _columns(target: Target, run: Run) -> list[str]:
    """Return the columns of a target: what is predicted, and the classes' probabilities or the interval's ends.

    Those of further targets end in the target's name.
    """
    more = [f"p_{label}" for label in target.classes] or ["low", "high"] * (target.name in run.half_widths)
    end = "" if target == run.target else f"_{target.name}"
    return [f"{name}{end}" for name in ("predicted", *more)]


def _cells(prediction: Prediction) -> list[str]:
    if prediction.value is None:
        return [prediction.label, *(f"{value:.6f}" for value in prediction.probabilities.values())]
    return [f"{one:.6f}" for one in (prediction.value, *(prediction.interval or ()))]


def check_out(out: Path | None, table: Path, run: Path) -> None:
    """Check that predictions can be written to `out` and that it is not one of the files that are read.

    Raises:
        DataError: it is the table, under any name, or a file of the run.
        RunError: its folder does not exist, or no file can be created in it.
    """
    if out is None:
        return
    place = Path(os.path.realpath(out))
    what = "the table itself" if out.exists() and table.exists() and out.samefile(table) else ""
    if place.parent == Path(os.path.realpath(run)) and place.name in (*FILES, VOCABULARY, "tokenizer.json"):
        what = f"a file of the run {run}"
    if what:
        raise DataError(
            f"--out {out} is {what}",
            expected="a separate file for the predictions",
            next_step="choose another file with --out",
        )
    try:
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_pipe_or_device(out):
            tempfile.TemporaryFile(dir=place.parent).close()
    except OSError as error:
        raise RunError(
            f"cannot write {out}: {error.strerror or error}",
            expected=f"a folder {place.parent} in which files can be created",
            next_step=_NEXT_STEP,
        ) from error


def _is_pipe_or_device(out: Path) -> bool:
    """Tell whether it is a pipe or a device, which is written to in place."""
    return out.exists() and not out.is_file()


def _write(out: Path, data: bytes) -> None:
    if not _is_pipe_or_device(out):
        disk.replace(Path(os.path.realpath(out)), data, _write_error)  # keeps a symbolic link
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise _write_error(out, error) from error


def _write_error(path: Path, error: OSError) -> ItinError:
    return disk.write_error(path, error, _NEXT_STEP)


def _results(predictor: Predictor, pairs: Iterable[RawPair]) -> Iterator[tuple[str, Prediction | str]]:
    """Yield each pair's id, and its prediction or the reason why there is none."""
    remaining = iter(pairs)
    while chunk := list(islice(remaining, CHUNK)):
        decoded = [(pair, pair.problem or _image(pair)) for pair in chunk]
        whole = [(image, pair.text) for pair, image in decoded if not isinstance(image, str)]
        try:
            results: Iterator[Prediction | str] = iter(predictor.predict(whole) if whole else [])
        except (FeatureError, FailedInputError):  # one pair is at fault: find out which
            results = iter([_predict_one(predictor, pair) for pair in whole])
        for pair, image in decoded:
            yield pair.id, image if isinstance(image, str) else next(results)


def _image(pair: RawPair) -> Any:
    try:
        return read_image(pair.image)
    except BadFile as error:
        return error.reason
    except TransientError as error:
        return error.what


def _predict_one(predictor: Predictor, pair: tuple[Any, str]) -> Prediction | str:
    try:
        return predictor.predict([pair])[0]
    except (FeatureError, FailedInputError) as error:
        return first_line(error)
