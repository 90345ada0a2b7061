"""The encoder `vg-frcnn`: regions of the Visual Genome Faster R-CNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import WeightsError
from .config import BACKENDS
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
INSTALL_DETECTRON2 = (
    "pip install 'setuptools<81' wheel && pip install --no-build-isolation"
    " 'git+https://github.com/facebookresearch/detectron2.git'"
)
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
        backend: str = "itin",
        own_anchors: bool = False,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        if compute_dtype not in COMPUTE_DTYPES:
            raise ValueError(f"compute_dtype is one of {', '.join(COMPUTE_DTYPES)}, got {compute_dtype!r}")
        if backend not in BACKENDS:
            raise ValueError(f"backend is one of {', '.join(BACKENDS)}, got {backend!r}")
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
                "backend": backend,
            },
            dims={
                "feature": network.architecture.feature_dim,
                "objects": network.architecture.classes,
                "attributes": network.architecture.attributes,
                "max_regions": selection.max_regions,
            },
        )
        self.detector: Callable[[Sequence[Prepared]], list[Arrays]]
        if backend == "detectron2":
            if compute_dtype != "float32":
                raise ValueError(f"the backend detectron2 computes in float32, not in {compute_dtype}")
            self.detector = _detectron2()(network, selection, device=device)
        else:
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
        backend: str = "itin",
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
            backend: `itin` or `detectron2`.
            objects: object names, one a line; by default `objects_vocab.txt` beside the checkpoint where there is one.
            attributes: attribute names, likewise `attributes_vocab.txt`.
            architecture: other layer sizes than the public checkpoints'.

        Raises:
            WeightsError: the checkpoint or a vocabulary is missing, damaged or of another kind; or detectron2 is to
                compute and is not installed.
        """
        rule = _selection(selection, max_regions, min_regions)
        checkpoint = read_checkpoint(weights, recipe=recipe, architecture=architecture)
        network = load_network(checkpoint, architecture)
        return cls(
            network,
            {"file": weights.name, "sha256": checkpoint.sha256},
            device=device,
            selection=rule,
            batch_size=batch_size,
            compute_dtype=compute_dtype,
            backend=backend,
            own_anchors=checkpoint.own_anchors,
            vocabulary=_vocabulary(network, weights, objects, attributes),
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
        backend: str = "itin",
        objects: Path | None = None,
        attributes: Path | None = None,
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
            backend=backend,
            vocabulary=_vocabulary(network, None, objects, attributes),
        )

    def prepare(self, image: np.ndarray) -> Prepared:
        """One (H, W, 3) uint8 RGB image, resized and in the network's channel order; safe in threads."""
        return prepare(image, self.recipe)

    def encode(self, prepared: list[Prepared]) -> list[Arrays]:
        """Regions of each image, in order."""
        return self.detector(prepared)


def _selection(rule: str, max_regions: int, min_regions: int | None) -> Selection:
    return replace(Selection(max_regions=max_regions, min_regions=min_regions), rule=rule)  # type: ignore[arg-type]


def _vocabulary(network: FasterRCNN, weights: Path | None, objects: Path | None, attributes: Path | None) -> Vocabulary:
    sizes = network.architecture
    return find_vocabulary(
        weights,
        objects=objects,
        attributes=attributes,
        object_count=sizes.classes,
        attribute_count=sizes.attributes,
    )


def _detectron2() -> Callable[..., Callable[[Sequence[Prepared]], list[Arrays]]]:
    """The detector made of detectron2's parts.

    Raises:
        WeightsError: detectron2 is not installed, or cannot be imported.
    """
    try:
        from .frcnn.detectron import Detectron2Detector
    except ImportError as error:
        raise WeightsError(
            "the detector backend detectron2 cannot be used: detectron2 cannot be imported",
            expected="detectron2, compiled against the torch that is installed here",
            found=f"{type(error).__name__}: {error}",
            next_step="install it from its repository, or use --detector-backend itin, which needs no more than torch:"
            f"\n            {INSTALL_DETECTRON2}",
        ) from error
    return Detectron2Detector
