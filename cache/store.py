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
from .format.manifest import NAME, ShardEntry, in_threads, listed_shards, read_manifest, shard_sizes
from .format.plan import RowIndex, segment_path
from .format.schema import KINDS, fingerprint_of
from .format.sealed_json import check_stamp, described, from_json, read_bytes, repair_advice, seal_of
from .format.shard_read import ReadRequest, Shard, open_shard, unpack

MAX_OPEN_SHARDS = 512
"""The number of shard headers that a store keeps in memory."""

MIN_THREADED_BYTES = 4 << 20
"""The number of bytes per shard from which reading several shards at a time is faster."""

ROWS_AT_ONCE = 256
"""The number of rows in memory at a time while all rows of a store are read."""

Arrays = dict[str, np.ndarray]


class Store:
    """The features of one kind, made by one encoder. Opening it reads the manifest; shards are read on demand.

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
        sizes = shard_sizes(self.path)
        for entry in self._entries:
            if sizes.get(entry.file) != entry.bytes:
                raise self._mismatch(entry, sizes.get(entry.file))
        self._starts = np.cumsum([0, *(entry.count for entry in self._entries)], dtype=np.int64)
        self._opened: dict[int, Shard] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} x {self.kind} by {self.name})"

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)  # another process opens it again

    @property
    def name(self) -> str:
        """The encoder's name."""
        return str(self.identity["name"])

    @property
    def untrained(self) -> bool:
        """Whether the encoder's weights are random."""
        return "random_init" in self.identity["weights"]

    @property
    def options(self) -> dict[str, Any] | None:
        """The options that the encoder was made with, or None where the features were not made by an encoder here."""
        options: dict[str, Any] | None = self.manifest["provenance"].get("options")
        return options

    @property
    def names(self) -> dict[str, list[str]]:
        """The names of the encoder's `objects` and `attributes` by id, those that it has."""
        names: dict[str, list[str]] = self.manifest["provenance"].get("names", {})
        return names

    @property
    def sentence_ends(self) -> list[int]:
        """The ids of the encoder's tokens that end a sentence (`.`, `!`, `?`); none where they were not recorded."""
        ends: list[int] = self.manifest["provenance"].get("sentence_ends", [])
        return ends

    @property
    def tokenizer_file(self) -> Path | None:
        """The tokenizer that was built from the data set's texts for this store, if one was."""
        built = self.manifest["provenance"].get("built_tokenizer")
        return self.path.parent / "tokenizer.json" if built else None

    @property
    def feature_dim(self) -> int:
        """The length of one feature vector."""
        return int(self.identity["dims"]["feature"])

    @property
    def lacks(self) -> tuple[str, ...]:
        """The arrays that imported features came without, for some samples at least: filled in, and of no use."""
        return tuple(self.identity["preprocessing"].get("lacks", ()))

    @property
    def starts(self) -> np.ndarray:
        """The row at which each shard begins, and the number of rows, (shards + 1,) int64."""
        return self._starts

    def shard(self, number: int) -> Shard:
        """Return a shard for reading; its header is kept."""
        return self._shard(number)

    @cached_property
    def ids(self) -> list[str]:
        """The sample id of each row."""
        return self._column("ids")

    @cached_property
    def sha256(self) -> list[str]:
        """The digest of the input that each row was made from."""
        return self._column("sha256")

    @cached_property
    def quarantined(self) -> set[tuple[str, str]]:
        """The sample id and digest of each input that could not be encoded."""
        rows = [entry["row"] for entry in self.manifest["quarantined"]]
        with described(self.path / NAME):
            return {(self._plan["ids"][row], self._plan["sha256"][row]) for row in rows}

    def index(self, ids: Sequence[str], sha256: Sequence[str] | None = None) -> np.ndarray:
        """Return row numbers (len(ids),) int64 of samples, -1 where the store has none.

        Args:
            ids: sample ids.
            sha256: digests of the samples' inputs; with them only features of this very input are found, without them
                the newest of an id.
        """
        return np.array(self._index.find(ids, sha256, self.sha256), dtype=np.int64)

    def read(self, name: str, rows: np.ndarray, first: int | None = None) -> np.ndarray:
        """Return rows of an array that has one entry per sample, in the given order.

        Args:
            name: `regions`, `boxes`, `counts`, `context` and so on; for tokens use `read_ragged`.
            rows: row numbers (N,).
            first: the number of regions to keep of each row; all by default.

        Returns:
            (N, ...) or (N, first, ...), in the stored dtype; regions are not contiguous in memory.
        """
        rows = np.asarray(rows, dtype=np.int64)
        dtype, shape = self._array(name)
        if first is not None:
            first = min(first, shape[0])
            shape = (first, *shape[1:])
        out: np.ndarray
        if name == "regions":  # laid out as in the file, region after region: nothing is copied twice
            out = np.empty((shape[0], len(rows), *shape[1:]), dtype).transpose(1, 0, 2)
        else:
            out = np.empty((len(rows), *shape), dtype)
        self._for_shards(rows, lambda shard, file, request: shard.read(file, name, request, out, first), out.nbytes)
        return out

    def read_ragged(self, rows: np.ndarray) -> Arrays:
        """Return the tokens of the given rows, packed in their order.

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
        self._for_shards(rows, lambda shard, file, request: shard.read_spans(file, request, out, offsets), amount)
        return {**out, "offsets": offsets}

    def packed(self, rows: np.ndarray, first: int | None = None) -> Arrays:
        """Return all arrays of the given rows as a shard holds them, without ids and digests.

        Args:
            rows: row numbers (N,).
            first: the number of regions to keep of each row; all by default.
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
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            yield from unpack(self.kind, self.packed(rows[begin : begin + ROWS_AT_ONCE]))

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return how many tokens each of the given rows has, (N,) int64."""
        lengths = np.zeros(len(rows), dtype=np.int64)

        def count(shard: Shard, file: FileIO, request: ReadRequest) -> None:
            lengths[request.target] = np.diff(shard.offsets)[request.local]

        self._for_shards(rows, count)
        return lengths

    @property
    def stamp(self) -> dict[str, Any]:
        """The provenance for files made from this store: format, kind, fingerprint, identity as JSON."""
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

    def _column(self, column: str) -> list[str]:
        """Return a column of the plan, for the rows of the store."""
        planned = self._plan[column]
        numbers = [entry.numbers() for entry in self._entries]
        with described(self.path / NAME):
            return [planned[row] for row in np.concatenate(numbers).tolist()] if numbers else []

    @cached_property
    def _plan(self) -> dict[str, list[str]]:
        """The ids and digests of the plan that the manifest refers to."""
        columns: dict[str, list[str]] = {"ids": [], "sha256": []}
        for number, listed in enumerate(self.manifest["plan"]):
            path = segment_path(self.path, number)
            data = read_bytes(path)
            segment = from_json(path, data)
            check_stamp(path, segment["format"], segment.get("fingerprint"), self.fingerprint)
            if seal_of(data) != listed["checksum"]:
                raise CacheError(
                    f"{path} is not the plan that the manifest refers to", next_step=repair_advice(self.path)
                )
            with described(path):
                for name, column in columns.items():
                    column += segment[name]
        return columns

    def _array(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return the dtype and the shape of one entry of an array."""
        if not self._entries:
            raise CacheError(f"{self.path} is empty", next_step="run the same `itin extract` again")
        arrays = self._shard(0).header.arrays
        if name not in arrays:
            raise ValueError(f"{self.path.name} has no array {name!r}, only {', '.join(arrays)}")
        return np.dtype(arrays[name].dtype), arrays[name].shape[1:]

    def _for_shards(
        self, rows: np.ndarray, work: Callable[[Shard, FileIO, ReadRequest], None], amount: int = 0
    ) -> None:
        """Call `work` for each shard that holds some of the rows; `amount` is the total number of bytes it copies."""
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
            request = ReadRequest(rows[target] - self._starts[owner], target)
            with open_shard(self.path / self._entries[owner].file) as file:
                work(self._shard(owner, file), file, request)

        spans = zip(begins.tolist(), np.append(begins, len(rows))[1:].tolist(), strict=True)
        if len(begins) < 2 or amount / len(begins) < MIN_THREADED_BYTES:
            for span in spans:
                one(span)
        else:
            deque(in_threads(one, spans), maxlen=0)

    def _shard(self, number: int, file: FileIO | None = None) -> Shard:
        shard = self._opened.get(number)
        if shard is None:
            if len(self._opened) >= MAX_OPEN_SHARDS:
                self._opened = {}
            entry = self._entries[number]
            shard = Shard(self.path / entry.file, self.fingerprint, entry.checksum, file)
            self._opened[number] = shard
        return shard

    def _mismatch(self, entry: ShardEntry, size: int | None) -> CacheError:
        return CacheError(
            f"{self.path / entry.file} is not what the manifest says",
            expected=f"{entry.bytes} bytes",
            found="no such file" if size is None else f"{size} bytes",
            next_step=(
                "run the same `itin extract` again: it makes just this shard"
                if size is None
                else repair_advice(self.path)
            ),
        )


def open_store(path: str | Path) -> Store:
    """Open one store, `CACHE/<data set>/<kind>-<encoder>-<fingerprint>`, for reading."""
    return Store(Path(path))


def find_stores(folder: Path, kind: str = "*", name: str = "plan.json") -> list[Path]:
    """Return the stores of one kind, or of all kinds, in a data set's folder, sorted by name.

    Args:
        folder: the data set's folder.
        kind: the kind of feature.
        name: the file that a store has. One whose folder may not be opened is found too: opening it says so.
    """
    return sorted(path for path in folder.glob(f"{kind}-*") if _may_hold(path, name))


def _may_hold(folder: Path, name: str) -> bool:
    try:
        (folder / name).stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True
