"""MSED: sentiment, emotion and desire of stock photos with title and caption, in its authors' own layout.

Jia et al.: Beyond Emotion: A Multi-Modal Dataset for Human Desire Understanding, NAACL 2022;
https://github.com/MSEDdataset/MSED.
"""

from __future__ import annotations

from ....errors import DataError
from ....labels import LABELS
from ....targets import Target
from ..samples import DataSet, DataSetSource
from .published import Pair, Place, Values, find, label_column, read_published, rows_in, string, targets_in

COLUMNS = {
    "Sentiment": LABELS,
    "Emotion": ("anger", "disgust", "fear", "happiness", "neutral", "sad"),
    "Desire": ("curiosity", "family", "none", "romance", "social-contact", "tranquility", "vengeance"),
}
"""The classes of each column that `--columns label=NAME` can choose; Sentiment is the default."""

TARGETS = {column: Target(column.lower(), classes=classes) for column, classes in COLUMNS.items()}
"""The further targets: all columns, whichever is the label."""

FOLDERS = {"train": "train", "val": "dev", "test": "test"}
PLACE = Place(
    ("train/train.csv",),
    "a folder with train, dev and test, each with a CSV of its name and images/{row}.jpg",
    "get MSED from https://github.com/MSEDdataset/MSED, and name its folder with --root",
)


def read(source: DataSetSource) -> DataSet:
    """Read the data set, for `open_dataset`."""
    root, column = find(PLACE, source), label_column(source, COLUMNS)

    def pair_of(part: str | None, number: int, values: Values) -> Pair:
        folder = FOLDERS[str(part)]
        title, caption = (string(values, name).strip() for name in ("Title", "Caption"))
        text = title if title == caption else f"{title} {caption}"  # 4 of 10 captions repeat the title
        return Pair(
            f"{folder}-{number}",
            f"{folder}/images/{number}.jpg",
            text,
            string(values, column),
            targets_in(TARGETS, values),
        )

    files = {}
    for part, folder in FOLDERS.items():
        file = f"{folder}/{folder}.csv"
        rows = rows_in(root / file, ".csv")
        if over := next((row for row in rows if row.line != row.last), None):
            raise DataError(
                f"{root / file}, {over.where}: one row over several lines",
                expected="a line for each row: their order numbers the images",
                found=over.problem or "a cell with a line end, or a quotation mark that is not doubled",
                next_step="get the data set's annotation files again",
            )
        files[file] = (part, rows)
    return read_published(source, root, files, pair_of, COLUMNS[column], targets=tuple(TARGETS.values()))
