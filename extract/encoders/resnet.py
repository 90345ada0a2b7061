"""Models of torchvision: their files of weights, and ResNets with ImageNet weights or, when asked for, random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

from ...errors import WeightsError
from ...weights_file import UnsoundFile, differences, read_state
from ..weights.origin import check_digest
from ..weights.requirement import WeightsRequirement
from ..weights.torchvision import CHECKPOINTS, checkpoint_path, fetch_checkpoint
from .contract import state_sha256

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


DATA = {"IMAGENET1K_V1": "ImageNet", "COCO_V1": "COCO"}
"""Torchvision's names of the weights that are taken -> the data that they were trained on."""


def weights_entry(name: str) -> Any:
    """Return torchvision's entry for a model's first weights on ImageNet, or on COCO for a detector."""
    return next(entry for entry in torchvision.models.get_model_weights(name) if entry.name in DATA)


def weights_url(name: str) -> str:
    """Return the URL of a model's weights."""
    return str(weights_entry(name).url)


def weights_path(name: str) -> Path:
    """Return the path of that file: `$ITIN_WEIGHTS/checkpoints`, else torch's `$TORCH_HOME/hub/checkpoints`."""
    return checkpoint_path(weights_url(name))


def torchvision_needs(encoder: str, name: str) -> WeightsRequirement:
    """Return the weights that an encoder with a model of torchvision needs; `name` is torchvision's."""
    path = weights_path(name)
    return WeightsRequirement(
        encoder,
        f"{name}, {DATA[weights_entry(name).name]}",
        str(path.parent),
        path if path.is_file() else None,
        f"downloaded when first used; by hand: {weights_url(name)}",
        {f"{CHECKPOINTS}/{path.name}": path} if path.is_file() else {},
        lambda: fetch(name),
    )


def load_resnet(name: str, random_init: int | None) -> tuple[Any, dict[str, Any]]:
    """Return a ResNet in evaluation mode, and the identity of its weights.

    Args:
        name: torchvision's name, for example `resnet18`.
        random_init: seed of random weights; None: ImageNet weights, downloaded by torch when missing.

    Raises:
        WeightsError: the weights are missing and cannot be downloaded, or are not those of this model.
    """
    if random_init is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_init)
            model = torchvision.models.get_model(name, weights=None)
        weights: dict[str, Any] = {"random_init": random_init}
    else:
        model = torchvision.models.get_model(name, weights=None)
        path = fetch(name)
        model.load_state_dict(state_of(name, path, model))
        weights = {"file": path.name}
    model.eval().requires_grad_(False)
    return model, {**weights, "sha256": state_sha256(model)}


def state_of(name: str, path: Path, model: Any) -> dict[str, torch.Tensor]:
    """Return the state in a file of weights.

    Args:
        name: torchvision's name of the model.
        path: the file, from `fetch`.
        model: a model with the names and shapes of the state.

    Raises:
        WeightsError: the file does not hold the state of this model.
    """
    try:
        state = read_state(path)
        counters = {key for key in model.state_dict() if key.endswith(".num_batches_tracked")}  # absent in old files
        shapes = {key: value.shape for key, value in model.state_dict().items() if key in state or key not in counters}
        different = differences(shapes, {key: value.shape for key, value in state.items()})
        if different is not None:
            raise UnsoundFile(f"the weights of another model: {different}")
    except UnsoundFile as fault:
        raise WeightsError(
            f"{path} does not hold the weights of {name}",
            expected=f"what {weights_url(name)} gives",
            found=fault.found,
            next_step="remove the file: it is downloaded again when it is needed, or put it there by hand",
        ) from fault
    return state


def fetch(name: str) -> Path:
    """Return the file with a model's weights, downloaded if need be.

    Raises:
        WeightsError: there is no file, and the network is unavailable or offline mode is on.
    """
    path = fetch_checkpoint(weights_url(name), f"the {DATA[weights_entry(name).name]} weights of {name}")
    check_digest(path)
    return path


def to_input(image: np.ndarray, size: int, shorter: int | None = None) -> torch.Tensor:
    """Resize an image without keeping the aspect, bilinear with antialiasing (Pillow's), and normalise it by ImageNet's
    mean and deviation.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: side of the result.
        shorter: resize the shorter side to this, keeping the aspect, and take the centre instead.

    Returns:
        (3, size, size) float32.
    """
    whole = Image.fromarray(image)
    if shorter is None:
        resized = whole.resize((size, size), Image.Resampling.BILINEAR)
    else:
        resized = center_crop(resize(whole, [shorter], InterpolationMode.BILINEAR), [size, size])
    scaled = torch.from_numpy(np.asarray(resized, dtype=np.float32) / 255).permute(2, 0, 1)
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
