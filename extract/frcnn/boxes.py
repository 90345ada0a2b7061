"""Boxes: anchors, deltas, clipping, overlaps and suppression, in either convention of width."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from .recipe import Recipe

MAX_LOG_RATIO = math.log(1000.0 / 16)
"""Upper limit of the argument of exp(), so that no box grows beyond 62.5 times its source."""


def cell_anchors(recipe: Recipe) -> Tensor:
    """Return the anchors of the first position, (A, 4) float32, in the order of the head's channels."""
    if recipe.anchor_order == "size-major":
        corners = []
        for size in recipe.anchor_sizes:
            for ratio in recipe.anchor_ratios:
                w = math.sqrt(size**2 / ratio)
                h = ratio * w
                corners.append([-w / 2, -h / 2, w / 2, h / 2])
        return torch.tensor(corners, dtype=torch.float32)
    corners = []
    for ratio in recipe.anchor_ratios:
        # Caffe rounds the sides of a 16-pixel cell, then multiplies; its boxes hold their last pixel.
        w = float(np.round(math.sqrt(16 * 16 / ratio)))
        h = float(np.round(w * ratio))
        for size in recipe.anchor_sizes:
            x, y = (w * size / 16 - 1) / 2, (h * size / 16 - 1) / 2
            corners.append([7.5 - x, 7.5 - y, 7.5 + x, 7.5 + y])
    return torch.tensor(corners, dtype=torch.float32)


def grid_anchors(cell: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Return the anchors of a feature map, (H * W * A, 4), row by row, the anchors of a position together."""
    y = torch.arange(height, device=cell.device, dtype=torch.float32) * stride
    x = torch.arange(width, device=cell.device, dtype=torch.float32) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (shifts + cell).reshape(-1, 4)


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float], plus_one: bool) -> Tensor:
    """Move and stretch boxes by deltas.

    With `plus_one` the source boxes are one pixel wider; the results are not shortened again, as in the original.

    Args:
        deltas: (..., 4) dx, dy, dw, dh.
        boxes: (..., 4).
        weights: divisors of the deltas.

    Returns:
        (..., 4).
    """
    one = 1.0 if plus_one else 0.0
    w = boxes[..., 2] - boxes[..., 0] + one
    h = boxes[..., 3] - boxes[..., 1] + one
    x = boxes[..., 0] + 0.5 * w
    y = boxes[..., 1] + 0.5 * h
    x = deltas[..., 0] / weights[0] * w + x
    y = deltas[..., 1] / weights[1] * h + y
    w = torch.exp((deltas[..., 2] / weights[2]).clamp(max=MAX_LOG_RATIO)) * w
    h = torch.exp((deltas[..., 3] / weights[3]).clamp(max=MAX_LOG_RATIO)) * h
    return torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], -1)


def clip(boxes: Tensor, sizes: Tensor, plus_one: bool) -> Tensor:
    """Clip boxes to their image.

    Args:
        boxes: (..., 4).
        sizes: (..., 2) height, width of each box's image, broadcast against the boxes.
    """
    limit = sizes.flip(-1).to(boxes.dtype) - (1.0 if plus_one else 0.0)  # (..., 2) x, y
    limit = torch.cat([limit, limit], -1)
    return torch.minimum(boxes.clamp(min=0), limit)


def overlap_bound(threshold: float, inclusive: bool) -> float:
    """Return the least float32 overlap that suppresses.

    The originals compare a float32 overlap with a float32 (`>=`) or a float64 (`>`) threshold; this is the number for
    which `overlap >= number` gives the same answer.
    """
    rounded = np.float32(threshold)
    if inclusive or float(rounded) > threshold:
        return float(rounded)
    return float(np.nextafter(rounded, np.float32(np.inf)))


def nms(boxes: Tensor, bound: float, plus_one: bool, most: int | None = None) -> Tensor:
    """Return the indices that suppression keeps of boxes by descending score, (M, 4) -> (K,).

    Args:
        boxes: (M, 4) by descending score.
        bound: the least overlap that suppresses, see `overlap_bound`.
        plus_one: whether a side is longer by one than the difference of its coordinates.
        most: the number of indices that are wanted, the first ones; None for all.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if most is not None and len(boxes) > 4 * most:
        keep = nms(boxes[: 4 * most], bound, plus_one)  # it does not depend on the boxes after them
        if len(keep) >= most:
            return keep[:most]
    if plus_one:  # a width of x2 - x1 + 1 is that of a box whose far corner lies one pixel farther
        boxes = boxes + boxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    ranks = torch.arange(len(boxes), 0, -1, dtype=torch.float32, device=boxes.device)
    below = float(np.nextafter(np.float32(bound), np.float32(-np.inf)))
    found: Tensor = torchvision_nms(boxes, ranks, below)
    return found[:most]


def class_nms(boxes: Tensor, classes: Tensor, bound: float, plus_one: bool) -> Tensor:
    """Return which boxes are kept where only boxes of the same class suppress one another, (M,) bool.

    torchvision's `batched_nms` moves the boxes of different classes apart, and so rounds what it compares; here each
    class is a list of its own. The lists are short, so that the CPU is faster.

    Args:
        boxes: (M, 4) by descending score, on the CPU.
        classes: (M,) int64, on the CPU.
        bound: the least overlap that suppresses, see `overlap_bound`.
        plus_one: as for `nms`.
    """
    keep = torch.ones(len(boxes), dtype=torch.bool)
    by_class, counts = classes.argsort(stable=True), classes.bincount()
    ends = counts.cumsum(0)
    several = counts > 1  # of the 1600 classes an image has a few
    for begin, end in zip((ends - counts)[several].tolist(), ends[several].tolist(), strict=True):
        places = by_class[begin:end]
        keep[places] = False
        keep[places[nms(boxes[places], bound, plus_one)]] = True
    return keep
