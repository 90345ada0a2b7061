"""A store in pieces of few rows: packed, or sample by sample; what exports of every form are written from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import CacheError
from ..format.schema import KINDS
from ..store import ROWS_AT_ONCE, Arrays, Store
from ..table import read_table

Shapes = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]


@dataclass(frozen=True)
class Export:
    """What is exported."""

    store: Store
    first: int | None = None
    """The number of regions to keep of each image; all by default."""
    advance: Callable[[int], None] = lambda count: None
    """Called with the number of further rows written."""

    @property
    def shapes(self) -> Shapes:
        """The dtype and the full shape of each packed array by name, without the strings."""
        store = self.store
        sizes = {
            name: (array.dtype, (len(store), *array.shape[1:]))
            for name, array in store.packed(np.zeros(0, np.int64), self.first).items()
        }
        if store.kind == "tokens":
            total = int(store.lengths(np.arange(len(store))).sum())
            for schema in KINDS["tokens"]:
                dtype, shape = sizes[schema.name]
                sizes[schema.name] = (dtype, (total, *shape[1:]))
            sizes["offsets"] = (np.dtype("<i8"), (len(store) + 1,))
        return sizes

    def parts(self) -> Iterator[tuple[slice, Arrays]]:
        """Yield the packed arrays, `ROWS_AT_ONCE` rows at a time, with offsets from 0 on."""
        for begin in range(0, len(self.store), ROWS_AT_ONCE):
            part = slice(begin, min(begin + ROWS_AT_ONCE, len(self.store)))
            yield part, self.store.packed(np.arange(part.start, part.stop), self.first)

    def pieces(self, names: tuple[str, ...]) -> Iterator[tuple[int, Arrays]]:
        """Yield the named arrays piece by piece along their first axis, `offsets` relative to the whole store."""
        before = 0
        for part, arrays in self.parts():
            if "offsets" in arrays:
                offsets = arrays["offsets"] + before
                before = int(offsets[-1])
                arrays["offsets"] = offsets[:-1] if part.stop < len(self.store) else offsets
            yield part.stop - part.start, {name: arrays[name] for name in names}

    def samples(self) -> Iterator[tuple[str, str, Arrays]]:
        """Yield the id, the digest of the input and the arrays of each row, without padding."""
        store = self.store
        for row, arrays in enumerate(store.samples(np.arange(len(store)))):
            if store.kind == "regions" and self.first is not None:
                arrays = {name: array[: self.first] for name, array in arrays.items()}
            yield store.ids[row], store.sha256[row], arrays
            self.advance(1)

    def table(self) -> dict[str, dict[Hashable, Any]]:
        """Return the rows of the data set's table by id; raise CacheError where it has not all of the samples."""
        rows = {str(row["id"]): row for row in read_table(self.store.path.parent).samples.to_dict("records")}
        if lost := [id for id in self.store.ids if id not in rows]:
            raise CacheError(
                f"the data set's table beside {self.store.path} does not name all of its samples",
                expected="a row for each: labels and images are taken from there",
                found=f"{len(lost)} without one, such as {lost[0]}",
                next_step="run the same `itin extract` again, or export to .h5, .npz or .parquet, which have no labels",
            )
        return rows


def file_name(id: str) -> str:
    """Return a sample's id as the name of its file; raise CacheError where it cannot be one."""
    if "/" in id or "\0" in id or id in ("", ".", "..") or len(id.encode()) > 240:
        raise CacheError(
            f"the id {id!r} cannot be the name of a file",
            next_step="export to one file: .h5, .npz or .parquet",
        )
    return id
