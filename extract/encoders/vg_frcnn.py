"""The encoder `vg-frcnn`: regions of the Visual Genome Faster R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ...errors import WeightsError
from ..config import EncoderConfig
from ..frcnn.checkpoints import load_network, read_checkpoint
from ..frcnn.detector import Detector
from ..frcnn.initial import randomize
from ..frcnn.network import FasterRCNN
from ..frcnn.preprocess import PreparedImage, prepare
from ..frcnn.recipe import ARCHITECTURES, RECIPES, Architecture, Recipe
from ..frcnn.selection import RegionSelection
from ..frcnn.vocabulary import find_vocabulary
from ..weights.detector import detector_needs, get_detector_weights
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec, state_sha256

INSTALL_DETECTRON2 = (
    "pip install 'setuptools<81' wheel && pip install --no-build-isolation"
    " 'git+https://github.com/facebookresearch/detectron2.git'"
)


class VGFasterRCNN:
    """The encoder of regions by the Visual Genome Faster R-CNN, from a checkpoint of any family or random weights.

    Args:
        config: weights, recipe, selection, backend and names; see its fields.
        device: where it runs.
        batch_size: images that pass through the backbone together; by default what suits the device.
        recipe: a recipe instead of the one that `config` names.
        architecture: other layer sizes than the public checkpoints'.

    Attributes:
        spec: everything that decides the numbers.
        batch_size: images a batch.
        batches_at_once: batches that are best encoded together: of images of similar size, one beside the other.
        vocabulary: names of the ids, where there are any.

    Raises:
        WeightsError: the checkpoint or a vocabulary is missing, damaged or of another kind; or the backend detectron2
            is not installed.
    """

    def __init__(
        self,
        config: EncoderConfig,
        device: torch.device,
        *,
        batch_size: int | None = None,
        recipe: Recipe | None = None,
        architecture: Architecture | None = None,
    ) -> None:
        rule: Any = config.detector_selection  # checked by `RegionSelection`
        selection = RegionSelection(rule, config.max_regions, config.min_regions)
        if recipe is None and config.detector_recipe is not None:
            recipe = RECIPES[config.detector_recipe]
        path, anchors = None, "recipe"
        weights: dict[str, Any]
        seed = config.seed_of("regions")
        if seed is None:
            path = get_detector_weights(config.detector_weights)
            checkpoint = read_checkpoint(path, recipe=recipe, architecture=architecture)
            network = load_network(checkpoint, architecture)
            weights = {"file": path.name, "sha256": checkpoint.sha256}
            anchors = "file" if checkpoint.own_anchors else anchors
        else:
            recipe = recipe or RECIPES["hf"]
            network = FasterRCNN(architecture or ARCHITECTURES[recipe.family], recipe)
            randomize(network, seed)
            weights = {"random_init": seed, "sha256": state_sha256(network)}
        self.recipe, sizes = network.recipe, network.architecture
        self.vocabulary = find_vocabulary(
            path,
            objects=config.object_names,
            attributes=config.attribute_names,
            object_count=sizes.classes,
            attribute_count=sizes.attributes,
        )
        self.batch_size = batch_size or (1 if device.type == "cpu" else 16)
        self.batches_at_once = 1 if device.type == "cpu" else 4
        self.spec = EncoderSpec(
            kind="regions",
            name=config.regions,
            weights=weights,
            preprocessing={
                "recipe": self.recipe.as_dict(),
                "anchors": anchors,
                "selection": selection.as_dict(),
                "compute_dtype": config.compute_dtype,
                "backend": config.detector_backend,
            },
            dims={
                "feature": sizes.feature_dim,
                "objects": sizes.classes,
                "attributes": sizes.attributes,
                "max_regions": selection.max_regions,
            },
        )
        self.detector: Callable[[Sequence[PreparedImage]], list[Arrays]]
        if config.detector_backend == "detectron2":
            if config.compute_dtype != "float32":
                raise ValueError(f"the backend detectron2 computes in float32, not in {config.compute_dtype}")
            self.detector = _detectron2()(network, selection, device=device)
        else:
            dtype: torch.dtype = getattr(torch, config.compute_dtype)
            self.detector = Detector(network, selection, device=device, compute_dtype=dtype, batch_size=self.batch_size)

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return detector_needs(config.detector_weights)

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """Return an image, (H, W, 3) uint8 RGB, resized and in the network's channel order; safe in threads."""
        return prepare(image, self.recipe)

    def encode(self, prepared: list[PreparedImage]) -> list[Arrays]:
        """Return the regions of each image, in order."""
        return self.detector(prepared)


def _detectron2() -> Callable[..., Callable[[Sequence[PreparedImage]], list[Arrays]]]:
    """Return the detector made of detectron2's parts.

    Raises:
        WeightsError: detectron2 is not installed, or cannot be imported.
    """
    try:
        from ..frcnn.detectron import Detectron2Detector
    except ImportError as error:
        raise WeightsError(
            "the detector backend detectron2 cannot be used: detectron2 cannot be imported",
            expected="detectron2, compiled against the torch that is installed here",
            found=f"{type(error).__name__}: {error}",
            next_step="install it from its repository, or use --detector-backend itin, which needs no more than torch:"
            f"\n            {INSTALL_DETECTRON2}",
        ) from error
    return Detectron2Detector
