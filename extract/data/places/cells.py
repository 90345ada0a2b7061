"""The bytes in the cells of tables: images, read nearly in order by many threads."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import TransientError
from ..reading import BadFile
from .shared import Shared
from .tables import BATCH_BYTES, CELLS, TableFile

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS = 8
"""Groups whose cells are being read at a time, at most."""


class Cells:
    """The cells of an open table; use it from one thread at a time. Each group is read from front to back, once.

    Threads ask for rows nearly in order, so around the end of a group they ask for rows of two or more in turns: a few
    groups are being read at a time, and of each the rows that were read last are remembered.

    Args:
        table: the table.
        remembered: how many rows of a group that is being read; 0 where rows are asked for in order.
    """

    def __init__(self, table: TableFile, remembered: int = 2 * CELLS) -> None:
        self._table, self._remembered = table, remembered
        self._cursors: OrderedDict[tuple[int, str], _Cursor] = OrderedDict()
        """Those of the groups and columns that were used last; the last one used is the last."""
        self._near: tuple[str, int, Any] = ("", 0, ())
        """The column, the first row and the values of the batch that was used last."""

    def read(self, row: int, column: str) -> bytes:
        """Return the bytes in a cell.

        Args:
            row: its number in the file.
            column: the name of its column, see `TableFile.batches`.

        Raises:
            BadFile: there are none, or the group is damaged.
            TransientError: it could not be read this time.
        """
        near, first, values = self._near
        if near == column and first <= row < first + len(values):  # as nearly all rows are
            return _bytes(values[row - first])
        key = (self._table.group_of(row), column)
        cursor = self._cursors.get(key)
        if cursor is None or row < cursor.first:
            cursor = self._cursors[key] = _Cursor(self._table, *key, self._remembered)
        self._cursors.move_to_end(key)
        try:
            first, values = cursor.batch_of(row)
            self._near = (column, first, values)
            return _bytes(values[row - first])
        except TransientError:
            del self._cursors[key]  # read again from its beginning
            raise
        finally:
            while len(self._cursors) > 1 and (
                len(self._cursors) > GROUPS or sum(one.held for one in self._cursors.values()) > BATCH_BYTES // 4
            ):
                self._cursors.popitem(last=False)


class _Cursor:
    """A place in a group up to which the cells of a column have been read."""

    def __init__(self, table: TableFile, group: int, column: str, remembered: int) -> None:
        self._column, self._remembered = column, remembered
        self._batches: Iterator[pa.RecordBatch] = table.batches(group, [column], table.cells_at_once(group, column))
        self._read: deque[tuple[int, int, Any]] = deque()
        """First row, bytes and values of the batches read last."""
        self._next = self.first = table.groups[group].first
        """The first row that has not been read, and the first that is remembered or to come."""
        self.held = 0
        """Bytes of the batches that are remembered."""
        self._fault = BadFile(f"is not in {table.path.name}: its row group ends before")
        """The reason why there are no rows after the last."""

    def batch_of(self, row: int) -> tuple[int, Any]:
        """Return the first row and the values of the batch with a row from `first` on.

        Raises:
            BadFile: the group is damaged or ends before.
        """
        while self._next <= row:
            batch = self._batch()
            self._read.append((self._next, batch.nbytes, values_of(batch, self._column)))
            self._next += len(batch)
            self.held += batch.nbytes
            while len(self._read) > 1 and (
                self.held > BATCH_BYTES // 4 or self._next - self._read[0][0] > self._remembered
            ):
                self.held -= self._read.popleft()[1]
            self.first = self._read[0][0]
        first, _, values = next(one for one in reversed(self._read) if one[0] <= row)
        return first, values

    def _batch(self) -> pa.RecordBatch:
        try:
            return next(self._batches)
        except StopIteration:
            raise self._fault from None
        except BadFile as error:
            self._fault = error
            raise


def read_cell(path: Path, row: int, column: str) -> bytes:
    """Return the bytes in a cell of a table; raise as `Cells.read` does."""
    with _open_tables(path) as cells:
        return cells.read(row, column)


def values_of(batch: pa.RecordBatch, column: str) -> pa.Array:
    """Return the values of a column; `a.b` is the field b of a struct a."""
    top, *below = column.split(".")
    found = batch.column(batch.schema.get_field_index(top))
    for name in below:
        found = found.field(name) if found.null_count == 0 else found.flatten()[found.type.get_field_index(name)]
    return found


def _bytes(value: Any) -> bytes:
    data: bytes | None = value.as_py()
    if data is None:
        raise BadFile("is empty")
    return data


_open_tables = Shared(lambda path: Cells(TableFile(path)), 4)
