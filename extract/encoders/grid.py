"""Regions without a detector: the cells of a ResNet feature map, ordered by activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...device import matmul_precision
from ..config import EncoderConfig
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec
from .resnet import load_resnet, to_input, torchvision_needs


@dataclass(frozen=True)
class Grid:
    """The feature map of a grid encoder, and the order of its cells."""

    backbone: str
    """Name of the ResNet in torchvision."""
    layer: str
    """The last layer that runs, `layer1` to `layer4`."""
    size: int
    """Side in pixels to which the image is resized."""
    order: str = "mean activation"
    """Score of a cell: its mean activation, or its `distance from the mean cell` of the image, which tells small drawn
    objects from a bright, empty background (but would pick the padded border of deep maps)."""


GRIDS = {
    "grid": Grid("resnet50", "layer4", 448),
    "grid-resnet18": Grid("resnet18", "layer4", 224),
    "grid-small": Grid("resnet18", "layer1", 56, order="distance from the mean cell"),
}
"""The grid encoders by name: `grid` has 14x14 cells of 2048 values, `grid-resnet18` 7x7 cells of 512, and `grid-small`,
for small pictures and little time, 14x14 cells of 64."""


class GridRegions:
    """The encoder whose regions are the cells of a feature map, scored by `Grid.order`.

    Args:
        config: `regions` is one of `GRIDS`, `max_regions` how many cells are kept, by descending score, ties by cell
            index (row by row).
        device: where it runs.
        batch_size: images a batch.

    Raises:
        WeightsError: the weights cannot be loaded.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        self._grid = grid = GRIDS[config.regions]
        model, weights = load_resnet(grid.backbone, config.seed_of("regions"))
        parts = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
        trunk = nn.Sequential(*(getattr(model, part) for part in parts[: parts.index(grid.layer) + 1]))
        self._trunk = trunk.to(device).to(memory_format=torch.channels_last)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self._max_regions = config.max_regions
        self.batch_size = batch_size or 16
        with torch.inference_mode():
            feature = trunk(torch.zeros(1, 3, 64, 64, device=device)).shape[1]
        self.spec = EncoderSpec(
            kind="regions",
            name=config.regions,
            weights=weights,
            preprocessing={
                "backbone": grid.backbone,
                "layer": grid.layer,
                "resize": [grid.size, grid.size],
                "interpolation": "bilinear-antialias",
                "order": grid.order,
                "compute_dtype": config.compute_dtype,
            },
            dims={"feature": int(feature), "max_regions": config.max_regions},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return torchvision_needs(config.regions, GRIDS[config.regions].backbone)

    def prepare(self, image: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return the network's input and the (height, width) of an image, (H, W, 3) uint8 RGB."""
        return to_input(image, self._grid.size), (image.shape[0], image.shape[1])

    @torch.inference_mode()
    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Return the regions of each prepared image, see `ImageEncoder`; objects and attributes are unknown."""
        batch = torch.stack([tensor for tensor, _ in prepared]).to(self._device, memory_format=torch.channels_last)
        with matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            maps = self._trunk(batch).float()  # (B, D, rows, columns)
        cells = maps.flatten(2).transpose(1, 2)  # (B, rows * columns, D)
        if self._grid.order == "mean activation":
            activation = cells.mean(2)
        else:
            activation = (cells - cells.mean(1, keepdim=True)).norm(dim=2)
        scores, order = activation.sort(dim=1, descending=True, stable=True)
        keep = min(self._max_regions, cells.shape[1])
        order, scores = order[:, :keep], scores[:, :keep]
        kept = cells.gather(1, order[:, :, None].expand(-1, -1, cells.shape[2])).cpu().numpy()
        boxes = cell_boxes(maps.shape[2], maps.shape[3])[order.cpu().numpy()]  # (B, keep, 4), sides of 1
        unknown = np.full(keep, -1, np.int32)
        nothing = np.zeros(keep, np.float32)
        return [
            {
                "regions": kept[i],
                "boxes": boxes[i] * np.array([width, height, width, height], np.float32),
                "scores": scores[i].cpu().numpy(),
                "objects": unknown,
                "object_scores": nothing,
                "attributes": unknown,
                "attribute_scores": nothing,
            }
            for i, (_, (height, width)) in enumerate(prepared)
        ]


def cell_boxes(rows: int, columns: int) -> np.ndarray:
    """Return x1, y1, x2, y2 of each cell, row by row, in an image of sides 1: (rows * columns, 4) float32."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1).astype(np.float32)
