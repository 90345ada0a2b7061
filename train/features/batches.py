"""Features on a device, and the batches that are gathered from them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...itin_head.extras import Extras
from ...itin_head.gru.batch import mask_of
from ...itin_head.gru.packing import Words, gather_words
from ...itin_head.head import Inputs
from ...itin_head.outputs import scaled
from ...targets import LABEL
from .features import Features, TargetColumn
from .memory import MEMORY_SHARE
from .resident_extras import ResidentExtras, on_device

ABSENT = -100
"""The class of a sample without a value, which PyTorch's cross-entropy leaves out."""


class Batch(NamedTuple):
    """One batch: the inputs of a head, and the labels. With J batches side by side, J is the first axis."""

    regions: Tensor | None
    """(B, m, region_dim), or None when m is 0."""
    words: Words
    """The words of all texts, packed."""
    context: Tensor
    """(B, context_dim)."""
    region_mask: Tensor | None
    """(B, m) bool, or None when m is 0."""
    targets: tuple[Tensor, ...]
    """(B,) of each target: int64 class numbers, `ABSENT` where there is none; or float32 numbers scaled to -1 to 1, NaN
    where there is none; or (B, classes) float32 shares of annotators, zeros where there is none."""
    texts: list[str] | None = None
    """The B texts, where the features have them and one batch is gathered."""

    extras: Extras | None = None
    """What heads may know beside these vectors, for those that use any of it."""

    @property
    def labels(self) -> Tensor:
        """(B,) of the first target."""
        return self.targets[0]

    @property
    def inputs(self) -> Inputs:
        """The arguments of `itin_head.Head`."""
        return self.regions, self.words, None, self.context, self.region_mask, self.texts, self.extras


