"""Regions and context of a vision model: its patches or cells with their boxes, and its pooled vector.

One forward pass serves both kinds where both name the same model: the first encoder that meets an image keeps the
outputs on the image's input, and the second one takes them from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

from ...device import matmul_precision, to_host, wait_for
from ..config import EncoderConfig
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec, Kind
from .trunk import VisionInput
from .trunks import load_trunk, trunk_needs


class VisionEncoder:
    """What the encoders of both kinds share.

    Attributes:
        trunk: the model; encoders with the same trunk object take the same inputs.
        batch_size: images a batch.
    """

    def __init__(self, name: str, kind: Kind, config: EncoderConfig, device: torch.device, batch: int | None) -> None:
        self.trunk = load_trunk(name, device, config.seed_of(kind))
        self.batch_size = batch or 16
        self._autocast = config.compute_dtype == "bfloat16"

    def prepare(self, image: np.ndarray) -> VisionInput:
        """Return the input of an image, (H, W, 3) uint8 RGB; both kinds share it."""
        return self.trunk.prepare(image)

    def _run(self, inputs: list[VisionInput]) -> Iterator[tuple[list[int], tuple[torch.Tensor, ...]]]:
        """Yield the places of inputs that went through the trunk together, and their rows of its outputs.

        The trunk runs for those that have no outputs yet, those of one size together.
        """
        waiting = sorted((one for one in inputs if one.outputs is None), key=lambda one: one.pixels.shape)
        device = self.trunk.device
        for _, group in groupby(waiting, key=lambda one: one.pixels.shape):
            members = list(group)
            pixels = torch.stack([one.pixels for one in members]).to(device, memory_format=torch.channels_last)
            with matmul_precision(), torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
                outputs = tuple(output.float() for output in self.trunk.forward(pixels))
            for row, one in enumerate(members):
                one.outputs, one.row = outputs, row
        together: defaultdict[int, list[int]] = defaultdict(list)
        for place, one in enumerate(inputs):
            together[id(one.outputs)].append(place)
        for places in together.values():
            outputs, rows = inputs[places[0]].outputs or (), [inputs[place].row for place in places]
            if rows != list(range(len(outputs[0]))):
                outputs = tuple(output[rows] for output in outputs)
            yield places, outputs

    @torch.inference_mode()
    def _context(self, inputs: list[VisionInput], output: int) -> list[Arrays]:
        """Return `context` of each input: the trunk's output of that number."""
        found: list[Arrays] = [{} for _ in inputs]
        for places, outputs in self._run(inputs):
            for place, vector in zip(places, outputs[output].cpu().numpy(), strict=True):
                found[place] = {"context": vector}
        return found


