"""EfficientNet-Lite0 as a trunk: trained on ImageNet, from an installed package instead of the hub.

The architecture is timm's, the weights are those of `efficientnet-pytorch`, whose names of layers `renamed` translates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...errors import WeightsError
from ...weights_file import UnsoundFile, differences, read_state
from ..weights.packaged import EFFICIENTNET_LITE0, folder_of, packaged_needs
from ..weights.requirement import INSTALL, WeightsRequirement
from .contract import state_sha256
from .trunk import VisionInput

ARCHITECTURE = "tf_efficientnet_lite0"
SIZE = 224
MEAN, SCALE = 127.0, 128.0
CPU_BATCH = 8
"""Images that a CPU takes at once: with more, the largest maps exceed 32 MB, which glibc gives back to the system and
asks for again at every layer (a third of the time)."""

BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks a stage: timm numbers them stage by stage, the file from first to last."""

STAGES = {2: 40, 3: 80, 4: 112, 5: 192, 6: 320}
"""The stages whose maxima are read, and the channels of each: its blocks are timm's `blocks.N`."""


class EfficientNetLite:
    """The trunk whose cells are the 7x7 positions of the last feature map, 1280 values each, and pooled their mean.

    Args:
        name: the name that selected it.
        device: where it runs.
        seed: seed of random weights; None: the trained ones.

    Raises:
        WeightsError: timm or the package of the weights is missing, of another version or changed.
    """

    cell_dim = pooled_dim = 1280
    grid = (3, 3)

    def __init__(self, name: str, device: torch.device, seed: int | None) -> None:
        self.name, self.device = name, device
        if seed is None:
            path = folder_of(EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights
            model = _architecture(0)
            load_published(model, path)
            self.weights = EFFICIENTNET_LITE0.identity
        else:
            model = _architecture(seed)
            self.weights = {"random_init": seed, "sha256": state_sha256(model)}
        model.reset_classifier(0)
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self.preprocessing = {
            "resize": [SIZE, SIZE],
            "interpolation": "bilinear-antialias",
            "mean": MEAN,
            "scale": SCALE,
            "layer": "head",
        }

    @staticmethod
    def needs(name: str) -> WeightsRequirement:
        """Return the weights that it needs."""
        return packaged_needs(name, EFFICIENTNET_LITE0)

    def prepare(self, image: np.ndarray) -> VisionInput:
        """Return the input of an image, (H, W, 3) uint8 RGB: squeezed to 224x224 by Pillow, (x - 127) / 128."""
        height, width = image.shape[:2]
        resized = np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy((resized.astype(np.float32) - MEAN) / SCALE).permute(2, 0, 1)
        return VisionInput(pixels, (0.0, 0.0, float(width), float(height)), (width, height))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return cells (B, 1280, 7, 7), pooled vectors (B, 1280) and maxima (B, 744) of inputs (B, 3, 224, 224).

        Maxima are over the positions of each channel of `STAGES`, stage by stage.
        """
        size = CPU_BATCH if pixels.device.type == "cpu" else len(pixels)
        parts = [self._layers(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        cells, maxima = (torch.cat(each) for each in zip(*parts, strict=True))
        return cells, cells.mean((2, 3)), maxima

    def _layers(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cells and maxima: timm's `forward_features`, stage by stage."""
        model, maxima = self._model, []
        x = model.bn1(model.conv_stem(pixels))
        for number, stage in enumerate(model.blocks):
            x = stage(x)
            if number in STAGES:
                maxima.append(x.amax((2, 3)))
        return model.bn2(model.conv_head(x)), torch.cat(maxima, 1)


def load_published(model: torch.nn.Module, path: Path) -> None:
    """Load a file of efficientnet-pytorch into timm's architecture, strictly.

    Raises:
        WeightsError: it holds something else.
    """
    try:
        state = renamed(read_state(path))
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        different = differences(shapes, {name: tuple(value.shape) for name, value in state.items()})
        if different is not None:
            raise UnsoundFile(f"the weights of another model: {different}")
    except UnsoundFile as fault:
        raise WeightsError(
            f"{path} does not hold the weights of EfficientNet-Lite0",
            expected=f"what {EFFICIENTNET_LITE0.name} {EFFICIENTNET_LITE0.version} was published with",
            found=fault.found,
            next_step=f"install it again: {INSTALL}",
        ) from fault
    model.load_state_dict(state)


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state under timm's names.

    `_blocks.N` becomes `blocks.stage.block`. Norms count from 1, not 0; within a block that expands they belong to
    conv_pw, conv_dw and conv_pwl, within the first one, which does not, to conv_dw and conv_pw.
    """
    places = [f"blocks.{stage}.{block}" for stage, blocks in enumerate(BLOCKS) for block in range(blocks)]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    expanding = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
    expanding |= {f"_bn{i}": f"bn{i + 1}" for i in range(3)}
    plain = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
    found = {}
    for name, value in state.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if block is None:
            layer, _, rest = name.partition(".")
            found[f"{top.get(layer, layer)}.{rest}"] = value
        else:
            number, layer, rest = int(block[1]), block[2], block[3]
            place = places[number] if number < len(places) else f"blocks.{number}"
            names = expanding if f"_blocks.{number}._expand_conv.weight" in state else plain
            found[f"{place}.{names.get(layer, layer)}.{rest}"] = value
    return found


def _architecture(seed: int) -> Any:
    try:
        import timm
    except ImportError as error:
        raise WeightsError(
            "efficientnet-lite0 needs the package timm, which is not installed",
            expected="timm, for the model's architecture",
            next_step=INSTALL,
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(ARCHITECTURE, pretrained=False)
    return model.eval().requires_grad_(False)
