"""Context: one vector an image, the paper's V (512 from ResNet18; eq. 14)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ...device import matmul_precision
from ..config import EncoderConfig
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec
from .resnet import load_resnet, to_input, torchvision_needs

SIZE = 224
RESIZED = 256
CENTER = "-center"
"""Suffix of the name of an encoder that reads the centre of the image, not all of it squeezed into a square."""


class ResNetContext:
    """ResNet18 without its top layer on the image resized to 224x224, or on its centre.

    Args:
        config: its `context_encoder` is `resnet18`, or `resnet18-center`: the shorter side is resized to 256, and the
            middle 224x224 taken.
        device: where it runs.
        batch_size: images a batch.

    Raises:
        WeightsError: the weights cannot be loaded.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        name = config.context_encoder
        self._center = name.endswith(CENTER)
        model, weights = load_resnet(name.removesuffix(CENTER), config.seed_of("context"))
        feature = int(model.fc.in_features)
        model.fc = nn.Identity()
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self.batch_size = batch_size or 32
        self.spec = EncoderSpec(
            kind="context",
            name=name,
            weights=weights,
            preprocessing={
                **({"resize": RESIZED, "center_crop": SIZE} if self._center else {"resize": [SIZE, SIZE]}),
                "interpolation": "bilinear-antialias",
                "compute_dtype": config.compute_dtype,
            },
            dims={"feature": feature},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return torchvision_needs(config.context_encoder, config.context_encoder.removesuffix(CENTER))

    def prepare(self, image: np.ndarray) -> torch.Tensor:
        """Return an image, (H, W, 3) uint8 RGB, as the network's input, (3, 224, 224) float32."""
        return to_input(image, SIZE, RESIZED if self._center else None)

    @torch.inference_mode()
    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Return `context (512,)` for each prepared image."""
        batch = torch.stack(prepared).to(self._device, memory_format=torch.channels_last)
        with matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            vectors = self._model(batch).float().cpu().numpy()
        return [{"context": vector} for vector in vectors]
