"""The first stage: the best proposals of each image, from scores and deltas of every anchor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .boxes import clip, decode, grid_anchors, nms, overlap_bound
from .network import STRIDE
from .recipe import Recipe


def anchor_scores(logits: Tensor, recipe: Recipe) -> Tensor:
    """Return a score for each anchor, (B, H, W, A) float32, from (B, A or 2A, H, W)."""
    logits = logits.to(torch.float32).permute(0, 2, 3, 1)
    if recipe.rpn_score == "logits":
        return logits
    pairs = logits.reshape(*logits.shape[:3], 2, -1)  # all anchors' background, then all anchors' foreground
    foreground: Tensor = pairs.softmax(-2)[..., 1, :]
    return foreground


def propose(
    logits: Tensor,
    deltas: Tensor,
    cell: Tensor,
    recipe: Recipe,
    extents: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
    scales: Sequence[float],
) -> list[Tensor]:
    """Return each image's proposals, best first.

    Args:
        logits: (B, A or 2A, H, W).
        deltas: (B, 4A, H, W).
        cell: (A, 4) anchors of the first position.
        extents: each image's own (height, width) in the map.
        sizes: each resized image's (height, width).
        scales: each image's resized over original side.

    Returns:
        One (n, 4) float32 tensor an image, in pixels of the resized image, n at most `recipe.post_nms` and possibly 0.
    """
    batch, _, height, width = logits.shape
    device = logits.device
    scores = anchor_scores(logits, recipe)
    own = torch.tensor(extents, device=device)
    inside = torch.arange(height, device=device)[:, None] < own[:, 0, None, None]
    inside = inside & (torch.arange(width, device=device) < own[:, 1, None, None])  # (B, H, W)
    scores = scores.masked_fill(~inside[..., None], -torch.inf).flatten(1)  # (B, H * W * A)
    deltas = deltas.to(torch.float32).permute(0, 2, 3, 1).reshape(batch, -1, 4)
    anchors = grid_anchors(cell, height, width, STRIDE)
    size = torch.tensor(sizes, device=device, dtype=torch.float32)[:, None]
    least = recipe.min_side * torch.tensor(scales, device=device, dtype=torch.float32)[:, None]

    def boxes_of(index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the clipped boxes of all anchors or of some, and which of them are large enough."""
        moves, sources = deltas, anchors
        if index is not None:
            moves, sources = deltas.gather(1, index[..., None].expand(-1, -1, 4)), anchors[index]
        boxes = clip(decode(moves, sources, recipe.rpn_weights, recipe.plus_one), size, recipe.plus_one)
        side = boxes[..., 2:] - boxes[..., :2]
        large = (side > 0) & (side + (1.0 if recipe.plus_one else 0.0) > least[..., None])
        return boxes, large.all(-1)

    if recipe.filter_first:
        boxes, large = boxes_of(None)
        scores = scores.masked_fill(~large, -torch.inf)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, : recipe.pre_nms], order[:, : recipe.pre_nms]
    if recipe.filter_first:
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    else:
        boxes, large = boxes_of(order)
        scores = scores.masked_fill(~large, -torch.inf)
        first = (scores == -torch.inf).sort(dim=1, stable=True).indices  # of those that are left
        boxes = boxes.gather(1, first[..., None].expand(-1, -1, 4))

    bound = overlap_bound(recipe.rpn_nms, recipe.nms_inclusive)
    left = (scores > -torch.inf).sum(1).tolist()
    best = [own[:count] for own, count in zip(boxes, left, strict=True)]
    return [own[nms(own, bound, recipe.plus_one, recipe.post_nms)] for own in best]
