"""Lanes, each an encoder with the store it fills and the rows still to be made; and the order of their samples."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..cache import StoreWriter
from ..cache.format.shard_write import FeatureError
from ..errors import first_line
from ..parts import Part
from .encoders.contract import Arrays, ImageEncoder, TextEncoder
from .progress import Progress

TEXT_BATCHES = 16
"""Batches of texts that are encoded together, at most, so that the encoder can sort them by length."""


class Lane:
    """An encoder at work: batches of prepared inputs are encoded, and each block of rows is committed once complete.

    Args:
        encoder: makes the features.
        writer: the store they go to.
        rows: position of each sample that is wanted -> its row number in the store.
        progress: receives the progress.
        part: the part whose blocks are wanted; None for all.
    """

    def __init__(
        self,
        encoder: ImageEncoder | TextEncoder,
        writer: StoreWriter,
        rows: Mapping[int, int],
        progress: Progress,
        part: Part | None = None,
    ) -> None:
        self.encoder = encoder
        self.writer = writer
        self._at_once = encoder.batch_size
        if encoder.spec.kind == "tokens":  # at most a shard, so that a kill loses no more
            self._at_once = max(encoder.batch_size, min(TEXT_BATCHES * encoder.batch_size, writer.shard_size))
        self.kind: str = encoder.spec.kind
        blocks = writer.plan.blocks_of(np.array(list(rows.values()), np.int64)).tolist() if rows else []
        self.position_of: dict[int, int] = {}
        """Row -> position of the sample, for the rows that are wanted here."""
        wanted: dict[int, list[int]] = {}
        for (position, row), block in zip(rows.items(), blocks, strict=True):
            if part is None or part.has(block):
                self.position_of[row] = position
                wanted.setdefault(block, []).append(position)
        self.row_of: dict[int, int] = {}
        """Position of a sample -> its row, for the samples that are still to be made."""
        self._block_of: dict[int, int] = {}
        self._waiting: dict[int, set[int]] = {}
        self._finished: dict[int, dict[int, Arrays]] = {}
        self._batch: list[tuple[int, Any]] = []
        self._progress = progress
        self.missing: dict[int, list[int]] = {}
        """Block that lacks rows -> positions of all its samples that are wanted, made or not."""
        for piece in writer.missing(self.position_of):
            self.missing[piece.block] = wanted[piece.block]
            self._waiting[piece.block] = set(piece.rows)
            for row in piece.rows:
                self.row_of[self.position_of[row]] = row
                self._block_of[row] = piece.block
        self.made = 0
        self.unread: list[tuple[str, str]] = []
        progress.start(self.kind, len(self.position_of), len(self.position_of) - len(self.row_of))

    @property
    def left(self) -> int:
        """Number of wanted samples that are neither made nor given up."""
        return sum(map(len, self._waiting.values()))

    def drop_committed(self, block: int) -> None:
        """Drop the rows of a block that another writer has committed since this lane was made."""
        done = self._waiting.get(block, set()) & self.writer.committed(block)
        for row in done:
            del self.row_of[self.position_of[row]]
            self._settle(row)

    def commit_partial(self) -> None:
        """Commit the finished rows of incomplete blocks, each as a smaller shard, so that they are not made again."""
        for block in list(self._finished):
            self.made += self.writer.commit(block, self._finished.pop(block))

    def add(self, position: int, prepared: Any) -> None:
        """Take one prepared input; encode when a batch is full."""
        self._batch.append((self.row_of[position], prepared))
        if len(self._batch) >= self._at_once:
            self.flush()

    def flush(self) -> None:
        """Encode the inputs collected so far."""
        batch, self._batch = self._batch, []
        if batch:
            rows = [row for row, _ in batch]
            for row, arrays in zip(rows, self._encode([prepared for _, prepared in batch]), strict=True):
                self._take(row, arrays)

    def reject(self, position: int, reason: str) -> None:
        """Quarantine a sample whose input cannot be used."""
        row = self.row_of[position]
        self.writer.quarantine(row, reason)
        self._settle(row)

    def skip(self, position: int, reason: str) -> None:
        """Leave a sample for the next run: its input could not be read this time."""
        row = self.row_of[position]
        self.unread.append((self.writer.plan.rows[row][0], reason))
        self._settle(row)

    def _encode(self, prepared: list[Any]) -> Iterable[Arrays | Exception]:
        """Return one result an input; a batch that fails is encoded one by one, so that one input fails alone."""
        try:
            return self.encoder.encode(prepared)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            results: list[Arrays | Exception] = []
            for one in prepared if len(prepared) > 1 else []:
                try:
                    results.extend(self.encoder.encode([one]))
                except (RuntimeError, ValueError, ArithmeticError) as alone:
                    results.append(alone)
            if not any(isinstance(result, dict) for result in results):
                raise error  # not one input's fault
            return results

    def _take(self, row: int, arrays: Arrays | Exception) -> None:
        try:
            if isinstance(arrays, Exception):
                raise FeatureError(f"the encoder failed: {first_line(arrays)}")
            stored = self.writer.stored(arrays)
        except FeatureError as error:
            self.writer.quarantine(row, str(error))
        else:
            self._finished.setdefault(self._block_of[row], {})[row] = stored
        self._settle(row)

    def _settle(self, row: int) -> None:
        block = self._block_of[row]
        waiting = self._waiting[block]
        before = len(waiting)
        waiting.discard(row)
        if not waiting:
            del self._waiting[block]
            self.made += self.writer.commit(block, self._finished.pop(block, {}))
        self._progress.advance(self.kind, before - len(waiting))


Block = tuple[Lane, int]
"""A lane and one of its blocks."""


def _rounds(lanes: Sequence[Lane], shuffled: bool) -> list[tuple[list[int], list[Block]]]:
    """Return the blocks that lack rows, those of several lanes with the same samples together: each image is read once.

    Args:
        lanes: the stores to be filled.
        shuffled: whether the order is random. Two processes that do the same part (two submissions of one store)
            then collide in few blocks, because each skips what the other has committed.

    Returns:
        (positions of the samples, blocks) each.
    """
    together: dict[tuple[int, ...], tuple[list[int], list[Block]]] = {}
    for lane in lanes:
        for block, positions in lane.missing.items():
            together.setdefault(tuple(positions), (positions, []))[1].append((lane, block))
    found = list(together.values())
    if shuffled:
        random.SystemRandom().shuffle(found)
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
            lane.drop_committed(block)
        for position in positions:
            wanting = tuple(lane for lane, _ in blocks if position in lane.row_of)
            if wanting:
                yield position, wanting
