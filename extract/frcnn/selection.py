"""Which proposals an image keeps, in which order, and what is said of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .boxes import clip, decode, greedy_nms, overlap_bound
from .recipe import Recipe

PAIRS = 16_000_000
"""Box pairs whose overlaps are held at a time."""
BEST = 2048
"""Scores of an image that are looked at first where too few boxes reach the threshold."""


@dataclass(frozen=True)
class Selection:
    """How many regions an image keeps and by which rule."""

    rule: Literal["original", "hf"] = "original"
    """`original`: suppression within each class, each box's best surviving class score, every box of at least
    `threshold` within the limits. `hf`: one suppression over the boxes of the best class, with a laxer threshold where
    too few stay."""
    max_regions: int = 36
    """The most that are kept."""
    min_regions: int | None = None
    """The least that are kept where there are as many proposals; by default 10 for `original` (or `max_regions` where
    that is less) and `max_regions` for `hf`."""
    threshold: float = 0.2
    """The score from which `original` keeps a box."""
    class_nms: float = 0.3
    """The IoU threshold of `original`."""
    agnostic_nms: tuple[float, ...] = (0.5, 0.6, 0.7)
    """The IoU thresholds of `hf`, tried in this order until at least `min_regions` stay; the last one's result is
    taken where none does."""

    def __post_init__(self) -> None:
        if self.rule not in ("original", "hf"):
            raise ValueError(f"the selection is 'original' or 'hf', got {self.rule!r}")
        if self.max_regions < 1:
            raise ValueError(f"max_regions must be at least 1, got {self.max_regions}")
        if self.min_regions is not None and not 0 <= self.min_regions <= self.max_regions:
            raise ValueError(f"min_regions must lie between 0 and max_regions, got {self.min_regions}")
        if not self.agnostic_nms:
            raise ValueError("agnostic_nms needs at least one threshold")

    @property
    def least(self) -> int:
        """`min_regions` with its default."""
        if self.min_regions is not None:
            return self.min_regions
        return self.max_regions if self.rule == "hf" else min(10, self.max_regions)

    def as_dict(self) -> dict[str, Any]:
        """What decides a number, and no more."""
        used = asdict(self) | {"min_regions": self.least}
        unused = ("agnostic_nms",) if self.rule == "original" else ("class_nms", "threshold")
        return {key: value for key, value in used.items() if key not in unused}


@dataclass(frozen=True)
class Predictions:
    """What the second stage says of a batch's proposals, image after image; R rows in all."""

    logits: Tensor
    """(R, classes + 1)."""
    deltas: Tensor
    """(R, 4 * classes), or with the background's four as well."""
    attributes: Tensor
    """(R, attributes), with or without a background's column."""
    proposals: Tensor
    """(R, 4) in pixels of the resized image."""
    images: Tensor
    """(R,) the image of each row, ascending."""
    counts: list[int]
    """Rows of each image."""
    sizes: Tensor
    """(B, 2) height and width of the resized images."""
    originals: Tensor
    """(B, 2) height and width of the original images."""
    to_original: Tensor
    """(B, 2) factors for x and y from the resized to the original image."""


@dataclass(frozen=True)
class Chosen:
    """The kept rows of a batch, image after image, best first within an image; K rows in all."""

    rows: Tensor
    """(K,) row numbers in the predictions."""
    counts: list[int]
    """Kept rows of each image."""
    boxes: Tensor
    """(K, 4) in pixels of the original image."""
    scores: Tensor
    """(K,) what they are ordered by."""
    objects: Tensor
    """(K,) the most probable class, counted without the background."""
    object_scores: Tensor
    """(K,) its probability; the background takes part in the softmax."""
    attributes: Tensor
    """(K,) the most probable attribute, counted without the background."""
    attribute_scores: Tensor
    """(K,) its probability."""


def object_probabilities(logits: Tensor, recipe: Recipe) -> Tensor:
    """Softmax over all classes, without the background's column: (R, classes + 1) -> (R, classes)."""
    probabilities = logits.softmax(1)
    return probabilities[:, 1:] if recipe.background == "first" else probabilities[:, :-1]


def attribute_probabilities(logits: Tensor, recipe: Recipe) -> Tensor:
    """Softmax of the attributes as the family's own code takes it, without a background: (R, attributes)."""
    if recipe.attribute_background == "first":
        return logits.softmax(1)[:, 1:]
    return (logits[:, :-1] if recipe.attribute_background == "last" else logits).softmax(1)


