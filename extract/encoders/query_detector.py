"""Regions of transformers' detectors with queries: DETR and its kin, YOLOS, OWLv2."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from ...cache.format.schema import canonical
from ...device import matmul_precision
from ...errors import WeightsError
from ...weights_file import cause_of, read_object
from ..config import EncoderConfig
from ..frcnn.vocabulary import Vocabulary
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec, state_sha256
from .detection import QUERY_DETECTORS, REFUSED, DetectorInput, in_batches, region_arrays
from .image_processor import load_processor, settings_of
from .pretrained import load_model, load_part, loading_error, locate, model_needs

BESIDE = {"architectures", "dtype", "id2label", "label2id", "torch_dtype", "transformers_version"}
"""Settings of config.json that change no number here; so do those whose name begins with an underscore."""


class QueryDetector:
    """The encoder of regions by a detector that answers a fixed number of queries, each a region.

    Args:
        config: `regions` is a model's name on the hub, or a folder that holds one. Queries are kept by descending
            score, ties by query index, at most `max_regions`.
        device: where it runs.
        batch_size: images a batch.

    Attributes:
        spec: everything that decides the numbers.
        batch_size: images a batch.
        vocabulary: names of the classes, where there are any.

    Raises:
        WeightsError: the detector cannot be used or loaded.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        name, seed = config.regions, config.seed_of("regions")
        settings = load_part(transformers.AutoConfig, name, "configuration")
        self._rule = _rule_of(name, settings.model_type)
        self._processor = load_processor(name, settings, untrained=seed is not None)
        if getattr(settings, "use_pretrained_backbone", False):  # the weights of the whole model follow
            settings.use_pretrained_backbone = False
        objectness = self._rule == "objectness"
        loader = (
            transformers.AutoModelForZeroShotObjectDetection if objectness else transformers.AutoModelForObjectDetection
        )
        weights: dict[str, Any] = {"file": name} if seed is None else {"random_init": seed}
        if seed is None:
            model = load_model(name, loader=loader, config=settings)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = loader.from_config(settings).float().eval().requires_grad_(False)
        weights["sha256"] = state_sha256(model)
        self._model = model.to(device)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self._most = config.max_regions
        self._masked = not objectness and "pixel_mask" in inspect.signature(model.forward).parameters
        self.batch_size = batch_size or (1 if device.type == "cpu" else 8)
        ids = range(0 if objectness else settings.num_labels)
        self.vocabulary = Vocabulary(tuple(str(settings.id2label.get(i, f"object {i}")) for i in ids) or None)
        try:
            (probe,) = self.encode([self.prepare(np.zeros((64, 48, 3), np.uint8))])
        except Exception as error:  # the library and its parts raise any exception
            raise loading_error(name, "model", f"it cannot encode an image: {cause_of(error)}") from error
        self.spec = EncoderSpec(
            kind="regions",
            name=Path(name).name if Path(name).is_dir() else name,
            weights=weights,
            preprocessing={
                "model_type": settings.model_type,
                "config_sha256": _config_sha256(name),
                "processor": settings_of(self._processor),
                "backend": getattr(self._processor, "backend", "pil"),
                "score": self._rule,
                "vector": "class embedding" if objectness else "last hidden state",
                "compute_dtype": config.compute_dtype,
            },
            dims={
                "feature": int(probe["regions"].shape[1]),
                "objects": len(ids),
                "attributes": 0,
                "max_regions": config.max_regions,
            },
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return model_needs(config.regions, "detector")

    def prepare(self, image: np.ndarray) -> DetectorInput:
        """Return an image, (H, W, 3) uint8 RGB, as the network's input; safe in threads."""
        given = self._processor(images=Image.fromarray(image), return_tensors="pt")
        names = ("pixel_values", "pixel_mask") if self._masked else ("pixel_values",)
        height, width = image.shape[:2]
        return DetectorInput({name: given[name][0] for name in names if name in given}, (width, height))

    @torch.inference_mode()
    def encode(self, prepared: list[DetectorInput]) -> list[Arrays]:
        """Return the regions of each prepared image, see `ImageEncoder`; without classes objects are unknown."""
        return in_batches(prepared, self.batch_size, self._run)

    def _run(self, tensors: dict[str, torch.Tensor], images: list[DetectorInput]) -> Iterator[Arrays]:
        tensors = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        with matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            outputs = self._objectness(**tensors) if self._rule == "objectness" else self._classes(**tensors)
        for image, vectors, boxes, scores, objects in zip(images, *outputs, strict=True):
            scores, order = scores.sort(descending=True, stable=True)
            order, scores = order[: self._most], scores[: self._most]
            yield region_arrays(vectors[order], self._corners(boxes[order], image), scores, objects[order], image.size)

    def _classes(self, **tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return vectors (B, queries, D), boxes, scores and classes of each query, by its best class."""
        outputs = self._model(**tensors)
        logits = outputs.logits.float()  # (B, queries, classes), with a last one for no object where there is a softmax
        each = logits.softmax(-1)[..., :-1] if self._rule == "softmax" else logits.sigmoid()
        scores, objects = each.max(-1)
        vectors = outputs.last_hidden_state[:, -logits.shape[1] :]  # YOLOS: the queries come after the patches
        return vectors, outputs.pred_boxes.float(), scores, objects

    def _objectness(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the same of OWLv2's patches, by its score of objects, without a text."""
        maps, *_ = self._model.image_embedder(pixel_values)  # (B, rows, columns, D)
        patches = maps.flatten(1, 2)
        _, vectors = self._model.class_predictor(patches)
        vectors = vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-6)  # as the model does before it meets a text
        boxes = self._model.box_predictor(patches, maps).float()
        scores = self._model.objectness_predictor(patches).float().sigmoid()
        return vectors, boxes, scores, torch.full_like(scores, -1, dtype=torch.long)

    def _corners(self, boxes: torch.Tensor, image: DetectorInput) -> torch.Tensor:
        """Return x1, y1, x2, y2 in pixels, of centres and sizes as shares of the image."""
        width, height = image.size
        if self._rule == "objectness" and self._processor.do_pad:  # shares of the square that the image was padded to
            width = height = max(image.size)
        x, y, w, h = boxes.unbind(-1)
        corners = torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], -1)
        return corners * torch.tensor([width, height, width, height], device=boxes.device)


def _rule_of(name: str, model_type: str) -> str:
    if model_type in QUERY_DETECTORS:
        return QUERY_DETECTORS[model_type]
    reason = REFUSED.get(model_type, "its outputs are not known here")
    raise WeightsError(
        f"{name} cannot give regions: {reason}",
        expected=f"a detector of one of the types {', '.join(QUERY_DETECTORS)}",
        found=f"model_type {model_type}",
        next_step="choose another --regions, for example facebook/detr-resnet-50 or google/owlv2-base-patch16-ensemble",
    )


def _config_sha256(name: str) -> str:
    """Return the digest of the settings in config.json that the weights alone do not decide, such as heads."""

    def kept(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: kept(one) for key, one in value.items() if key not in BESIDE and not key.startswith("_")}

    path = locate(name, "config.json")
    return hashlib.sha256(canonical(kept({} if path is None else read_object(path)))).hexdigest()
