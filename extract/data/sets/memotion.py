"""Memotion 7k: memes with the text on them, and levels of sentiment, humour, sarcasm and offence.

Sharma et al.: SemEval-2020 Task 8: Memotion Analysis - The Visuo-Lingual Metaphor! There is no split of its own.
"""

from __future__ import annotations

from ....targets import Target
from ..samples import DataSet, DataSetSource
from .published import Pair, Place, Values, find, label_column, read_published, rows_in, string, targets_in

COLUMNS = {
    "overall_sentiment": ("very_negative", "negative", "neutral", "positive", "very_positive"),
    "humour": ("not_funny", "funny", "very_funny", "hilarious"),
    "sarcasm": ("not_sarcastic", "general", "twisted_meaning", "very_twisted"),
    "offensive": ("not_offensive", "slight", "very_offensive", "hateful_offensive"),
    "motivational": ("not_motivational", "motivational"),
}
"""The levels of each column that `--columns label=NAME` can choose, in order; overall_sentiment is the default."""

TARGETS = {column: Target(column.removeprefix("overall_"), "ordered", levels) for column, levels in COLUMNS.items()}
"""The further targets: all columns, whichever is the label."""

TABLE = "labels.csv"
PLACE = Place(
    (TABLE,),
    f"a folder with {TABLE} and images/{{image_name}}",
    "get Memotion 7k (https://www.kaggle.com/datasets/williamscott701/memotion-dataset-7k), and name the folder that "
    f"holds {TABLE} with --root",
)


def read(source: DataSetSource) -> DataSet:
    """Read the data set, for `open_dataset`."""
    root, column = find(PLACE, source), label_column(source, COLUMNS)

    def pair_of(part: str | None, number: int, values: Values) -> Pair:
        image, corrected, ocr, label = (
            string(values, name) for name in ("image_name", "text_corrected", "text_ocr", column)
        )
        # A few memes have only the text that was recognised, not one that was corrected.
        return Pair(
            image, f"images/{image}", corrected if corrected.strip() else ocr, label, targets_in(TARGETS, values)
        )

    files = {TABLE: (None, rows_in(root / TABLE, ".csv"))}
    return read_published(source, root, files, pair_of, COLUMNS[column], ordered=True, targets=tuple(TARGETS.values()))
