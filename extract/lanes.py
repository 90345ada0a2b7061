"""Lanes, each an encoder with the store it fills and the rows still to be made; and the order of their samples."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from ..cache import StoreWriter
from ..cache.format.shard_write import FeatureError
from ..errors import first_line
from ..parts import Part
from .encoders.checked import NoneSoundError
from .encoders.contract import Arrays, ImageEncoder, TextEncoder
from .progress import Progress

TEXT_BATCHES = 16
"""Batches of texts that are encoded together, at most, so that the encoder can sort them by length."""

FAULTS = (RuntimeError, ValueError, ArithmeticError, NoneSoundError)
"""What an encoder may raise for the sake of one input."""


class Lane:
    """An encoder at work: batches of prepared inputs are encoded, and each block of rows is committed once complete.

    What is encoded is cast and committed by a thread, beside the encoding of the next batch, whose results wait for it:
    a kill loses at most a shard and the batch that is being encoded.

    Args:
        encoder: makes the features.
        writer: the store they go to.
        positions: the samples that are wanted, (N,) int64.
        rows: their rows in the store, (N,) int64.
        progress: receives the progress.
        part: the part whose pieces are wanted; None for all.
        whole: whether a part takes whole segments of the plan instead of blocks.
        every: the row of each sample, wanted or not, (S,) int64.
    """

    def __init__(
        self,
        encoder: ImageEncoder | TextEncoder,
        writer: StoreWriter,
        positions: np.ndarray,
        rows: np.ndarray,
        progress: Progress,
        part: Part | None = None,
        whole: bool = False,
        every: np.ndarray | None = None,
    ) -> None:
        self.encoder = encoder
        self.writer = writer
        self._at_once = encoder.batch_size
        batches = getattr(encoder, "batches_at_once", TEXT_BATCHES if encoder.spec.kind == "tokens" else 1)
        if batches > 1:  # at most a shard, so that a kill loses no more
            self._at_once = max(encoder.batch_size, min(batches * encoder.batch_size, writer.shard_size))
        self.kind: str = encoder.spec.kind
        self._whole = whole
        self._every = rows[:0] if every is None else every
        self._encoded: list[Any] = []
        """One input that the encoder has encoded here, if there is any."""
        self.inputs_of: Callable[[Iterable[int]], Iterator[Any]] = lambda positions: iter(())
        """The prepared inputs of samples, by position, of those that can be read; `fill` sets it."""
        if part is not None and len(rows):
            mine = part.of(writer.plan.pieces_of(writer.plan.blocks_of(rows), whole))
            positions, rows = positions[mine], rows[mine]
        order = np.argsort(rows, kind="stable")
        self._rows, self._positions = rows[order], positions[order]
        blocks = writer.plan.blocks_of(self._rows) if len(rows) else self._rows
        self._blocks, self._starts = np.unique(blocks, return_index=True)
        self._starts = np.append(self._starts, len(blocks))
        self._lacking = writer.left(self._rows) if len(rows) else np.zeros(0, bool)
        self.left = int(self._lacking.sum())
        """Number of wanted samples that are neither made nor given up."""
        self._place: dict[int, tuple[int, int]] = {}
        """Row -> its sample's position and its block, for the rows still to be made of the blocks in hand."""
        self._row_of: dict[int, int] = {}
        """Position -> row, for the same rows."""
        self._waiting: dict[int, set[int]] = {}
        self._finished: dict[int, dict[int, Arrays]] = {}
        """Block -> row -> its arrays as they are stored; for the thread alone while it works."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._writing: Future[None] | None = None
        self._written = 0
        """Number of samples that the thread settles at present."""
        self._batch: list[tuple[int, Any]] = []
        self._progress = progress
        self.made = 0
        self.unread: list[tuple[str, str]] = []
        progress.start(self.kind, self.wanted, self.wanted - self.left)

    @property
    def wanted(self) -> int:
        """Number of samples that are wanted here."""
        return len(self._rows)

    @property
    def missing(self) -> dict[int, np.ndarray]:
        """Block that lacks rows -> positions (n,) of all its samples that are wanted, made or not."""
        if not self.wanted:
            return {}
        lacking = np.flatnonzero(np.add.reduceat(self._lacking, self._starts[:-1], dtype=np.int64))
        return {int(self._blocks[one]): self._positions[slice(*self._starts[one : one + 2])] for one in lacking}

    def has(self, row: int) -> bool:
        """Return whether a row is wanted here."""
        at = int(np.searchsorted(self._rows, row))
        return at < len(self._rows) and int(self._rows[at]) == row

    def wants(self, position: int) -> bool:
        """Return whether a sample of the blocks in hand is still to be made."""
        return position in self._row_of

    def piece_of(self, block: int) -> int:
        """Return the number of the piece that a block is in; see `StorePlan.pieces_of`."""
        return int(self.writer.plan.pieces_of(np.array([block]), self._whole)[0])

    def begin(self, block: int) -> None:
        """Take a block in hand, without the rows that another writer has committed since this lane was made."""
        at = int(np.searchsorted(self._blocks, block))
        span = slice(*self._starts[at : at + 2])
        rows = self._rows[span][self._lacking[span]].tolist()
        for row, position in zip(rows, self._positions[span][self._lacking[span]].tolist(), strict=True):
            self._place[row], self._row_of[position] = (position, block), row
        self._waiting[block] = set(rows)
        self._settle(set(rows) & self.writer.committed(block))

    def close(self) -> None:
        """Wait until all that was encoded for complete blocks is committed, and end the thread."""
        self._thread.shutdown()
        self._wait()

    def commit_partial(self) -> None:
        """Commit the finished rows of incomplete blocks, each as a smaller shard, so that they are not made again."""
        self._wait()
        self._write({}, list(self._finished))

    def add(self, position: int, prepared: Any) -> None:
        """Take one prepared input; encode when a batch is full."""
        self._batch.append((self._row_of[position], prepared))
        if len(self._batch) >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Encode the inputs collected so far, while those before them are committed."""
        batch, self._batch = self._batch, []
        if batch:
            results = self._encode([prepared for _, prepared in batch])
            self._settle(dict(zip((row for row, _ in batch), results, strict=True)))

    def reject(self, position: int, reason: str) -> None:
        """Quarantine a sample whose input cannot be used."""
        row = self._row_of[position]
        self.writer.quarantine(row, reason)
        self._settle([row])

    def skip(self, position: int, reason: str) -> None:
        """Leave a sample for the next run: its input could not be read this time."""
        row = self._row_of[position]
        self.unread.append((self.writer.plan.rows[row][0], reason))
        self._settle([row])

    def _encode(self, prepared: list[Any]) -> Iterable[Arrays | Exception]:
        """Return one result an input; a batch that fails is encoded one by one, so that one input fails alone.

        Where all fail it is their fault only if the encoder still encodes what it has encoded before.
        """
        try:
            results: Iterable[Arrays | Exception] = self.encoder.encode(prepared)
            self._encoded = prepared[:1]
        except FAULTS as error:
            results = [self._encode_alone(one) for one in prepared] if len(prepared) > 1 else []
            if not any(isinstance(result, dict) for result in results):
                known = self._encoded or list(islice(self.inputs_of(self._made_before()), 1))
                if not known or not isinstance(self._encode_alone(known[0]), dict):
                    raise error
                results = [self._encode_alone(one) for one in prepared]
        return results

    def _encode_alone(self, prepared: Any) -> Arrays | Exception:
        try:
            return self.encoder.encode([prepared])[0]
        except FAULTS as error:
            return error

    def _made_before(self) -> list[int]:
        """Return the positions of the samples that the store has features of."""
        given_up = np.fromiter(self.writer.quarantined(), np.int64)
        made = ~self.writer.left(self._every) & ~np.isin(self._every, given_up)
        return [int(position) for position in np.flatnonzero(made)]

    def _settle(self, rows: Collection[int]) -> None:
        """Take rows off those still to be made; write the results that come with them, and complete blocks."""
        results, complete = {}, []
        for row in rows:
            position, block = self._place.pop(row)
            del self._row_of[position]
            if isinstance(rows, Mapping):
                results[row] = (block, rows[row])
            waiting = self._waiting[block]
            waiting.discard(row)
            if not waiting:
                del self._waiting[block]
                complete.append(block)
        self.left -= len(rows)
        if results or complete:
            self._wait()
            self._writing = self._thread.submit(self._write, results, complete)
            self._written = len(rows)
        elif rows:
            self._progress.advance(self.kind, len(rows))

    def _write(self, results: Mapping[int, tuple[int, Arrays | Exception]], complete: Iterable[int]) -> None:
        """Keep rows as they are stored, or quarantine them, and commit blocks."""
        for row, (block, arrays) in results.items():
            try:
                if isinstance(arrays, Exception):
                    raise FeatureError(f"the encoder failed: {first_line(arrays)}")
                self._finished.setdefault(block, {})[row] = self.writer.stored(arrays)
            except FeatureError as error:
                self.writer.quarantine(row, str(error))
        for block in complete:
            self.made += self.writer.commit(block, self._finished.pop(block, {}))

    def _wait(self) -> None:
        """Wait for the thread, and report what it has written as done; raise what it raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
            self._progress.advance(self.kind, self._written)


Block = tuple[Lane, int]
"""A lane and one of its blocks."""


def _rounds(lanes: Sequence[Lane], shuffled: bool) -> list[tuple[Sequence[int] | np.ndarray, list[Block]]]:
    """Return the blocks that lack rows, those of several lanes with the same samples together: each image is read once.

    Args:
        lanes: the stores to be filled.
        shuffled: whether the order is random. Two processes that do the same part (two submissions of one store)
            then collide in few blocks, because each skips what the other has committed. Pieces that are taken whole
            stay whole, from front to back.

    Returns:
        (positions of the samples, blocks) each.
    """
    together: dict[bytes, tuple[Sequence[int] | np.ndarray, list[Block]]] = {}
    for lane in lanes:
        for block, positions in lane.missing.items():
            key = hashlib.sha256(np.asarray(positions, np.int64).tobytes()).digest()
            together.setdefault(key, (positions, []))[1].append((lane, block))
    found = sorted(together.values(), key=lambda one: int(one[0][0]))
    if shuffled:
        chance = random.SystemRandom()
        order: defaultdict[int, float] = defaultdict(chance.random)
        found.sort(key=lambda one: order[one[1][0][0].piece_of(one[1][0][1])])
    return found


def pending_samples(
    lanes: Sequence[Lane], shuffled: bool, stopped: Callable[[], bool]
) -> Iterator[tuple[int, tuple[Lane, ...]]]:
    """Yield the samples still to be made, each with the lanes that want it, block by block: few shards are incomplete.

    Rows that others have committed since are left out: lanes check before every block.
    """
    for positions, blocks in _rounds(lanes, shuffled):
        if stopped():
            return
        for lane, block in blocks:
            lane.begin(block)
        for position in map(int, positions):
            wanting = tuple(lane for lane, _ in blocks if lane.wants(position))
            if wanting:
                yield position, wanting
