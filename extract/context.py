"""Context: one vector an image, the paper's V (512 from ResNet18; eq. 14)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..precision import products
from .encoders import Arrays, EncoderSpec
from .resnet import load_resnet, to_input

SIZE = 224
RESIZED = 256
CENTER = "-center"
"""At the end of an encoder's name: it sees the centre of the image, not all of it squeezed into a square."""


class ResNetContext:
    """ResNet18 without its top layer on the image resized to 224x224, or on its centre.

    Args:
        name: `resnet18`; `resnet18-center`: the shorter side resized to 256, and the middle 224x224 of that.
        random_init: seed of random weights, or None for ImageNet's.
        device: where it runs.
        compute_dtype: `float32`, or `bfloat16` for autocast.
        batch_size: images a batch.

    Raises:
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        name: str,
        *,
        random_init: int | None,
        device: torch.device,
        compute_dtype: str = "float32",
        batch_size: int = 32,
    ) -> None:
        self._center = name.endswith(CENTER)
        model, weights = load_resnet(name.removesuffix(CENTER), random_init)
        feature = int(model.fc.in_features)
        model.fc = nn.Identity()
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._device = device
        self._autocast = compute_dtype == "bfloat16"
        self.batch_size = batch_size
        self.spec = EncoderSpec(
            kind="context",
            name=name,
            weights=weights,
            preprocessing={
                **({"resize": RESIZED, "center_crop": SIZE} if self._center else {"resize": [SIZE, SIZE]}),
                "interpolation": "bilinear-antialias",
                "compute_dtype": compute_dtype,
            },
            dims={"feature": feature},
        )

    def prepare(self, image: np.ndarray) -> torch.Tensor:
        """(H, W, 3) uint8 RGB -> (3, 224, 224) float32."""
        return to_input(image, SIZE, RESIZED if self._center else None)

    @torch.inference_mode()
    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Prepared images -> `context (512,)` each."""
        batch = torch.stack(prepared).to(self._device, memory_format=torch.channels_last)
        with products(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            vectors = self._model(batch).float().cpu().numpy()
        return [{"context": vector} for vector in vectors]
