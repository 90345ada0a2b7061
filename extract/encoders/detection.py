"""Detectors by name: which class reads a name, and what the encoders with a detector share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import transformers

from ...weights_file import UnsoundFile, read_object
from .contract import Arrays
from .pretrained import load_part, locate

QUERY_DETECTORS = {
    "conditional_detr": "sigmoid",
    "d_fine": "sigmoid",
    "deformable_detr": "sigmoid",
    "detr": "softmax",
    "owlv2": "objectness",
    "rt_detr": "sigmoid",
    "rt_detr_v2": "sigmoid",
    "yolos": "softmax",
}
"""`model_type` in config.json -> how the score of a query follows from the outputs: the best class by a `sigmoid` a
class, or by a `softmax` whose last class is no object; or the query's own `objectness`."""

REFUSED = {
    "grounding-dino": "it finds what a text names, and regions here are made without a text",
    "mm-grounding-dino": "it finds what a text names, and regions here are made without a text",
    "omdet-turbo": "it finds what a text names, and regions here are made without a text",
    "owlvit": "it has no score of its own by which regions could be chosen; OWLv2 has one",
}
"""`model_type` of detectors that cannot be used -> why."""


@dataclass(frozen=True)
class DetectorInput:
    """One image on its way through a detector."""

    tensors: dict[str, torch.Tensor]
    """The inputs of the network by name, without the axis of the batch."""
    size: tuple[int, int]
    """Width and height of the original image in pixels."""
    inner: tuple[int, int] = (0, 0)
    """Height and width of the image within `pixel_values`, where these are padded."""


def detector_of(name: str, *, download: bool = True) -> str | None:
    """Return `module:Class` of the encoder for a detector's name; None: the name is not a detector's.

    Args:
        name: a detector of torchvision, or a model's name on the hub or its folder, whose config.json decides.
        download: whether config.json may be downloaded; without one the name is not known as a detector's.

    Raises:
        WeightsError: config.json cannot be downloaded or read.
    """
    if name in torchvision.models.list_models(module=torchvision.models.detection):
        return "torchvision_detector:RegionHead"
    if not (Path(name).is_dir() or (download and "/" in name) or locate(name, "config.json")):
        return None
    known = _model_type(name)
    others = transformers.models.auto.modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
    return "query_detector:QueryDetector" if known in {*QUERY_DETECTORS, *REFUSED, *others} else None


def _model_type(name: str) -> str | None:
    path = locate(name, "config.json")
    if path is not None and path.exists():
        with suppress(UnsoundFile):  # below it is reported
            found = read_object(path).get("model_type")
            return found if isinstance(found, str) else None
    return str(load_part(transformers.AutoConfig, name, "configuration").model_type)


def in_batches(
    inputs: list[DetectorInput],
    limit: int,
    run: Callable[[dict[str, torch.Tensor], list[DetectorInput]], Iterable[Arrays]],
) -> list[Arrays]:
    """Return the result of each input; those of one shape run together, so that none is padded to another's size.

    Args:
        inputs: the inputs.
        limit: inputs a batch.
        run: the function of a batch: the inputs of the network, and the images they come from.
    """

    def shape(i: int) -> tuple[int, ...]:
        return tuple(inputs[i].tensors["pixel_values"].shape)

    found: dict[int, Arrays] = {}
    for _, group in groupby(sorted(range(len(inputs)), key=shape), key=shape):
        rows = list(group)
        for start in range(0, len(rows), limit):
            members = rows[start : start + limit]
            batch = [inputs[i] for i in members]
            tensors = {key: torch.stack([one.tensors[key] for one in batch]) for key in batch[0].tensors}
            found.update(zip(members, run(tensors, batch), strict=True))
    return [found[i] for i in range(len(inputs))]


def region_arrays(vectors: Any, boxes: Any, scores: Any, objects: Any, size: tuple[int, int]) -> Arrays:
    """Return the arrays of an image's regions, see `ImageEncoder`; attributes are unknown.

    Args:
        vectors: (k, D) of the regions, by descending score.
        boxes: (k, 4) x1, y1, x2, y2 in pixels of the original image, clipped to it here.
        scores: (k,).
        objects: (k,) class ids, -1: unknown.
        size: width and height of the original image.
    """
    scores = scores.float().cpu().numpy()
    objects = objects.cpu().numpy().astype(np.int32)
    width, height = size
    return {
        "regions": vectors.float().cpu().numpy(),
        "boxes": boxes.float().cpu().numpy().clip(0, np.array([width, height] * 2, np.float32)),
        "scores": scores,
        "objects": objects,
        "object_scores": np.where(objects < 0, np.float32(0), scores),
        "attributes": np.full(len(scores), -1, np.int32),
        "attribute_scores": np.zeros(len(scores), np.float32),
    }
