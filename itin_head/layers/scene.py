"""The scene vector P of an image: the features of a second image encoder, or what stands in for them."""

from __future__ import annotations

from torch import Tensor

from ..config import HeadConfig
from ..extras import Extras
from ..head import expect, mean_of


def scene_size(config: HeadConfig) -> int:
    """Return the length of P."""
    return config.scene_dim if config.reads_scene else config.region_dim


def scene_of(config: HeadConfig, extras: Extras | None, regions: Tensor, region_mask: Tensor) -> Tensor:
    """Return P: the scene's features (B, scene_dim) where the head reads them, else what stands in for them.

    That is the mean region (B, region_dim), zero where there is none, as `HeadSpec.stand_ins` of each head that calls
    this says.

    Raises:
        ValueError: there are no such features, or of another length.
    """
    return given_scene(config, extras) if config.reads_scene else mean_of(regions, region_mask)


def given_scene(config: HeadConfig, extras: Extras | None) -> Tensor:
    """Return the scene's features (B, scene_dim); raise ValueError where there are none, or of another length."""
    if extras is None or extras.scene is None:
        raise ValueError(f"extras: expected a scene (B, {config.scene_dim}), got None")
    expect("extras.scene", extras.scene, ("B", config.scene_dim))
    return extras.scene
