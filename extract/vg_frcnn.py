"""The encoder `vg-frcnn`: regions of the Visual Genome Faster R-CNN."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .encoders import Arrays, EncoderSpec, state_sha256
from .frcnn.checkpoints import load_network, read_checkpoint
from .frcnn.detector import Detector
from .frcnn.initial import randomize
from .frcnn.network import FasterRCNN
from .frcnn.preprocess import Prepared, prepare
from .frcnn.recipe import ARCHITECTURES, RECIPES, Architecture, Recipe
from .frcnn.selection import Selection
from .frcnn.vocabulary import Vocabulary, find_vocabulary

NAME = "vg-frcnn"
COMPUTE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class VGFasterRCNN:
    """Regions by the Visual Genome Faster R-CNN; made by `load` or `random_init`. An `ImageEncoder`.

    Attributes:
        spec: all that decides the numbers.
        batch_size: images that `encode` takes through the backbone together.
        vocabulary: names of the ids, where there are any.
    """

    def __init__(
        self,
        network: FasterRCNN,
        weights: dict[str, Any],
        *,
        device: torch.device | str = "cpu",
        selection: Selection | None = None,
        batch_size: int | None = None,
        compute_dtype: str = "float32",
        own_anchors: bool = False,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        if compute_dtype not in COMPUTE_DTYPES:
            raise ValueError(f"compute_dtype is one of {', '.join(COMPUTE_DTYPES)}, got {compute_dtype!r}")
        device = torch.device(device)
        selection = selection or Selection()
        self.recipe = network.recipe
        self.vocabulary = vocabulary or Vocabulary()
        self.batch_size = batch_size or (1 if device.type == "cpu" else 16)
        self.spec = EncoderSpec(
            kind="regions",
            name=NAME,
            weights=weights,
            preprocessing={
                "recipe": self.recipe.as_dict(),
                "anchors": "file" if own_anchors else "recipe",
                "selection": selection.as_dict(),
                "compute_dtype": compute_dtype,
            },
            dims={
                "feature": network.architecture.feature_dim,
                "objects": network.architecture.classes,
                "attributes": network.architecture.attributes,
                "max_regions": selection.max_regions,
            },
        )
        self.detector = Detector(
            network,
            selection,
            device=device,
            compute_dtype=COMPUTE_DTYPES[compute_dtype],
            batch_size=self.batch_size,
        )

    @classmethod
    def load(
        cls,
        weights: Path,
        *,
        device: torch.device | str = "cpu",
        max_regions: int = 36,
        min_regions: int | None = None,
        batch_size: int | None = None,
        compute_dtype: str = "float32",
        selection: str = "original",
        recipe: Recipe | str | None = None,
        objects: Path | None = None,
        attributes: Path | None = None,
        architecture: Architecture | None = None,
    ) -> VGFasterRCNN:
        """The detector of a checkpoint, whichever family it is of.

        Args:
            weights: the checkpoint.
            device: where it runs.
            max_regions: the most regions that an image keeps.
            min_regions: the least, where there are as many proposals; see `Selection`.
            batch_size: images a batch; by default what suits the device.
            compute_dtype: `float32`, `bfloat16` or `float16`, for the convolutions.
            selection: `original` or `hf`.
            recipe: one of `RECIPES` or one's own instead of the file's.
            objects: object names, one a line; by default `objects_vocab.txt` beside the checkpoint where there is one.
            attributes: attribute names, likewise `attributes_vocab.txt`.
            architecture: other layer sizes than the public checkpoints'.

        Raises:
            WeightsError: the checkpoint or a vocabulary is missing, damaged or of another kind.
        """
        rule = _selection(selection, max_regions, min_regions)
        checkpoint = read_checkpoint(weights, recipe=recipe, architecture=architecture)
        network = load_network(checkpoint, architecture)
        sizes = network.architecture
        return cls(
            network,
            {"file": weights.name, "sha256": checkpoint.sha256},
            device=device,
            selection=rule,
            batch_size=batch_size,
            compute_dtype=compute_dtype,
            own_anchors=checkpoint.own_anchors,
            vocabulary=find_vocabulary(
                weights,
                objects=objects,
                attributes=attributes,
                object_count=sizes.classes,
                attribute_count=sizes.attributes,
            ),
        )

    @classmethod
    def random_init(
        cls,
        seed: int,
        *,
        recipe: Recipe | str = "hf",
        device: torch.device | str = "cpu",
        max_regions: int = 36,
        min_regions: int | None = None,
        batch_size: int | None = None,
        compute_dtype: str = "float32",
        selection: str = "original",
        architecture: Architecture | None = None,
    ) -> VGFasterRCNN:
        """The detector with seeded random weights; arguments as in `load`."""
        if isinstance(recipe, str):
            if recipe not in RECIPES:
                raise ValueError(f"there is no detector recipe {recipe!r}; there are {', '.join(RECIPES)}")
            recipe = RECIPES[recipe]
        rule = _selection(selection, max_regions, min_regions)
        network = randomize(FasterRCNN(architecture or ARCHITECTURES[recipe.family], recipe), seed)
        return cls(
            network,
            {"random_init": seed, "sha256": state_sha256(network)},
            device=device,
            selection=rule,
            batch_size=batch_size,
            compute_dtype=compute_dtype,
        )

    def prepare(self, image: np.ndarray) -> Prepared:
        """One (H, W, 3) uint8 RGB image, resized and in the network's channel order; safe in threads."""
        return prepare(image, self.recipe)

    def encode(self, prepared: list[Prepared]) -> list[Arrays]:
        """Regions of each image, in order."""
        return self.detector(prepared)


def _selection(rule: str, max_regions: int, min_regions: int | None) -> Selection:
    return replace(Selection(max_regions=max_regions, min_regions=min_regions), rule=rule)  # type: ignore[arg-type]