class ResidentFeatures:
    """Features on the device, in the dtype of their stores; each batch is one gather per array, converted to float32.

    Regions and words that a CUDA device cannot hold stay on the CPU: each batch is gathered there, and copied.

    Args:
        features: the features to hold; on the CPU their arrays are used without a copy.
        device: the device that holds them.
        m: how many of the features' regions to use.
        max_words: how many of a text's words to use, the first ones; None for all.
        targets: the names of the targets.
        averaged: whether to hold one word of each text, the mean of those that are used: for a head that `averages`.
        lexicons: the lexicons whose values to use.
        table: (V,) the keys of the learned table's entries; None without such a table.
        uses: what else the head uses of the features, `HeadConfig.uses`.

    Raises:
        ValueError: the features have fewer regions than m, or not what is used.
    """

    def __init__(
        self,
        features: Features,
        device: torch.device,
        m: int,
        max_words: int | None = None,
        targets: Sequence[str] = (LABEL,),
        averaged: bool = False,
        lexicons: Sequence[str] = (),
        table: NDArray[np.int64] | None = None,
        uses: Collection[str] = (),
    ) -> None:
        if features.regions.shape[1] < m:
            raise ValueError(f"features: expected at least m = {m} regions per image, got {features.regions.shape[1]}")
        self.device = device
        self.m = m
        self.max_words = max_words
        regions = features.regions[:, :m]
        tokens, offsets = features.tokens, features.offsets
        if averaged:
            tokens, offsets = mean_words(tokens, offsets, max_words)
        self.held = fits(regions.nbytes + tokens.nbytes, device)
        home = device if self.held else torch.device("cpu")
        self.regions = on_device(regions, home)
        self.counts = on_device(np.minimum(features.counts, m), device)
        self.tokens = on_device(tokens, home)
        self.offsets = on_device(offsets, torch.device("cpu"))  # where batches are planned
        self.context = on_device(features.context, device)
        self.texts = features.texts
        self.targets = tuple(on_device(_numbers(features.column(name)), device) for name in targets)
        self._lengths = torch.from_numpy(np.diff(features.offsets)).clamp(0, max_words)
        self.longest = int(self._lengths.max()) if averaged and len(self._lengths) else 0
        """The most words of a text, where one mean word stands for each; else 0."""
        self._beside: ResidentExtras | None = None
        if lexicons or table is not None or uses:
            self._beside = ResidentExtras(features, max_words, device, lexicons, table, uses)

    def by_length(self, rows: Tensor) -> Tensor:
        """Return the order (N,) of samples (N,) by the number of their words: batches of equals take fewer steps."""
        return self._lengths[rows].sort(stable=True).indices

    def narrow(self, m: int) -> ResidentFeatures:
        """Return the same features, without a copy, with only the first m regions of each image."""
        if m > self.m:
            raise ValueError(f"m: expected at most {self.m}, got {m}")
        narrow = copy.copy(self)
        narrow.m, narrow.counts = m, self.counts.clamp(max=m)
        narrow.regions = self.regions[:, :m]
        return narrow

    def batch(self, rows: Tensor) -> Batch:
        """Gather the samples of some rows, in their order.

        Args:
            rows: (B,) int64 on the CPU, or (J, B) for J batches side by side.
        """
        texts = None if self.texts is None or rows.ndim > 1 else [self.texts[row] for row in rows.tolist()]
        words = gather_words(*self._words(rows), self.max_words)
        regions = self.regions[rows.to(self.regions.device)].to(self.device).float() if self.m else None
        longest = int(self._lengths[rows].max()) if rows.numel() else 0  # also where one mean word stands for a text
        rows = rows.to(self.device)
        return Batch(
            regions=regions,
            words=words,
            context=self.context[rows].float(),
            region_mask=mask_of(self.counts[rows], self.m) if self.m else None,
            targets=tuple(values[rows] for values in self.targets),
            texts=texts,
            extras=self.extras(rows, longest),
        )

    def extras(self, rows: Tensor, n: int) -> Extras | None:
        """Return what heads may know of samples (B,) or (J, B) beside their vectors; None for nothing.

        Args:
            rows: the samples, on the device.
            n: the padded length of their texts.
        """
        return None if self._beside is None else self._beside(rows, n, self.m)

    def _words(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the words of all texts or of these only, their offsets (on the CPU), and the rows of these texts."""
        if self.held:
            return self.tokens, self.offsets, rows
        flat = rows.flatten()
        start = self.offsets[flat]
        lengths = self.offsets[flat + 1] - start
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        places = torch.arange(int(offsets[-1])) + (start - offsets[:-1]).repeat_interleave(lengths)
        return self.tokens[places].to(self.device), offsets, torch.arange(len(flat)).view_as(rows)


def mean_words(tokens: np.ndarray, offsets: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each text's words as its only word (N', token_dim) float32, and the offsets (N + 1,) of these.

    Args:
        tokens: (T, token_dim), the words of all texts one after the other.
        offsets: (N + 1,), where each text begins and the last one ends.
        most: words of a text that are used, the first ones; None for all. A text without words stays without.
    """
    there = np.diff(offsets) > 0
    means = np.empty((int(there.sum()), tokens.shape[1]), np.float32)
    for place, row in enumerate(np.flatnonzero(there)):
        words = tokens[offsets[row] : offsets[row + 1]][:most]
        means[place] = words.mean(0, dtype=np.float64)
    return means, np.concatenate([[0], np.cumsum(there)])


def fits(size: int, device: torch.device) -> bool:
    """Return whether a device's memory can hold so many bytes of features; on the CPU they are in memory already."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # reserved by us, but free
    return size <= MEMORY_SHARE * (free + unused)


def _numbers(column: TargetColumn) -> np.ndarray:
    """Return a target's values as a loss reads them."""
    if column.target.is_number:
        return scaled(column.target, column.values.astype(np.float64)).astype(np.float32)
    if column.shares is not None:
        return column.shares.astype(np.float32)
    values = column.values.astype(np.int64, copy=False)
    return values if column.known.all() else np.where(column.known, values, ABSENT)
