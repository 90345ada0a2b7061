"""Region pooling from a batch of feature maps: maxima of rounded bins (RoIPool) and bilinear means (RoIAlign)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from .network import STRIDE
from .recipe import Recipe


def make_pooler(recipe: Recipe, features: Tensor, extents: Sequence[tuple[int, int]]) -> MaxPooler | AlignPooler:
    """Return the recipe's pooler over one batch of features.

    Args:
        features: (B, C, H, W).
        extents: each image's own (height, width) in the map; nothing outside is read.
    """
    kind = MaxPooler if recipe.pooler == "roi-pool" else AlignPooler
    return kind(features, extents, recipe.pooled)


class MaxPooler:
    """RoIPool: each bin's maximum over whole positions.

    The maximum over a range is the larger of the maxima over two ranges of a power of two that cover it. These are
    computed once for the map, in both directions, so that a bin is the maximum of four rows of a table, whatever its
    size. The maximum is exact, and so is the result; channels are contiguous in memory, as res5 needs them.
    """

    def __init__(self, features: Tensor, extents: Sequence[tuple[int, int]], pooled: int) -> None:
        batch, channels, height, width = features.shape
        self.pooled, self.channels, self.batch = pooled, channels, batch
        self.height, self.width = height, width
        self.levels_y, self.levels_x = self._levels(height), self._levels(width)
        rows = self.levels_y * self.levels_x * batch * height * width
        table = features.new_empty(rows + 1, channels)
        table[rows] = 0  # the value of an empty bin
        self.empty = rows
        self.table = table
        grid = table[:rows].view(self.levels_y, self.levels_x, batch, height, width, channels)
        grid[0, 0] = features.permute(0, 2, 3, 1)
        for ky in range(self.levels_y):
            if ky:
                half = min(2 ** (ky - 1), height)
                grid[ky, 0] = grid[ky - 1, 0]
                torch.maximum(
                    grid[ky - 1, 0, :, : height - half], grid[ky - 1, 0, :, half:], out=grid[ky, 0, :, : height - half]
                )
            for kx in range(1, self.levels_x):
                half = min(2 ** (kx - 1), width)
                grid[ky, kx] = grid[ky, kx - 1]
                torch.maximum(
                    grid[ky, kx - 1, :, :, : width - half],
                    grid[ky, kx - 1, :, :, half:],
                    out=grid[ky, kx, :, :, : width - half],
                )
        self.extents = torch.tensor(extents, dtype=torch.int64, device=features.device)

    def _levels(self, side: int) -> int:
        longest = -(-(side + 1) // self.pooled) + 1  # positions that one bin can touch
        return longest.bit_length()

    def _ranges(self, low: Tensor, high: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the first positions of the two covering ranges, their level, and which bins are empty, each (R, P)."""
        start = _round_half_up(low / STRIDE)
        length = (_round_half_up(high / STRIDE) - start + 1).clamp(min=1)
        step = (length / torch.full_like(length, self.pooled))[:, None]  # a GPU would multiply by 1 / pooled, rounded
        bins = torch.arange(self.pooled, dtype=torch.float32, device=low.device)
        first = torch.floor(bins * step) + start[:, None]
        last = torch.ceil((bins + 1) * step) + start[:, None]  # exclusive
        first = torch.minimum(first.long().clamp(min=0), limit[:, None])
        last = torch.minimum(last.long().clamp(min=0), limit[:, None])
        count = last - first
        level = torch.zeros_like(count)
        for k in range(1, max(self.levels_y, self.levels_x)):
            level += count >= 2**k
        second = last - (1 << level)
        return first, second, level, count <= 0

    def bins(self, boxes: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers of the distinct bins of some regions, and each region's bins among them.

        Regions that share a part of an image share many of their bins, since bins are whole positions: about a
        quarter of the 58,800 bins of 300 proposals are distinct. Operations on single bins are needed for these only.

        Args:
            boxes: (R, 4) in the resized images.
            images: (R,) image numbers.

        Returns:
            (U,) int64 numbers, and (R, P, P) which of them.
        """
        limits = self.extents[images]
        y0, y1, ky, no_y = self._ranges(boxes[:, 1], boxes[:, 3], limits[:, 0])
        x0, x1, kx, no_x = self._ranges(boxes[:, 0], boxes[:, 2], limits[:, 1])
        y0 = images[:, None] * self.height + y0
        y1 = images[:, None] * self.height + y1
        tall, wide = self.batch * self.height, self.width
        vertical = (y0 * tall + y1) * self.levels_y + ky  # (R, P)
        horizontal = (x0 * wide + x1) * self.levels_x + kx
        keys = vertical[:, :, None] * (wide * wide * self.levels_x) + horizontal[:, None]
        keys = keys.masked_fill(no_y[:, :, None] | no_x[:, None], -1)
        distinct, index = torch.unique(keys, return_inverse=True)
        return distinct, index

    def values(self, distinct: Tensor) -> Tensor:
        """Return the values (U, C) of the bins of these numbers (U,)."""
        tall, wide = self.batch * self.height, self.width

        def split(numbers: Tensor, side: int, levels: int) -> tuple[Tensor, Tensor, Tensor]:
            return numbers // levels // side, numbers // levels % side, numbers % levels

        present = distinct.clamp(min=0)
        y0, y1, ky = split(present // (wide * wide * self.levels_x), tall, self.levels_y)
        x0, x1, kx = split(present % (wide * wide * self.levels_x), wide, self.levels_x)
        base = (ky * self.levels_x + kx) * tall

        def rows(y: Tensor, x: Tensor) -> Tensor:
            number = (base + y) * wide + x
            return self.table.index_select(0, number.masked_fill(distinct < 0, self.empty))

        out = rows(y0, x0)
        for y, x in ((y0, x1), (y1, x0), (y1, x1)):
            torch.maximum(out, rows(y, x), out=out)
        return out

    def __call__(self, boxes: Tensor, images: Tensor) -> Tensor:
        """Pool boxes (R, 4) in the resized images, of image numbers (R,), to (R, C, P, P), channels last in memory."""
        distinct, index = self.bins(boxes, images)
        return spread(self.values(distinct), index)


def spread(values: Tensor, index: Tensor) -> Tensor:
    """Return the values (U, C) at row numbers (R, P, P) as (R, C, P, P), channels last in memory."""
    return values.index_select(0, index.flatten()).view(*index.shape, values.shape[1]).permute(0, 3, 1, 2)


class AlignPooler:
    """RoIAlign with half-pixel centres and 2x2 samples a bin."""

    def __init__(self, features: Tensor, extents: Sequence[tuple[int, int]], pooled: int) -> None:
        self.maps = [features[i : i + 1, :, :h, :w].to(torch.float32) for i, (h, w) in enumerate(extents)]
        self.pooled, self.dtype = pooled, features.dtype

    def __call__(self, boxes: Tensor, images: Tensor) -> Tensor:
        """Pool boxes (R, 4) in the resized images, of image numbers (R,), to (R, C, P, P), channels last in memory."""
        out = boxes.new_empty(len(boxes), self.maps[0].shape[1], self.pooled, self.pooled)
        out = out.to(memory_format=torch.channels_last)
        begin = 0
        runs = torch.unique_consecutive(images, return_counts=True)
        for number, count in zip(*(one.tolist() for one in runs), strict=True):
            own = slice(begin, begin := begin + count)
            out[own] = roi_align(
                self.maps[number],
                [boxes[own]],
                self.pooled,
                spatial_scale=1 / STRIDE,
                sampling_ratio=2,
                aligned=True,
            )
        return out.to(self.dtype)


def _round_half_up(x: Tensor) -> Tensor:
    """Round x >= 0 to the nearest whole number, halves away from zero (torch.round takes halves to even)."""
    whole = torch.floor(x)
    return whole + (x - whole >= 0.5)
