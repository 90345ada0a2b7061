"""Tables in Parquet and Arrow (as the library `datasets` saves them): their columns, and the bytes in their cells.

The files are not trusted: sizes are checked before they are allocated, offsets before they are followed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ....errors import DataError, TransientError
from ..reading import BadFile, retrying
from .opening import open_file, status
from .remote import is_remote

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, ARROW = (".parquet",), (".arrow",)

ROWS = 1024
"""Rows of columns without images that are read together."""

CELLS = 64
"""Cells with images that are read together, at most."""

BATCH_BYTES = 2**30
"""Bytes of cells that are in memory at a time, at most, whatever a file declares."""

MAX_RATIO, MAX_CHUNK = 100, 64 * 2**20
"""A piece of a column is refused where it is declared to be larger than `MAX_CHUNK` bytes once decompressed, and to be
`MAX_RATIO` times as large as in the file: photographs hardly compress."""

_FAULTS = (OSError, ValueError, KeyError, IndexError, NotImplementedError, MemoryError)
"""What pyarrow raises for damaged files (its own errors are subclasses)."""


class Group(NamedTuple):
    """Rows that are stored together: a row group, or a record batch."""

    first: int
    """Number of its first row in the file."""
    rows: int


class TableFile:
    """An open table; use it from one thread at a time.

    Args:
        path: a `.parquet` or `.arrow` file.

    Raises:
        BadFile: it is missing or damaged.
        DataError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _pyarrow(path)
        try:
            self._file: Any = _Parquet(path) if path.suffix in PARQUET else _Arrow(path)
        except _FAULTS as error:
            raise _told(error, path, f"is no sound {path.suffix[1:].capitalize()} file") from error
        self.schema: pa.Schema = self._file.schema
        self.groups: list[Group] = []
        for rows in self._file.counts:
            self.groups.append(Group(len(self), rows))

    def __len__(self) -> int:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def group_of(self, row: int) -> int:
        """Return the number of the group that a row belongs to."""
        if not 0 <= row < len(self):
            raise BadFile(f"is not in {self.path.name}, which has {len(self)} rows")
        return bisect_right(self.groups, row, key=lambda group: group.first) - 1

    def batches(self, group: int, columns: Sequence[str], rows: int = ROWS) -> Iterator[pa.RecordBatch]:
        """Yield a group's rows in order, some at a time.

        Args:
            group: its number.
            columns: the names of the columns; `a.b` for the field b of a struct a.
            rows: at most so many rows at a time.

        Raises:
            BadFile: the group is damaged, or declares sizes that are refused.
            TransientError: it could not be read this time.
        """
        try:
            self._file.check(group, columns)
            for batch in self._file.batches(group, columns, rows):
                batch.validate(full=True)
                yield batch
        except _FAULTS as error:
            first, count = self.groups[group]
            raise _told(error, self.path, f"is damaged within rows {first}-{first + count - 1}") from error

    def cells_at_once(self, group: int, column: str) -> int:
        """Return how many cells of a column may be read together, from what the file declares of their sizes."""
        return int(max(1, min(CELLS, BATCH_BYTES // max(1, self._file.largest(group, column)))))


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(_source(path), pre_buffer=False, buffer_size=2**20)
        self._groups = [self._file.metadata.row_group(n) for n in range(self._file.metadata.num_row_groups)]
        self.schema = self._file.schema_arrow
        self.counts = [group.num_rows for group in self._groups]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        found: Iterator[pa.RecordBatch] = self._file.iter_batches(rows, [group], list(columns), use_threads=False)
        return found

    def check(self, group: int, columns: Sequence[str]) -> None:
        for chunk in self._chunks(group, columns):
            size, packed = chunk.total_uncompressed_size, chunk.total_compressed_size
            if size > MAX_CHUNK and size > MAX_RATIO * max(packed, 1):
                raise BadFile(f"is refused: {packed} bytes of {chunk.path_in_schema} are declared to hold {size}")

    def largest(self, group: int, column: str) -> int:
        """Bound the size of a cell: values in a dictionary may stand in many cells, others are at most in one."""
        bound = 0
        for chunk in self._chunks(group, [column]):
            kept = chunk.data_page_offset - chunk.dictionary_page_offset if chunk.dictionary_page_offset else 0
            ratio = chunk.total_uncompressed_size / max(chunk.total_compressed_size, 1)
            bound = max(bound, int(kept * max(ratio, 1)), 2 * chunk.total_uncompressed_size // max(chunk.num_values, 1))
        return bound

    def _chunks(self, group: int, columns: Sequence[str]) -> Iterator[Any]:
        for number in range(self._groups[group].num_columns):
            chunk = self._groups[group].column(number)
            if any(f"{chunk.path_in_schema}.".startswith(f"{column}.") for column in columns):
                yield chunk


class _Arrow:
    """A file of record batches, mapped into memory: what is not read takes none."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        if is_remote(path):
            raise BadFile("is an Arrow file behind a protocol: use Parquet there")
        status(path)
        source = pa.memory_map(str(path))
        try:
            reader = pa.ipc.open_stream(source)
            self._batches = list(reader)
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_file(source)
            self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.schema = reader.schema
        self.counts = [batch.num_rows for batch in self._batches]

    def batches(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        names = list(dict.fromkeys(column.split(".")[0] for column in columns))
        batch = self._batches[group].select(names)
        return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))

    def check(self, group: int, columns: Sequence[str]) -> None:
        """Do nothing: the sizes are those of the mapped file."""

    def largest(self, group: int, column: str) -> int:
        return 0


def _source(path: Path) -> Any:
    """Open a file for pyarrow, a local one by pyarrow's own reader: each read of a file of Python's is a copy more."""
    if is_remote(path):
        return open_file(path)
    import pyarrow as pa

    status(path)
    return retrying(lambda: pa.OSFile(str(path)), path)


def _pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path} needs pyarrow, which is not installed",
            expected="the extra parquet",
            next_step="pip install 'itin[parquet]'",
        ) from error


def _told(error: Exception, path: Path, damage: str) -> Exception:
    """Return what a fault says of a file: that it is damaged, unless the disk failed."""
    if isinstance(error, BadFile):
        return error
    if isinstance(error, OSError) and error.errno is not None:  # of a system call; pyarrow's own have no number
        return TransientError(
            f"{path} could not be read: {error.strerror}", next_step="check the disk, and run the command again"
        )
    return BadFile(f"{damage}: {_line(error)}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
