"""What a reader of archives or tables gives: the pairs in order, each with its image where that has to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..classes import Labelling
from ..places.opening import Status
from ..samples import DataSet, Entry, Sample
from ..sets.scores import Scale


class Found(NamedTuple):
    """One pair as it was met, or what cannot be used in its place."""

    where: str
    """Its place for people, such as `00003.tar` or `t.parquet, row 17`."""
    id: str
    """Its id; of what has none its place."""
    entry: Entry | None = None
    """The pair, without label and score; None where it cannot be used."""
    label: str = ""
    """Its label as it stands, without white space at its ends; empty where there is none."""
    score: Any = None
    """The cell of its score."""
    status: Status | None = None
    """The state of the archive or table that holds the image."""
    data: bytes | None = None
    """The image, where it was read."""
    known: Sample | None = None
    """The same image in the last scan, where it need not be read."""
    problem: str = ""
    """The reason why it cannot be used."""
    unread: str = ""
    """The reason why it could not be read this time."""


Known = Callable[[str, Path, Mapping[str, Any], Status], Sample | None]
"""A look into the last scan: given an id, the place of its image (see `places.locator.Locator`) and the state of that
file, returns the sample that was read from there, if it was."""


@dataclass(frozen=True)
class Stream:
    """A data set in archives or tables."""

    files: tuple[Path, ...]
    """The archives or tables, in order."""
    total: int
    """The number of pairs; 0 where it is not known before they are read."""
    pairs: Callable[[Known], Iterator[Found]]
    """Reads the files from front to back."""
    finish: Callable[[Counter[str], Sequence[Any]], tuple[DataSet, Labelling, Scale]]
    """Decides classes and range from the number of pairs of each label, and from cells that stand for all scores."""
