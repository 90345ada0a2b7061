"""Raw pairs to predict: the rows of a table (CSV, TSV, JSONL, Parquet), or the pairs of tar archives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import TransientError
from ..extract.data.places.locator import Locator
from ..extract.data.places.patterns import files_of
from ..extract.data.places.remote import is_remote, named_place
from ..extract.data.places.tables import PARQUET
from ..extract.data.reading import BadFile
from ..extract.data.samples import DataSet, Entry, Rejected
from ..extract.data.scan import scan
from ..extract.data.sets.contained import containment_check
from ..extract.data.sets.folder import read_rows
from ..extract.data.sets.webdataset import archive_pairs
from ..extract.data.streams.stream import Found
from ..extract.data.streams.survey import look
from ..extract.data.streams.tables import unlabelled_pairs

TAR = ".tar"


class RawPair(NamedTuple):
    """A row or a pair, or the reason why it cannot be used."""

    id: str
    """Its id; of a row without one its place, such as `line 5`."""
    image: str | Path | Locator | bytes = b""
    """The image, as `images.read_image` takes it."""
    text: str = ""
    problem: str = ""
    """The reason, else empty."""


def table_files(table: Path) -> list[Path]:
    """Return the files that `--table` names: one, or those of a pattern such as `shards/*.parquet`.

    Raises:
        DataError: a URL is refused; or a pattern names no file.
    """
    place = named_place(table, "table")
    if place.suffix.lower() in (*PARQUET, TAR):
        return files_of(place, (place.suffix,))
    return [place if is_remote(place) else place.resolve()]


def raw_pairs(files: Sequence[Path], columns: Mapping[str, str], allow_outside: bool) -> Iterator[RawPair]:
    """Read the pairs of a table or of archives in order; labels are ignored.

    Args:
        files: see `table_files`.
        columns: the table's names for `id`, `image` and `text` where they differ.
        allow_outside: whether image paths may lead outside the first file's folder, which they start from.

    Raises:
        DataError: the files cannot be read, or lack a column.
        TransientError: the table could not be read this time.
        ValueError: `columns` has a name that is not a column of such tables.
    """
    root = files[0].parent
    inside = (lambda path: True) if allow_outside else containment_check(root)
    if files[0].suffix.lower() in PARQUET:
        return _of_stream(unlabelled_pairs(files, columns, root, inside))
    if files[0].suffix.lower() == TAR:
        return _of_stream(archive_pairs(files, columns))
    rows, _, _ = read_rows(files[0], root, columns, allow_outside)
    return _of_rows(files[0].name, root, rows)


def _of_rows(name: str, root: Path, rows: Sequence[Entry | Rejected]) -> Iterator[RawPair]:
    scanned = scan(DataSet(name, root, [row for row in rows if isinstance(row, Entry)], rejected=[]))
    refused = {one.id: one for one in [*scanned.rejected, *scanned.unread]}
    samples = iter(scanned.samples)

    def pairs() -> Iterator[RawPair]:
        for row in rows:
            bad = row if isinstance(row, Rejected) else refused.get(row.id)
            if bad is not None:
                yield RawPair(row.id, problem=bad.reason)
            else:
                sample = next(samples)
                yield RawPair(row.id, sample.place, sample.text)

    return pairs()


def _of_stream(pairs: Iterator[Found]) -> Iterator[RawPair]:
    seen: set[str] = set()
    for found in pairs:
        try:
            sample = look(found)
        except (BadFile, TransientError) as error:
            reason = error.reason if isinstance(error, BadFile) else error.what
            yield RawPair(found.id, problem=f"{found.where}: {reason}")
            continue
        if sample.id in seen:
            yield RawPair(found.where, problem=f"{found.where}: id {sample.id} is at an earlier place too")
            continue
        seen.add(sample.id)
        yield RawPair(sample.id, sample.place if found.data is None else found.data, sample.text)
