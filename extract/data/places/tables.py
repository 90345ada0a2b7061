"""Tables in Parquet and Arrow (as the library `datasets` saves them): their columns, and the bytes in their cells.

The files are not trusted: sizes are checked before they are allocated, offsets before they are followed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ....errors import DataError
from ..reading import BadFile
from .opening import open_file, status
from .remote import is_remote
from .shared import Shared

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
            if isinstance(error, BadFile):
                raise
            raise BadFile(f"is no sound {path.suffix[1:].capitalize()} file: {_line(error)}") from error
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
        """
        try:
            self._file.check(group, columns)
            for batch in self._file.batches(group, columns, rows):
                batch.validate(full=True)
                yield batch
        except _FAULTS as error:
            if isinstance(error, BadFile):
                raise
            first, count = self.groups[group]
            raise BadFile(f"is damaged within rows {first}-{first + count - 1}: {_line(error)}") from error

    def cells_at_once(self, group: int, column: str) -> int:
        """Return how many cells of a column may be read together, from what the file declares of their sizes."""
        return int(max(1, min(CELLS, BATCH_BYTES // max(1, self._file.largest(group, column)))))

    @cached_property
    def cells(self) -> dict[str, Cells]:
        """What is remembered of each column with images."""
        return {}

    def cell(self, row: int, column: str) -> bytes:
        """Return the bytes in a cell, best in the order of the rows; raise BadFile where there are none."""
        if column not in self.cells:
            self.cells[column] = Cells(self, column)
        return self.cells[column].read(row)


class Cells:
    """The cells of one column: those read last are remembered, and a group is read from front to back."""

    def __init__(self, table: TableFile, column: str) -> None:
        self._table, self._column = table, column
        self._read: deque[tuple[int, int, int, Any]] = deque()
        """First row, the row after the last, bytes and values of the batches read last."""
        self._held = 0
        """Bytes in these batches."""
        self._ahead: Iterator[pa.RecordBatch] | None = None
        """The rest of a group; None where nothing is being read, or the rest is damaged."""
        self._group, self._next = -1, 0

    def read(self, row: int) -> bytes:
        """Return the bytes in the cell of a row."""
        for first, end, _, values in self._read:
            if first <= row < end:
                return _bytes(values[row - first])
        group = self._table.group_of(row)
        if self._ahead is not None and group == self._group + 1 and self._rest <= CELLS:
            self._forward(self._next + self._rest)  # the last rows of the group before may still be asked for
        if self._ahead is None or group != self._group or row < self._next:
            if group <= self._group:
                self._read.clear()
                self._held = 0
            self._group, self._next = group, self._table.groups[group].first
            self._ahead = self._table.batches(group, [self._column], self._table.cells_at_once(group, self._column))
        self._forward(row + 1)
        first, _, _, values = self._read[-1]
        return _bytes(values[row - first])

    @property
    def _rest(self) -> int:
        """The number of rows of the group that have not been read."""
        return sum(self._table.groups[self._group]) - self._next

    def _forward(self, end: int) -> None:
        """Read on until the row before `end` is remembered."""
        ahead = self._ahead or iter(())
        try:
            while self._next < end:
                batch = next(ahead)
                first, self._next = self._next, self._next + len(batch)
                self._read.append((first, self._next, batch.nbytes, _values(batch, self._column)))
                self._held += batch.nbytes
                while len(self._read) > 1 and (
                    self._held > BATCH_BYTES // 4 or self._next - self._read[0][0] > 2 * CELLS
                ):
                    self._held -= self._read.popleft()[2]
        except StopIteration:
            raise BadFile(f"is not in {self._table.path.name}: its row group ends before") from None
        except BadFile:
            self._ahead = None
            raise


def read_cell(path: Path, row: int, column: str) -> bytes:
    """Return the bytes in a cell of a table; raise BadFile where there are none."""
    with _open_tables(path) as table:
        return table.cell(row, column)


def _values(batch: pa.RecordBatch, column: str) -> Any:
    top, *below = column.split(".")
    found = batch.column(batch.schema.get_field_index(top))
    for name in below:
        found = found.field(name) if found.null_count == 0 else found.flatten()[found.type.get_field_index(name)]
    return found


def _bytes(value: Any) -> bytes:
    buffer = value.as_buffer() if value.is_valid else None
    if buffer is None:
        raise BadFile("is empty")
    return bytes(memoryview(buffer))


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(open_file(path), pre_buffer=False, buffer_size=2**20)
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


_open_tables = Shared(TableFile, 4)


def _pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path} needs pyarrow, which is not installed",
            expected="the extra parquet",
            next_step="pip install 'itin[parquet]'",
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
