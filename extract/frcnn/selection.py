"""The selection of an image's proposals, with their order, boxes, classes and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    of_images = torch.split(torch.arange(len(p.images), device=p.images.device), p.counts)
    found = []
    if selection.rule == "original":
        on_host = torch.split(torch.arange(len(p.images)), p.counts)
        for rows, score in zip(on_host, _class_scores(probabilities, of_images, frame, recipe, selection), strict=True):
            enough = int((score >= selection.threshold).sum().clamp(selection.least, selection.max_regions))
            score, order = score.sort(descending=True, stable=True)
            found.append((rows[order[:enough]], score[:enough]))
    else:
        for rows in of_images:
            rows = rows[best[rows].argsort(descending=True, stable=True)]
            rows = rows[_agnostic(frame.boxes(rows, objects[rows]), recipe, selection)][: selection.max_regions]
            found.append((rows, best[rows]))
    chosen = torch.cat([rows for rows, _ in found]).to(p.images.device)
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


def _class_scores(
    probabilities: Tensor, of_images: Sequence[Tensor], frame: _Frame, recipe: Recipe, selection: RegionSelection
) -> Iterator[Tensor]:
    """Yield for each image its boxes' best scores among the classes where they survive suppression, (N,) on the CPU.

    A score is 0 where a box survives nowhere. Suppression within a class goes by descending score, so whether a score
    survives depends on higher scores only: with all scores of at least `t`, results of at least `t` are exact. They
    decide the selection where `t` is the selection's own threshold and enough boxes reach it. Otherwise `t` is lowered
    to the image's `BEST`th best score, and where that is not enough either, all scores take part.

    Args:
        probabilities: (R, C) of all images.
        of_images: the rows of each image, one image after the other.
        frame: the boxes of rows and classes.
        recipe: of the detector.
        selection: the rule.
    """

    def surviving(level: float, rows: Tensor) -> list[Tensor]:
        """Return places among the rows, classes, values and boxes of their scores of at least `level`, on the CPU."""
        own = probabilities[rows]
        place, label = (own >= level).nonzero(as_tuple=True)
        found = place, label, own[place, label], frame.boxes(rows[place], label)
        return [each.cpu() for each in found]

    bound = overlap_bound(selection.class_nms, recipe.nms_inclusive)

    def best_of(count: int, place: Tensor, label: Tensor, value: Tensor, boxes: Tensor) -> Tensor:
        """Return the best surviving score of each of `count` boxes, 0 where there is none."""
        value, order = value.sort(descending=True, stable=True)
        keep = class_nms(boxes[order], label[order], bound, recipe.plus_one)
        return value.new_zeros(count).scatter_reduce(0, place[order][keep], value[keep], "amax")

    place, *others = surviving(selection.threshold, torch.cat(list(of_images)))
    first = 0
    for rows in of_images:
        count = len(rows)
        own = slice(*torch.searchsorted(place, torch.tensor([first, first + count])).tolist())
        score = best_of(count, place[own] - first, *(each[own] for each in others))
        first += count
        level = selection.threshold
        for lower in (BEST, None):
            if int((score >= level).sum()) >= min(selection.least, count):
                break
            every = probabilities[rows].flatten()
            level = 0.0 if lower is None else min(level, float(every.topk(min(lower, len(every))).values[-1]))
            score = best_of(count, *surviving(level, rows))
        yield score