class _Frame:
    """Boxes in the frame in which the second stage computes: the original image with `plus_one`, else the resized."""

    def __init__(self, p: Predictions, recipe: Recipe) -> None:
        self.p, self.recipe = p, recipe
        factors = p.to_original[p.images]
        self.factors = torch.cat([factors, factors], 1)
        self.sources = p.proposals * self.factors if recipe.plus_one else p.proposals
        self.limits = (p.originals if recipe.plus_one else p.sizes)[p.images]
        self.first = 4 if recipe.background == "first" else 0

    def boxes(self, rows: Tensor, classes: Tensor) -> Tensor:
        """The boxes that suppression sees, (..., 4), of rows and their classes, each (...)."""
        if self.recipe.output_boxes == "proposals":
            return self.sources[rows]
        columns = self.first + 4 * classes[..., None] + torch.arange(4, device=classes.device)
        deltas = self.p.deltas[rows[..., None], columns]
        boxes = decode(deltas, self.sources[rows], self.recipe.box_weights, self.recipe.plus_one)
        return clip(boxes, self.limits[rows], self.recipe.plus_one)

    def outgoing(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Boxes in the original image, within its borders, (..., 4)."""
        boxes = self.boxes(rows, classes)
        if not self.recipe.plus_one:
            boxes = boxes * self.factors[rows]
        return clip(boxes, self.p.originals[self.p.images[rows]], False)


def select(p: Predictions, recipe: Recipe, selection: Selection) -> Chosen:
    """Choose each image's regions; always by descending score, ties by proposal index.

    The original keeps proposal order where the count lies within its limits; this does not, so that the first rows are
    the best in any case. An image of fewer proposals than `min_regions` keeps all of them.
    """
    device = p.logits.device
    batch, most = len(p.counts), max(p.counts, default=0)
    probabilities = object_probabilities(p.logits, recipe)
    attributes = attribute_probabilities(p.attributes, recipe)
    best, objects = probabilities.max(1) if len(probabilities) else (p.logits.new_zeros(0), p.images)
    attribute_scores, attribute_ids = attributes.max(1) if len(attributes) else (p.logits.new_zeros(0), p.images)
    frame = _Frame(p, recipe)

    counts = torch.tensor(p.counts, device=device)
    place = torch.arange(most, device=device)
    valid = place < counts[:, None]  # (B, N)
    rows = ((counts.cumsum(0) - counts)[:, None] + place).clamp(max=max(len(p.images) - 1, 0))  # (B, N)
    if most == 0:
        kept = torch.zeros(batch, 0, dtype=torch.bool, device=device)
        order = score = torch.zeros(batch, 0, device=device)
        order = order.long()
    else:
        if selection.rule == "original":
            score = _class_scores(probabilities, frame, rows, valid, recipe, selection)
            enough = (score >= selection.threshold).sum(1).clamp(selection.least, selection.max_regions)
        else:
            score = best[rows].masked_fill(~valid, -1.0)
            score, enough = _agnostic(score, objects, frame, rows, valid, recipe, selection)
        score, order = score.masked_fill(~valid, -1.0).sort(dim=1, descending=True, stable=True)
        kept = (place < enough[:, None]) & (score >= 0)
    chosen = rows.gather(1, order)[kept]
    return Chosen(
        rows=chosen,
        counts=kept.sum(1).tolist(),
        boxes=frame.outgoing(chosen, objects[chosen]),
        scores=score[kept],
        objects=objects[chosen],
        object_scores=best[chosen],
        attributes=attribute_ids[chosen],
        attribute_scores=attribute_scores[chosen],
    )


def _agnostic(
    score: Tensor,
    objects: Tensor,
    frame: _Frame,
    rows: Tensor,
    valid: Tensor,
    recipe: Recipe,
    selection: Selection,
) -> tuple[Tensor, Tensor]:
    """HF's rule: scores (B, N) with -1 where suppressed, and how many to keep (B,)."""
    score, order = score.sort(dim=1, descending=True, stable=True)
    rows, valid = rows.gather(1, order), valid.gather(1, order)
    boxes = frame.boxes(rows, objects[rows])
    keep = torch.zeros_like(valid)
    for threshold in selection.agnostic_nms:
        settled = keep.sum(1) >= max(selection.least, 1)
        now = greedy_nms(boxes, valid, overlap_bound(threshold, recipe.nms_inclusive), recipe.plus_one)
        keep = torch.where(settled[:, None], keep, now)
    kept = torch.full_like(score, -1.0).scatter_(1, order, score.masked_fill(~keep, -1.0))
    return kept, torch.full_like(order[:, 0], selection.max_regions)


def _class_scores(
    probabilities: Tensor,
    frame: _Frame,
    rows: Tensor,
    valid: Tensor,
    recipe: Recipe,
    selection: Selection,
) -> Tensor:
    """Each box's best score among the classes in which it survives suppression, (B, N), 0 where in none.

    Suppression within a class goes by descending score, so a score's fate hangs on higher scores only: with all scores
    of at least `t`, results of at least `t` are exact. They decide the selection where `t` is the selection's own
    threshold and enough boxes reach it. Where they do not, `t` is lowered to the image's `BEST`th best score, and where
    that is not enough either, all scores take part.
    """
    bound = overlap_bound(selection.class_nms, recipe.nms_inclusive)
    wanted = valid.sum(1).clamp(max=selection.least)
    score = torch.zeros(rows.shape, device=rows.device)
    todo = torch.arange(len(rows), device=rows.device)
    for lowered in (False, True):
        own = probabilities[rows[todo]].masked_fill(~valid[todo, :, None], -1.0)  # (b, N, C)
        level = torch.full((len(todo),), selection.threshold, device=rows.device)
        if lowered:
            best = own.flatten(1).topk(min(BEST, own[0].numel()), dim=1).values[:, -1]
            level = torch.minimum(level, best.clamp(min=0))
        most = int((own >= level[:, None, None]).flatten(1).sum(1).max())
        if most > 2 * BEST:  # many equal scores
            break
        score[todo] = _survivors(own, level, most, frame, rows[todo], bound, recipe)
        reached = (score[todo] >= level[:, None]) & valid[todo]
        todo = todo[reached.sum(1) < wanted[todo]]
        if len(todo) == 0:
            return score
    for image in todo.tolist():
        count = int(valid[image].sum())
        score[image, :count] = _all_survivors(probabilities, frame, rows[image, :count], bound, recipe)
    return score


def _survivors(
    own: Tensor, level: Tensor, most: int, frame: _Frame, rows: Tensor, bound: float, recipe: Recipe
) -> Tensor:
    """Best surviving score of each box among the scores of at least `level`, (b, N, C) -> (b, N)."""
    result = torch.zeros(own.shape[:2], device=own.device)
    if most == 0:
        return result
    step = max(PAIRS // (most * most), 1)
    for start in range(0, len(own), step):
        part = slice(start, start + step)
        image, place, label = (own[part] >= level[part, None, None]).nonzero(as_tuple=True)
        count = image.bincount(minlength=len(own[part]))
        column = torch.arange(len(image), device=own.device) - (count.cumsum(0) - count)[image]
        shape = (len(count), most)

        def spread(values: Tensor, fill: float, shape: tuple[int, int], at: tuple[Tensor, Tensor]) -> Tensor:
            table = torch.full(shape, fill, dtype=values.dtype, device=values.device)
            table[at] = values
            return table

        at = (image, column)
        value = spread(own[part][image, place, label], -1.0, shape, at)
        value, order = value.sort(dim=1, descending=True, stable=True)
        places = spread(place, 0, shape, at).gather(1, order)
        labels = spread(label, 0, shape, at).gather(1, order)
        boxes = frame.boxes(rows[part].gather(1, places), labels)
        keep = greedy_nms(boxes, value >= 0, bound, recipe.plus_one, labels)
        result[part] = result[part].scatter_reduce(1, places, value.masked_fill(~keep, 0.0), "amax")
    return result


def _all_survivors(probabilities: Tensor, frame: _Frame, rows: Tensor, bound: float, recipe: Recipe) -> Tensor:
    """Best surviving score of each box of one image among all its scores, (N,), some classes at a time."""
    own = probabilities[rows].T  # (C, N)
    step = max(PAIRS // (len(rows) ** 2), 1)
    result = own.new_zeros(len(rows))
    for start in range(0, len(own), step):
        value, order = own[start : start + step].sort(dim=1, descending=True, stable=True)
        labels = torch.arange(start, start + len(value), device=own.device)[:, None].expand_as(order)
        boxes = frame.boxes(rows[order], labels)
        keep = greedy_nms(boxes, torch.ones_like(value, dtype=torch.bool), bound, recipe.plus_one)
        alive = torch.zeros_like(value).scatter(1, order, value.masked_fill(~keep, 0.0))
        result = torch.maximum(result, alive.amax(0))
    return result
