"""Reading a store: from sample ids to rows, and from rows to arrays."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CacheError
from .format.manifest import ShardEntry, in_threads, listed_shards, read_manifest, shard_sizes
from .format.plan import RowIndex, segment_path
from .format.schema import KINDS, fingerprint_of
from .format.sealed_json import check_stamp, from_json, read_bytes, repair, seal_of
from .format.shard_read import Shard, Wanted, open_shard, unpack

OPENED = 512
"""Headers of shards that a store keeps at hand."""

THREADS_FROM = 4 << 20
"""Bytes a shard from which on it pays to read several at a time."""

AT_ONCE = 256
"""Rows that are held in memory at a time where all of a store are gone through."""

Arrays = dict[str, np.ndarray]


class Store:
    """The features of one kind, made by one encoder. Opening it reads the manifest; shards are read when asked for.

    Raises:
        CacheError: no manifest, a shard that is missing or of another size than the manifest says, or a file that is
            damaged or of another format or fingerprint.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        self.identity: dict[str, Any] = self.manifest["identity"]
        self.kind: str = self.identity["kind"]
        self.fingerprint: str = self.manifest["fingerprint"]
        if fingerprint_of(self.identity) != self.fingerprint:
            raise CacheError(
                f"{self.path / 'manifest.json'} contradicts itself: its fingerprint is not that of its identity",
                next_step="move the store away and run `itin extract` again",
            )
        self._entries: list[ShardEntry] = list(listed_shards(self.manifest).values())
        there = shard_sizes(self.path)
        for entry in self._entries:
            if there.get(entry.file) != entry.bytes:
                raise self._differs(entry, there.get(entry.file))
        self._starts = np.cumsum([0, *(entry.count for entry in self._entries)], dtype=np.int64)
        self._opened: dict[int, Shard] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} x {self.kind} by {self.name})"

    @property
    def name(self) -> str:
        """The encoder's name."""
        return str(self.identity["name"])

    @property
    def untrained(self) -> bool:
        """True when the encoder's weights are random."""
        return "random_init" in self.identity["weights"]

    @property
    def options(self) -> dict[str, Any] | None:
        """The options that the encoder was made with, or None where the features were not made by an encoder here."""
        options: dict[str, Any] | None = self.manifest["provenance"].get("options")
        return options

    @property
    def tokenizer_file(self) -> Path | None:
        """The tokenizer that was built from the data set's texts for this store, if one was."""
        built = self.manifest["provenance"].get("built_tokenizer")
        return self.path.parent / "tokenizer.json" if built else None

    @property
    def feature_dim(self) -> int:
        """The length of one feature vector."""
        return int(self.identity["dims"]["feature"])

    @cached_property
    def ids(self) -> list[str]:
        """The sample of each row."""
        return self._of_rows("ids")

    @cached_property
    def sha256(self) -> list[str]:
        """The digest of the input that each row was made from."""
        return self._of_rows("sha256")

    @cached_property
    def quarantined(self) -> set[tuple[str, str]]:
        """Sample and digest of each input that could not be encoded."""
        rows = [entry["row"] for entry in self.manifest["quarantined"]]
        return {(self._plan["ids"][row], self._plan["sha256"][row]) for row in rows}

    def index(self, ids: Sequence[str], sha256: Sequence[str] | None = None) -> np.ndarray:
        """Row numbers (len(ids),) int64 of samples, -1 where the store has none.

        Args:
            ids: sample ids.
            sha256: digests of the samples' inputs; with them only features of just this input are found, without them
                the newest of an id.
        """
        return np.array(self._index.find(ids, sha256, self.sha256), dtype=np.int64)

    def read(self, name: str, rows: np.ndarray, first: int | None = None) -> np.ndarray:
        """Rows of an array that has one entry a sample, in the order asked for.

        Args:
            name: `regions`, `boxes`, `counts`, `context` and so on; for tokens use `read_ragged`.
            rows: row numbers (N,).
            first: only the first so many regions of each row.

        Returns:
            (N, ...) or (N, first, ...), in the stored dtype; regions are not contiguous in memory.
        """
        rows = np.asarray(rows, dtype=np.int64)
        dtype, shape = self._array(name)
        if first is not None:
            first = min(first, shape[0])
            shape = (first, *shape[1:])
        out: np.ndarray
        if name == "regions":  # in memory as in the file, region after region: nothing is copied twice
            out = np.empty((shape[0], len(rows), *shape[1:]), dtype).transpose(1, 0, 2)
        else:
            out = np.empty((len(rows), *shape), dtype)
        self._each(rows, lambda shard, file, wanted: shard.read(file, name, wanted, out, first), out.nbytes)
        return out

    def read_ragged(self, rows: np.ndarray) -> Arrays:
        """Tokens of the given rows, packed in their order.

        Returns:
            `tokens (sum of n, D)`, `token_ids` and `word_ids (sum of n,)`, and `offsets (len(rows) + 1,)` int64.
        """
        rows = np.asarray(rows, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(self.lengths(rows))]).astype(np.int64)
        out = {}
        for schema in KINDS["tokens"]:
            dtype, shape = self._array(schema.name)
            out[schema.name] = np.empty((int(offsets[-1]), *shape), dtype)
        amount = sum(array.nbytes for array in out.values())
        self._each(rows, lambda shard, file, wanted: shard.read_spans(file, wanted, out, offsets), amount)
        return {**out, "offsets": offsets}

    def packed(self, rows: np.ndarray, first: int | None = None) -> Arrays:
        """All arrays of the given rows as a shard holds them, but for ids and digests.

        Args:
            rows: row numbers (N,).
            first: of regions, only the first so many of each row.
        """
        if self.kind == "tokens":
            return self.read_ragged(rows)
        arrays = {schema.name: self.read(schema.name, rows, first) for schema in KINDS[self.kind]}
        if self.kind == "regions":
            counts = self.read("counts", rows)
            arrays["counts"] = counts if first is None else np.minimum(counts, np.int32(first))
        return arrays

    def samples(self, rows: np.ndarray) -> Iterator[Arrays]:
        """Yield the arrays of each row as the encoder returned them, without padding; some are read ahead.

        Args:
            rows: row numbers (N,), in the order wanted.
        """
        for begin in range(0, len(rows), AT_ONCE):
            yield from unpack(self.kind, self.packed(rows[begin : begin + AT_ONCE]))

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """How many tokens the given rows have, (N,) int64."""
        lengths = np.zeros(len(rows), dtype=np.int64)

        def look(shard: Shard, file: FileIO, wanted: Wanted) -> None:
            lengths[wanted.target] = np.diff(shard.offsets)[wanted.local]

        self._each(rows, look)
        return lengths

    @property
    def stamp(self) -> dict[str, Any]:
        """What a file made from this store says about itself: format, kind, fingerprint, identity as JSON."""
        identity = json.dumps(self.identity, ensure_ascii=False)
        return {
            "format": self.manifest["format"],
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "identity": identity,
        }

    @cached_property
    def _index(self) -> RowIndex:
        index = RowIndex()
        index.add(self.ids, self.sha256, 0)
        return index

    def _of_rows(self, column: str) -> list[str]:
        """One column of the plan, for the rows of the store."""
        everything = self._plan[column]
        numbers = [entry.numbers() for entry in self._entries]
        return [everything[row] for row in np.concatenate(numbers).tolist()] if numbers else []

    @cached_property
    def _plan(self) -> dict[str, list[str]]:
        """The ids and digests of the plan that the manifest speaks of."""
        columns: dict[str, list[str]] = {"ids": [], "sha256": []}
        for number, listed in enumerate(self.manifest["plan"]):
            path = segment_path(self.path, number)
            data = read_bytes(path)
            segment = from_json(path, data)
            check_stamp(path, segment["format"], segment["fingerprint"], self.fingerprint)
            if seal_of(data) != listed["checksum"]:
                raise CacheError(f"{path} is not the plan that the manifest speaks of", next_step=repair(self.path))
            for name, column in columns.items():
                column += segment[name]
        return columns

    def _array(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Dtype and shape of one entry of an array."""
        if not self._entries:
            raise CacheError(f"{self.path} is empty", next_step="run the same `itin extract` again")
        arrays = self._shard(0).header.arrays
        if name not in arrays:
            raise ValueError(f"{self.path.name} has no array {name!r}, only {', '.join(arrays)}")
        return np.dtype(arrays[name].dtype), arrays[name].shape[1:]

    def _each(self, rows: np.ndarray, work: Callable[[Shard, FileIO, Wanted], None], amount: int = 0) -> None:
        """Does something for each shard that holds some of the rows; `amount` is how many bytes that copies in all."""
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"row numbers must lie in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}")
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        order = None if (np.diff(owners) >= 0).all() else np.argsort(owners, kind="stable")
        owners = owners if order is None else owners[order]
        begins = np.flatnonzero(np.diff(owners, prepend=-1))

        def one(span: tuple[int, int]) -> None:
            begin, end = span
            owner = int(owners[begin])
            target = slice(begin, end) if order is None else order[begin:end]
            wanted = Wanted(rows[target] - self._starts[owner], target)
            with open_shard(self.path / self._entries[owner].file) as file:
                work(self._shard(owner, file), file, wanted)

        spans = zip(begins.tolist(), np.append(begins, len(rows))[1:].tolist(), strict=True)
        if len(begins) < 2 or amount / len(begins) < THREADS_FROM:
            for span in spans:
                one(span)
        else:
            deque(in_threads(one, spans), maxlen=0)

    def _shard(self, number: int, file: FileIO | None = None) -> Shard:
        shard = self._opened.get(number)
        if shard is None:
            if len(self._opened) >= OPENED:
                self._opened = {}
            entry = self._entries[number]
            shard = Shard(self.path / entry.file, self.fingerprint, entry.checksum, file)
            self._opened[number] = shard
        return shard

    def _differs(self, entry: ShardEntry, size: int | None) -> CacheError:
        return CacheError(
            f"{self.path / entry.file} is not what the manifest says",
            expected=f"{entry.bytes} bytes",
            found="no such file" if size is None else f"{size} bytes",
            next_step=(
                "run the same `itin extract` again: it makes just this shard" if size is None else repair(self.path)
            ),
        )


def open_store(path: str | Path) -> Store:
    """Opens one store, `CACHE/<data set>/<kind>-<encoder>-<fingerprint>`, for reading."""
    return Store(Path(path))


def find_stores(folder: Path, kind: str = "*") -> list[Path]:
    """The stores of one kind, or of all, in a data set's folder, sorted by name."""
    return sorted(path.parent for path in folder.glob(f"{kind}-*/plan.json"))
