"""Regions of torchvision's detectors: their own boxes, and the vector of the box head for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torchvision

from ...device import matmul_precision
from ...errors import WeightsError
from ..config import EncoderConfig
from ..frcnn.vocabulary import Vocabulary
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec, state_sha256
from .detection import DetectorInput, in_batches, region_arrays
from .resnet import fetch, state_of, torchvision_needs, weights_entry

THRESHOLD = 0.05
"""The score up to which torchvision's detectors drop a box."""
LEAST = 10
"""Regions that are kept at least, as those of vg-frcnn, where they may have any score."""
DETECTIONS = 100
"""Boxes that torchvision's detectors keep at most."""

NO_EPSILON = ("fasterrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn")
"""Detectors whose COCO weights were made with nothing added to the variances of their normalisation."""


class RegionHead:
    """The encoder of regions by a detector of torchvision with a head for regions (Faster, Mask and Keypoint R-CNN).

    Args:
        config: `regions` is the detector's name in torchvision. Boxes are those of the model, by descending score:
            the ones above its own threshold, at least `min_regions` (10), at most `max_regions`.
        device: where it runs.
        batch_size: images a batch.

    Attributes:
        spec: everything that decides the numbers.
        batch_size: images a batch.
        vocabulary: names of the classes.

    Raises:
        WeightsError: the detector has no vector for a region, or its weights cannot be loaded.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        name = config.regions
        model, weights = _load(name, config.seed_of("regions"), max(DETECTIONS, config.max_regions))
        heads = model.roi_heads
        heads.mask_head = heads.keypoint_head = None  # not used
        self._model = model.to(device)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self._most = config.max_regions
        self._least = min(LEAST, self._most) if config.min_regions is None else config.min_regions
        self.batch_size = batch_size or (1 if device.type == "cpu" else 8)
        self.vocabulary = Vocabulary(tuple(weights_entry(name).meta["categories"]))
        self.spec = EncoderSpec(
            kind="regions",
            name=name,
            weights=weights,
            preprocessing={
                "short_side": model.transform.min_size[-1],
                "long_side": model.transform.max_size,
                "mean": list(model.transform.image_mean),
                "deviation": list(model.transform.image_std),
                "interpolation": "bilinear",
                "proposals": [model.rpn._pre_nms_top_n["testing"], model.rpn._post_nms_top_n["testing"]],
                "proposal_nms": model.rpn.nms_thresh,
                "proposal_threshold": model.rpn.score_thresh,
                "threshold": THRESHOLD,
                "nms": heads.nms_thresh,
                "detections": heads.detections_per_img,
                "min_regions": self._least,
                "vector": "box head",
                "compute_dtype": config.compute_dtype,
            },
            dims={
                "feature": int(heads.box_predictor.cls_score.in_features),
                "objects": int(heads.box_predictor.cls_score.out_features),
                "attributes": 0,
                "max_regions": config.max_regions,
            },
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return torchvision_needs(config.regions, config.regions)

    def prepare(self, image: np.ndarray) -> DetectorInput:
        """Return an image, (H, W, 3) uint8 RGB, as the network's input; safe in threads."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
        prepared, _ = self._model.transform([pixels])
        height, width = image.shape[:2]
        return DetectorInput({"pixel_values": prepared.tensors[0]}, (width, height), prepared.image_sizes[0])

    @torch.inference_mode()
    def encode(self, prepared: list[DetectorInput]) -> list[Arrays]:
        """Return the regions of each prepared image, see `ImageEncoder`."""
        return in_batches(prepared, self.batch_size, self._run)

    def _run(self, tensors: dict[str, torch.Tensor], images: list[DetectorInput]) -> Iterator[Arrays]:
        model, heads = self._model, self._model.roi_heads
        pixels, inner = tensors["pixel_values"].to(self._device), [one.inner for one in images]
        with matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            maps = model.backbone(pixels)
            proposals, _ = model.rpn(torchvision.models.detection.image_list.ImageList(pixels, inner), maps)
            found = self._detect(maps, proposals, inner)
            vectors = heads.box_head(heads.box_roi_pool(maps, [one["boxes"] for one in found], inner))
        own = model.transform.postprocess(found, inner, [one.size[::-1] for one in images])
        each = vectors.split([len(one["scores"]) for one in found])
        for image, one, vector in zip(images, own, each, strict=True):
            yield region_arrays(vector, one["boxes"], one["scores"], one["labels"], image.size)

    def _detect(self, maps: Any, proposals: Any, inner: list[tuple[int, int]]) -> list[dict[str, torch.Tensor]]:
        """Return the boxes, scores and labels that are kept of each image; boxes in pixels of the network's input."""
        heads = self._model.roi_heads
        found, _ = heads(maps, proposals, inner)
        if any(len(one["scores"]) < self._least for one in found):
            heads.score_thresh = 0.0  # slow: every proposal in every class
            every, _ = heads(maps, proposals, inner)
            heads.score_thresh = THRESHOLD
            found = [
                one if len(one["scores"]) >= self._least else {key: value[: self._least] for key, value in more.items()}
                for one, more in zip(found, every, strict=True)
            ]
        return [{key: value[: self._most] for key, value in one.items()} for one in found]


def _load(name: str, seed: int | None, detections: int) -> tuple[Any, dict[str, Any]]:
    """Return a detector in evaluation mode and the identity of its weights."""
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    if not hasattr(model, "roi_heads"):
        raise WeightsError(
            f"{name} has no vector for a region: it reads boxes and classes from the feature map at once",
            expected="a detector of torchvision with a head for regions",
            next_step="choose --regions fasterrcnn_resnet50_fpn_v2, or another fasterrcnn_ or maskrcnn_ of torchvision",
        )
    limits = {"box_score_thresh": THRESHOLD, "box_detections_per_img": detections}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **limits)
    weights: dict[str, Any] = {"random_init": seed}
    if seed is None:
        path = fetch(name)
        model.load_state_dict(state_of(name, path, model))
        weights = {"file": path.name}
        for part in model.modules() if name in NO_EPSILON else ():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eps = 0.0
    model.eval().requires_grad_(False)
    return model, {**weights, "sha256": state_sha256(model)}
