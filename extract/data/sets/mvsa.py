"""MVSA-Single and MVSA-Multiple in their authors' own layout, and the label rule of the papers that use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ....errors import DataError
from ....labels import LABELS, VALUES, combine
from ....tabular.lines import lines_of
from ....targets import SIDES, Target
from ..reading import BadFile, read_bytes
from ..samples import DataSet, DataSetSource, Entry, Rejected, reject, source_of
from .published import Place, find, listing

ANNOTATORS = {"mvsa-single": 1, "mvsa-multiple": 3}
"""Number of label columns in each data set's table."""

LABEL_FILE = "labelResultAll.txt"
AUTHORS_PAGE = "http://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/"
LAYOUT = f"a folder with {LABEL_FILE} and data/{{id}}.jpg, data/{{id}}.txt"
PLACE = Place(
    (LABEL_FILE,),
    LAYOUT,
    f"get MVSA from the page of the data set's authors, {AUTHORS_PAGE}, unpack it, "
    f"and name the folder that holds {LABEL_FILE} with --root",
)

NO_MAJORITY = "no majority"
CONFLICT = "text and image labels conflict"

INTENSITIES = tuple(
    Target(name, "number", span=(-1.0, 1.0)) for name in ("intensity", "text-intensity", "image-intensity")
)

TEXT_ENCODING = "gb18030"
"""Encoding of every text of both data sets as published; `gbk` fails on some, and UTF-8 garbles some silently."""

MAX_LABEL_BYTES = 64 * 2**20


@dataclass(frozen=True)
class LabelRow:
    """One row of the label file."""

    id: str
    votes: list[tuple[str, str]]
    """(text label, image label) of each annotator."""


def majority(votes: Sequence[str]) -> str | None:
    """Return the label that more than half of the annotators gave, or None."""
    best = max(set(votes), key=votes.count)
    return best if 2 * votes.count(best) > len(votes) else None


def judge(votes: Sequence[tuple[str, str]]) -> tuple[str | None, str | None, str | None]:
    """Return the labels by the rule of Table I: a majority for each modality first, then the two combined.

    Args:
        votes: (text label, image label) of each annotator.

    Returns:
        label, text label, image label. Without a majority the modality's label is None; the label is None if either
        is, or if they conflict.
    """
    text = majority([text for text, _ in votes])
    image = majority([image for _, image in votes])
    return (combine(text, image) if text and image else None), text, image


