"""The scene vector P of an image, for heads whose original reads one."""

from __future__ import annotations

from torch import Tensor

from ..config import HeadConfig
from ..head import mean_of


def scene_size(config: HeadConfig) -> int:
    """Return the length of P."""
    return config.scene_dim if config.reads_scene else config.region_dim


def scene_of(scene: Tensor | None, regions: Tensor, region_mask: Tensor) -> Tensor:
    """Return P: the scene's features (B, scene_dim) where the head reads them, else what stands in for them.

    That is the mean region (B, region_dim), zero where there is none, as `HeadSpec.stand_in` of each head that calls
    this says.
    """
    return mean_of(regions, region_mask) if scene is None else scene
