"""Steps of training side by side as CUDA graphs: one launch a batch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import RunError, first_line
from ..itin_head.gru.batch import mask_of
from ..itin_head.gru.packing import Packing, Words
from .features.batches import ResidentFeatures

BUCKETS = (8, 16, 24, 32, 48, 64, 80, 104)
"""Word counts up to which batches share a shape, by their longest text; above the last, multiples of 32."""

Key = tuple[int, int]
"""The number of samples of a batch, and the bucket of its longest text."""


def bucket_of(longest: int) -> int:
    """Return the bucket of a batch whose longest text has so many words."""
    return next((n for n in BUCKETS if longest <= n), -(-longest // 32) * 32)


def longest_by_rank(batches: Iterable[Tensor], lengths: Tensor) -> dict[Key, Tensor]:
    """Return for each key the most words (B,) of a batch's longest text, of its second longest, and so on.

    Args:
        batches: rows (J, B) of the samples of each.
        lengths: (N,) words of each sample.
    """
    most: dict[Key, Tensor] = {}
    for rows in batches:
        ranked = lengths[rows].sort(dim=1, descending=True).values.amax(0)
        key = _key(ranked)
        most[key] = torch.maximum(ranked, most.get(key, ranked))
    return most


@dataclass(frozen=True, eq=False)
class StaticShape:
    """Steps of fixed sizes, into which every batch of short enough texts is packed.

    A text stands at the place of its rank in its batch, the longest first. What is computed at places beyond its
    end has no effect; in the reversed array they follow its words, too.
    """

    sizes: list[int]
    """The number of texts in each step."""
    B: int
    """The number of texts of a batch, also those that are in no step."""
    step: Tensor
    """(P,) int64: the step that each place belongs to."""
    rank: Tensor
    """(P,) int64: the rank of the text at each place."""
    begin: Tensor
    """(n,) int64: the first place of each step."""

    @classmethod
    def of(cls, longest: Tensor, device: torch.device) -> StaticShape:
        """Return the shape for batches whose texts have at most so many words.

        Args:
            longest: (B,) int64 on the CPU, for each rank, none above the one before it.
            device: where batches will be packed.
        """
        n = int(longest[0]) if len(longest) else 0
        there = torch.arange(n)[:, None] < longest  # (n, B)
        sizes = there.sum(1)
        step, rank = there.nonzero(as_tuple=True)
        begin = sizes.cumsum(0) - sizes
        return cls(sizes.tolist(), len(longest), step.to(device), rank.to(device), begin.to(device))

    def pack(self, lengths: Tensor) -> tuple[Packing, Tensor]:
        """Return the packing of J batches, and the word that belongs at each place, without waiting for the device.

        Args:
            lengths: (J, B) int64 on the device, in each batch by rank.

        Returns:
            The packing; and (J, 2, P) int64, the number of the word within its text, -1 where there is none.
        """
        J, P, n = len(lengths), len(self.step), len(self.sizes)
        own = lengths[:, self.rank]  # (J, P)
        there = self.step < own
        back = torch.where(there, own - 1 - self.step, self.step)
        first = torch.arange(J, device=lengths.device)[:, None]
        place = torch.arange(P, device=lengths.device)
        packing = Packing(
            sizes=self.sizes,
            batch=(J, self.B),
            n=n,
            forward=(2 * P * first + place).flatten(),
            backward=(2 * P * first + P + self.begin[back] + self.rank).flatten(),
            padded=((self.B * first + self.rank) * n + self.step).flatten(),
            words=there.flatten()[:, None].float(),
        )
        return packing, torch.stack([self.step.expand(J, P), back], 1).masked_fill(~there[:, None], -1)


class GraphSteps:
    """Training steps in static shapes: for each key the smallest into which all batches of the training fit.

    A graph holds all of a step: the gathering of the batch from the resident features by the samples' rows, the heads,
    the gradients and the optimiser. The first step of a shape is taken without a graph, which also lets libraries
    initialise themselves; the second is captured, and replayed from then on. Without a
    CUDA device every step is taken in these shapes, without graphs.

    Args:
        resident: features that the device holds.
        heads: called with regions, words, context, region mask and extras of J batches.
        region_limit_mask: (J, 1, m) bool, the regions that each head uses.
        step: learns from logits (J, B, classes) and labels (J, B); all it changes must stay where it is in memory, but
            for gradients, which it must set to None first.
        batches: the rows (J, B) of all batches that will come.
        generators: what steps draw from.

    Raises:
        ValueError: features that the device cannot hold.
    """

    def __init__(
        self,
        resident: ResidentFeatures,
        heads: Callable[..., Tensor],
        region_limit_mask: Tensor,
        step: Callable[[Tensor, tuple[Tensor, ...]], None],
        batches: Iterable[Tensor],
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        if not resident.held:
            raise ValueError("resident: expected features on the device, got more than it can hold")
        self._resident, self._heads, self._region_limit_mask, self._step = resident, heads, region_limit_mask, step
        self._generators = generators
        self._tokens = resident.tokens
        self._offsets = resident.offsets.to(resident.device)
        self._lengths = resident.offsets.diff().clamp(0, resident.max_words)  # on the CPU, where keys are found
        most = longest_by_rank(batches, self._lengths)
        self._shapes = {key: StaticShape.of(ranked, resident.device) for key, ranked in most.items()}
        self._met: set[Key] = set()
        self._graphs: dict[Key, tuple[Any, Tensor]] = {}
        self._pool: Any = None

    def __call__(self, rows: Tensor) -> None:
        """Take the step of some samples.

        Args:
            rows: (J, B) int64 on the CPU.
        """
        lengths, ranks = self._lengths[rows].sort(dim=1, descending=True)
        rows, key = rows.gather(1, ranks), _key(lengths.amax(0))
        if self._resident.device.type != "cuda":
            self._take(rows.to(self._resident.device), self._shapes[key])
        elif key in self._graphs:
            graph, own = self._graphs[key]
            own.copy_(rows)
            graph.replay()
        elif key not in self._met:
            self._met.add(key)
            stream = torch.cuda.Stream(self._resident.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self._resident.device))
            with torch.cuda.stream(stream):
                self._take(rows.to(self._resident.device), self._shapes[key])
            torch.cuda.current_stream(self._resident.device).wait_stream(stream)
        else:
            own = rows.to(self._resident.device)
            graph = torch.cuda.CUDAGraph()
            for generator in self._generators:
                graph.register_generator_state(generator)
            try:
                with torch.cuda.graph(graph, pool=self._pool):
                    self._take(own, self._shapes[key])
            except RuntimeError as error:
                if "captur" not in str(error):
                    raise
                raise RunError(
                    "a training step cannot be a CUDA graph",
                    found=first_line(error),
                    next_step="train without: --no-cuda-graphs",
                ) from error
            self._pool = graph.pool()
            self._graphs[key] = (graph, own)
            graph.replay()

    def _take(self, rows: Tensor, shape: StaticShape) -> None:
        """Take the step of samples (J, B) on the device, by rank, without reading a value back from it."""
        resident = self._resident
        regions = region_mask = None
        if resident.m:
            regions = resident.regions[rows].float()
            region_mask = mask_of(resident.counts[rows], resident.m) & self._region_limit_mask
        words = self._words(rows, shape)
        extras = resident.extras(rows, max(len(shape.sizes), resident.longest))
        logits = self._heads(regions, words, resident.context[rows].float(), region_mask, extras)
        self._step(logits, tuple(values[rows] for values in resident.targets))

    def _words(self, rows: Tensor, shape: StaticShape) -> Words:
        start = self._offsets[rows]
        lengths = (self._offsets[rows + 1] - start).clamp(0, self._resident.max_words)
        packing, numbers = shape.pack(lengths)
        missing = numbers < 0
        places = (start[:, shape.rank][:, None] + numbers).masked_fill(missing, 0)  # (J, 2, P)
        x = self._tokens[places.flatten()].masked_fill_(missing.flatten()[:, None], 0).float()
        return Words(x.view(2 * len(rows), packing.rows, x.shape[1]), packing, mask_of(lengths, packing.n))


def _key(ranked: Tensor) -> Key:
    return len(ranked), bucket_of(int(ranked[0]))