class PatchRegions(VisionEncoder):
    """The encoder whose regions are a model's patches or cells, ordered by cosine with the pooled vector.

    Args:
        config: `regions` names the model; `max_regions` cells are kept, by descending cosine, ties by cell index (row
            by row); `region_grid` pools the cells to fewer, larger ones.
        device: where it runs.
        batch_size: images a batch.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        super().__init__(config.regions, "regions", config, device, batch_size)
        trunk = self.trunk
        self._grid = config.grid or trunk.grid
        self._max_regions = config.max_regions
        by_pooled = trunk.cell_dim == trunk.pooled_dim
        self._by_pooled = by_pooled
        self.spec = EncoderSpec(
            kind="regions",
            name=trunk.name,
            weights=trunk.weights,
            preprocessing={
                **trunk.preprocessing,
                "grid": "cells" if self._grid is None else list(self._grid),
                "order": f"cosine with the {'pooled vector' if by_pooled else 'mean cell'}",
                "compute_dtype": config.compute_dtype,
            },
            dims={"feature": trunk.cell_dim, "max_regions": config.max_regions},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return trunk_needs(config.regions)

    @torch.inference_mode()
    def encode(self, prepared: list[VisionInput]) -> list[Arrays]:
        """Return the regions of each prepared image, see `ImageEncoder`; objects and attributes are unknown."""
        found: list[Arrays] = [{} for _ in prepared]
        for places, (cells, pooled, *_) in self._run(prepared):
            regions = self._regions([prepared[place] for place in places], cells, pooled)
            for place, one in zip(places, regions, strict=True):
                found[place] = one
        return found

    def _regions(self, inputs: list[VisionInput], cells: torch.Tensor, pooled: torch.Tensor) -> Iterator[Arrays]:
        """Yield the regions of images with cells of one shape."""
        cells = cells.contiguous()  # in one layout, whatever the trunk's: sums round alike
        rows, columns = cells.shape[2:]
        grid = self._grid or (rows, columns)
        boxes = bin_boxes(rows, columns, grid)
        if grid != (rows, columns):
            cells = adaptive_avg_pool2d(cells, grid)
        vectors = cells.flatten(2).transpose(1, 2)  # (B, cells, D)
        center = pooled if self._by_pooled else vectors.mean(1)
        scores, order = cosine_similarity(vectors, center[:, None], dim=2).sort(dim=1, descending=True, stable=True)
        keep = min(self._max_regions, order.shape[1])
        order, scores = order[:, :keep], scores[:, :keep]
        kept = vectors.gather(1, order[:, :, None].expand(-1, -1, vectors.shape[2]))
        unknown, nothing = np.full(keep, -1, np.int32), np.zeros(keep, np.float32)
        regions, places, cosines = (to_host(part) for part in (kept, order, scores))
        seen = np.array([one.seen for one in inputs])
        corner, sides = seen[:, :2], seen[:, 2:] - seen[:, :2]
        scale, shift = (np.tile(each.astype(np.float32), 2)[:, None] for each in (sides, corner))
        inside = np.array([one.size * 2 for one in inputs], np.float32)[:, None]
        wait_for(self.trunk.device)
        # cells of a padded input end beyond the image
        clipped = (boxes[places.numpy()] * scale + shift).clip(0, inside)
        for own, corners, values in zip(regions.numpy(), clipped, cosines.numpy(), strict=True):
            yield {
                "regions": own,
                "boxes": corners,
                "scores": values,
                "objects": unknown,
                "object_scores": nothing,
                "attributes": unknown,
                "attribute_scores": nothing,
            }


class PooledContext(VisionEncoder):
    """The encoder whose context is a model's pooled vector.

    Args:
        config: `context_encoder` names the model.
        device: where it runs.
        batch_size: images a batch.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        super().__init__(config.context_encoder, "context", config, device, batch_size)
        trunk = self.trunk
        self.spec = EncoderSpec(
            kind="context",
            name=trunk.name,
            weights=trunk.weights,
            preprocessing={**trunk.preprocessing, "compute_dtype": config.compute_dtype},
            dims={"feature": trunk.pooled_dim},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return trunk_needs(config.context_encoder)

    @torch.inference_mode()
    def encode(self, prepared: list[VisionInput]) -> list[Arrays]:
        """Return `context (P,)` of each prepared image."""
        return self._context(prepared, 1)


def bin_boxes(rows: int, columns: int, grid: tuple[int, int]) -> np.ndarray:
    """Return x1, y1, x2, y2 of what each cell of a grid is pooled from, in an image of sides 1.

    Args:
        rows: rows of the feature map.
        columns: its columns.
        grid: rows and columns that `adaptive_avg_pool2d` pools it to: bins may overlap by one cell.

    Returns:
        (grid rows * grid columns, 4) float32, row by row.
    """

    def bounds(cells: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.arange(bins)
        return numbers * cells // bins / cells, -(-(numbers + 1) * cells // bins) / cells

    (top, bottom), (left, right) = bounds(rows, grid[0]), bounds(columns, grid[1])
    y, x = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return np.stack([left[x], top[y], right[x], bottom[y]], axis=1).astype(np.float32)