def intensities(votes: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Return the means of the labels as numbers: of all labels of a pair, of the text's, and of the image's.

    Args:
        votes: (text label, image label) of each annotator.
    """
    text, image = ([VALUES[label] for label in side] for side in zip(*votes, strict=True))
    return {
        target.name: sum(own) / len(own) for target, own in zip(INTENSITIES, (text + image, text, image), strict=True)
    }


def own_labels(votes: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the labels of each of several annotators: `text-label-1`, `image-label-1`, `text-label-2`, ...

    Args:
        votes: (text label, image label) of each annotator.
    """
    if len(votes) == 1:
        return {}  # they are the pair's text and image label
    numbered = enumerate(votes, start=1)
    return {
        f"{side}-label-{n}": label for n, vote in numbered for side, label in zip(("text", "image"), vote, strict=True)
    }


def targets_for(annotators: int) -> tuple[Target, ...]:
    """Return what can be learnt from a data set of so many annotators beside its label."""
    names = [*SIDES, *own_labels([("neutral", "neutral")] * annotators)]
    return (*(Target(name, classes=LABELS) for name in names), *INTENSITIES)


def read_labels(path: Path, annotators: int) -> tuple[list[LabelRow], list[Rejected]]:
    """Read a label file: a header line, then `id<TAB>text,image` with one column for each annotator.

    Returns:
        The rows in the file's order, and the rejected lines (malformed, an unknown label, a duplicate id).

    Raises:
        DataError: the file is missing, not a label file, for another number of annotators, or holds no usable row.
        TransientError: the file could not be read this time.
    """
    try:
        lines = list(lines_of(read_bytes(path, MAX_LABEL_BYTES)))
    except (BadFile, UnicodeDecodeError) as error:
        reason = f"a file that {error.reason}" if isinstance(error, BadFile) else "bytes that are not text"
        raise _not_labels(path, annotators, reason) from error
    header = lines[0].strip().lower().split("\t") if lines else []
    if header[:1] != ["id"] or len(header) < 2 or set(header[1:]) != {"text,image"}:
        raise _not_labels(path, annotators, repr(lines[0].rstrip("\r\n")[:80]) if lines else "an empty file")
    if len(header) - 1 != annotators:
        raise _not_labels(path, annotators, f"{len(header) - 1} column{'s' * (len(header) != 2)} 'text,image'")
    rows: dict[str, LabelRow] = {}
    failed: list[tuple[str, str, str]] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        id = line.strip().split("\t")[0]
        try:
            if id in rows:
                raise ValueError(f"id {id} is on an earlier line too")
            rows[id] = _row(line, annotators)
        except ValueError as error:
            failed.append((id, f"line {number}", str(error)))
    rejected = reject(failed, rows, path.name)
    if not rows:
        raise _not_labels(path, annotators, rejected[0].reason if rejected else "a header line alone")
    return list(rows.values()), rejected


def read(source: DataSetSource) -> DataSet:
    """Read either data set, for `open_dataset`."""
    root = find(PLACE, source)
    rows, rejected = read_labels(root / LABEL_FILE, ANNOTATORS[source.kind])
    data = root / "data"
    if not data.is_dir():
        raise DataError(
            f"{root} holds {LABEL_FILE} but no folder data",
            expected=LAYOUT,
            found=listing(root),
            next_step=f"put the pictures and texts into {data}",
        )
    entries = []
    without: Counter[str] = Counter()
    for row in rows:
        label, text, image = judge(row.votes)
        without.update([] if label else [CONFLICT if text and image else NO_MAJORITY])
        if label or not source.labelled_only:
            more: dict[str, str | float] = {**own_labels(row.votes), **intensities(row.votes)}
            files = (data / f"{row.id}.jpg", data / f"{row.id}.txt")
            entries.append(Entry(row.id, *files, label, text, image, targets=more))
    name = source.name or source.kind
    return DataSet(
        name=name,
        root=root,
        entries=entries,
        rejected=rejected,
        dropped=dict(without) if source.labelled_only else {},
        undecided={} if source.labelled_only else dict(without),
        classes=LABELS,
        targets=targets_for(ANNOTATORS[source.kind]),
        source=source_of(source, root=root, name=name),
        text_encoding=TEXT_ENCODING,
    )


def _row(line: str, annotators: int) -> LabelRow:
    id, *cells = line.strip().split("\t")
    if not (id.isascii() and id.isdigit()):  # it becomes part of two paths
        raise ValueError(f"the id {id[:40]!r} is not a number")
    if len(cells) != annotators:
        raise ValueError(f"{len(cells)} columns of labels instead of {annotators}")
    votes = []
    for cell in cells:
        text, comma, image = cell.strip().partition(",")
        if not comma or text not in LABELS or image not in LABELS:
            raise ValueError(f"{cell[:40]!r} is not two of {', '.join(LABELS)}, with a comma between")
        votes.append((text, image))
    return LabelRow(id, votes)


def _not_labels(path: Path, annotators: int, found: str) -> DataError:
    columns = "one column 'text,image'" if annotators == 1 else f"{annotators} columns 'text,image'"
    kind = "mvsa-single" if annotators == 1 else "mvsa-multiple"
    return DataError(
        f"{path} is not the label file of {kind}",
        expected=f"a header line with ID and {columns}, separated by tabs, and rows such as '7<TAB>positive,neutral'",
        found=found,
        next_step="check whether --dataset and --root belong together; if so, unpack the file again",
    )
