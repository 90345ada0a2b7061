"""The contract of trunks: vision models, from a decoded image to cells and a pooled vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch


@dataclass
class VisionInput:
    """One image on its way through a trunk."""

    pixels: torch.Tensor
    """The network's input: (3, height, width) float32, or its patches, (rows, columns, values)."""
    seen: tuple[float, float, float, float]
    """The rectangle of the original image that the cells cover together: x1, y1, x2, y2 in its pixels. What a
    processor crops and what a patch size cuts off lie outside."""
    size: tuple[int, int]
    """Width and height of the original image in pixels."""
    outputs: tuple[torch.Tensor, ...] | None = None
    """The cells (B, D, rows, columns), the pooled vectors (B, P), and further vectors where the trunk has them, of the
    batch that the image was in, float32, on the trunk's device; None before the forward pass."""
    row: int = 0
    """The image's row in them."""


class Trunk(Protocol):
    """A vision model: from a decoded image to cells and a pooled vector."""

    name: str
    """The name that selects it, as the identity of a store holds it."""
    weights: dict[str, Any]
    """Origin of the weights, as in `EncoderSpec.weights`."""
    preprocessing: dict[str, Any]
    """Everything else that changes a number: sizes, crop, interpolation, mean, deviation, prefix, layer."""
    cell_dim: int
    """Values a cell, D."""
    pooled_dim: int
    """Values of the pooled vector, P."""
    grid: tuple[int, int] | None
    """Rows and columns of regions unless the user asks for others; None: one region a cell."""
    device: torch.device

    def prepare(self, image: np.ndarray) -> VisionInput:
        """Return the input of an image, (H, W, 3) uint8 RGB; runs in worker threads."""
        ...

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return cells (B, D, rows, columns) and pooled vectors (B, P) of inputs of one shape, stacked.

        A trunk may return further vectors (B, any) for encoders of its own.
        """
        ...
