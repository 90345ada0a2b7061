"""Steps of training side by side as CUDA graphs: one launch a batch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..itin_head.batch import mask_of
from ..itin_head.packing import Words, pack_static
from .data import Resident

BUCKETS = (8, 16, 24, 32, 48, 64, 80, 104)
"""Padded lengths: a batch takes the first that its longest text fits into, and longer texts the next multiple of 32."""


def bucket_of(longest: int) -> int:
    """Return the padded length of a batch whose longest text has so many words."""
    return next((n for n in BUCKETS if longest <= n), -(-longest // 32) * 32)


class GraphSteps:
    """Training steps whose shapes depend on the number of samples and the bucket of their longest text alone.

    A graph holds all of a step: the gathering of the batch from the resident features by the samples' rows, the heads,
    the gradients and the optimiser. A shape that is met for the first time takes its step without a graph, which also
    lets libraries make their own preparations; at the second time it is captured, and replayed from then on. Without a
    CUDA device every step is taken in these shapes, without graphs.

    Args:
        resident: features on the device; not streamed ones.
        heads: called with regions, words, context and region mask of J batches.
        looked_at: (J, 1, m) bool, the regions that each head looks at.
        step: learns from logits (J, B, classes) and labels (J, B); all it changes must stay where it is in memory, but
            for gradients, which it must set to None first.

    Raises:
        ValueError: features that are streamed from their stores.
    """

    def __init__(
        self,
        resident: Resident,
        heads: Callable[..., Tensor],
        looked_at: Tensor,
        step: Callable[[Tensor, Tensor], None],
    ) -> None:
        if not isinstance(resident.tokens, Tensor):
            raise ValueError("resident: expected features in memory, got streamed ones")
        self._resident, self._heads, self._looked_at, self._step = resident, heads, looked_at, step
        self._tokens = resident.tokens
        self._offsets = resident.offsets.to(resident.device)
        self._lengths = resident.offsets.diff().clamp(0, resident.max_words)  # on the CPU, where buckets are chosen
        self._met: set[tuple[int, int]] = set()
        self._graphs: dict[tuple[int, int], tuple[Any, Tensor]] = {}
        self._pool: Any = None

    def __call__(self, rows: Tensor) -> None:
        """Take the step of some samples.

        Args:
            rows: (J, B) int64 on the CPU.
        """
        n = bucket_of(int(self._lengths[rows].max()))
        key = (rows.shape[1], n)
        if self._resident.device.type != "cuda":
            self._take(rows, n)
        elif key in self._graphs:
            graph, own = self._graphs[key]
            own.copy_(rows)
            graph.replay()
        elif key not in self._met:
            self._met.add(key)
            stream = torch.cuda.Stream(self._resident.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self._resident.device))
            with torch.cuda.stream(stream):
                self._take(rows.to(self._resident.device), n)
            torch.cuda.current_stream(self._resident.device).wait_stream(stream)
        else:
            own = rows.to(self._resident.device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                self._take(own, n)
            self._pool = graph.pool()
            self._graphs[key] = (graph, own)
            graph.replay()

    def _take(self, rows: Tensor, n: int) -> None:
        """The step of samples (J, B) on the device, without asking it for a value."""
        resident = self._resident
        regions = region_mask = None
        if resident.m and isinstance(resident.regions, Tensor):
            regions = resident.regions[rows].float()
            region_mask = mask_of(resident.counts[rows], resident.m) & self._looked_at
        logits = self._heads(regions, self._words(rows, n), resident.context[rows].float(), region_mask)
        self._step(logits, resident.labels[rows])

    def _words(self, rows: Tensor, n: int) -> Words:
        start = self._offsets[rows]
        lengths = (self._offsets[rows + 1] - start).clamp(max=min(n, self._resident.max_words or n))
        packing = pack_static(lengths, n)
        mask = mask_of(lengths, n)
        places = (start[..., None] + torch.arange(n, device=rows.device)).masked_fill(~mask, 0)
        taken = self._tokens[places.flatten()].float().masked_fill(~mask.flatten()[:, None], 0)
        x = taken.new_zeros(2 * len(taken), taken.shape[1])
        x = x.index_copy(0, packing.forward, taken).index_copy(0, packing.backward, taken)
        return Words(x.view(2 * len(rows), packing.rows, -1), packing, mask)
