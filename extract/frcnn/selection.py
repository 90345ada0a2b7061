"""The selection of an image's proposals, with their order, boxes, classes and attributes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .boxes import class_nms, clip, decode, nms, overlap_bound
from .recipe import Recipe

BEST = 2048
"""Number of an image's scores that are examined first where too few boxes reach the threshold."""


@dataclass(frozen=True)
class RegionSelection:
    """The number of regions that an image keeps, and the rule of their selection."""

    rule: Literal["original", "hf"] = "original"
    """`original`: suppression within each class, each box's best surviving class score, every box of at least
    `threshold` within the limits. `hf`: one suppression over the boxes of the best class, with the next threshold
    where too few are left."""
    max_regions: int = 36
    """Upper limit of kept regions."""
    min_regions: int | None = None
    """Lower limit of kept regions, where there are as many proposals; by default 10 for `original` (or `max_regions`
    where that is less) and `max_regions` for `hf`."""
    threshold: float = 0.2
    """The score from which `original` keeps a box."""
    class_nms: float = 0.3
    """The IoU threshold of `original`."""
    agnostic_nms: tuple[float, ...] = (0.5, 0.6, 0.7)
    """The IoU thresholds of `hf`, tried in this order until at least `min_regions` are left; the last one's result is
    taken where none leaves as many."""

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
        """Return the fields that decide a number, and no others."""
        used = asdict(self) | {"min_regions": self.least}
        unused = ("agnostic_nms",) if self.rule == "original" else ("class_nms", "threshold")
        return {key: value for key, value in used.items() if key not in unused}


@dataclass(frozen=True)
class Predictions:
    """The second stage's predictions for a batch's proposals, image after image; R rows in all."""

    logits: Tensor
    """(R, classes + 1)."""
    deltas: Tensor
    """(R, 4 * classes), or with the background's four too."""
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
class SelectedRegions:
    """The kept rows of a batch, image after image, best first within an image; K rows in all."""

    rows: Tensor
    """(K,) row numbers in the predictions."""
    counts: list[int]
    """Kept rows of each image."""
    boxes: Tensor
    """(K, 4) in pixels of the original image."""
    scores: Tensor
    """(K,) the scores that order them."""
    objects: Tensor
    """(K,) the most probable class, counted without the background."""
    object_scores: Tensor
    """(K,) its probability; the background takes part in the softmax."""
    attributes: Tensor
    """(K,) the most probable attribute, counted without the background."""
    attribute_scores: Tensor
    """(K,) its probability."""


def object_probabilities(logits: Tensor, recipe: Recipe) -> Tensor:
    """Return the softmax over all classes, without the background's column: (R, classes + 1) -> (R, classes)."""
    probabilities = logits.softmax(1)
    return probabilities[:, 1:] if recipe.background == "first" else probabilities[:, :-1]


def attribute_probabilities(logits: Tensor, recipe: Recipe) -> Tensor:
    """Return the softmax of the attributes as in the family's own code, without a background: (R, attributes)."""
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
        """Return the boxes that suppression compares, (..., 4), of rows and their classes, each (...)."""
        if self.recipe.output_boxes == "proposals":
            return self.sources[rows]
        columns = self.first + 4 * classes[..., None] + torch.arange(4, device=classes.device)
        deltas = self.p.deltas[rows[..., None], columns]
        boxes = decode(deltas, self.sources[rows], self.recipe.box_weights, self.recipe.plus_one)
        return clip(boxes, self.limits[rows], self.recipe.plus_one)

    def original_boxes(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Return the boxes in the original image, within its borders, (..., 4)."""
        boxes = self.boxes(rows, classes)
        if not self.recipe.plus_one:
            boxes = boxes * self.factors[rows]
        return clip(boxes, self.p.originals[self.p.images[rows]], False)


def select(p: Predictions, recipe: Recipe, selection: RegionSelection) -> SelectedRegions:
    """Choose each image's regions; always by descending score, ties by proposal index.

    The original keeps proposal order where the count lies within its limits; this does not, so that the first rows are
    the best in any case. An image of fewer proposals than `min_regions` keeps all of them.
    """
    probabilities = object_probabilities(p.logits, recipe)
    attributes = attribute_probabilities(p.attributes, recipe)
    if not len(p.images):
        none = p.logits.new_zeros(0)
        return SelectedRegions(p.images, [0] * len(p.counts), p.proposals, none, p.images, none, p.images, none)
    best, objects = probabilities.max(1)
    attribute_scores, attribute_ids = attributes.max(1)
    frame = _Frame(p, recipe)
    found = []
    for rows in torch.split(torch.arange(len(p.images), device=p.images.device), p.counts):
        if selection.rule == "original":
            score = _class_scores(probabilities[rows], rows, frame, recipe, selection)
            enough = int((score >= selection.threshold).sum().clamp(selection.least, selection.max_regions))
        else:
            score, enough = best[rows], selection.max_regions
            rows = rows[score.argsort(descending=True, stable=True)]
            rows = rows[_agnostic(frame.boxes(rows, objects[rows]), recipe, selection)]
            score = best[rows]
        score, order = score.sort(descending=True, stable=True)
        found.append((rows[order[:enough]], score[:enough]))
    chosen = torch.cat([rows for rows, _ in found])
    return SelectedRegions(
        rows=chosen,
        counts=[len(rows) for rows, _ in found],
        boxes=frame.original_boxes(chosen, objects[chosen]),
        scores=torch.cat([score for _, score in found]),
        objects=objects[chosen],
        object_scores=best[chosen],
        attributes=attribute_ids[chosen],
        attribute_scores=attribute_scores[chosen],
    )


def _agnostic(boxes: Tensor, recipe: Recipe, selection: RegionSelection) -> Tensor:
    """Return the indices of an image's boxes, by descending score, that HF's rule keeps."""
    for threshold in selection.agnostic_nms:
        keep = nms(boxes, overlap_bound(threshold, recipe.nms_inclusive), recipe.plus_one)
        if len(keep) >= max(selection.least, 1):
            break
    return keep


def _class_scores(own: Tensor, rows: Tensor, frame: _Frame, recipe: Recipe, selection: RegionSelection) -> Tensor:
    """Return each box's best score among the classes where it survives suppression, (N, C) -> (N,), 0 where in none.

    Suppression within a class goes by descending score, so whether a score survives depends on higher scores only: with
    all scores of at least `t`, results of at least `t` are exact. They decide the selection where `t` is the
    selection's own threshold and enough boxes reach it. Otherwise `t` is lowered to the image's `BEST`th best score,
    and where that is not enough either, all scores take part.
    """
    bound = overlap_bound(selection.class_nms, recipe.nms_inclusive)
    score = own.new_zeros(len(own))
    for number in range(3):
        level = selection.threshold
        if number:
            level = min(level, float(own.flatten().topk(min(BEST, own.numel())).values[-1])) if number == 1 else 0.0
        place, label = (own >= level).nonzero(as_tuple=True)
        value, order = own[place, label].sort(descending=True, stable=True)
        place, label = place[order], label[order]
        keep = class_nms(frame.boxes(rows[place], label), label, bound, recipe.plus_one)
        score = own.new_zeros(len(own)).scatter_reduce(0, place[keep], value[keep], "amax")
        if int((score >= level).sum()) >= min(selection.least, len(own)):
            break
    return score
