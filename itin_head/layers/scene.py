"""The scene vector P of an image, for heads whose original reads one."""

from __future__ import annotations

from torch import Tensor

from ..head import mean_of


def scene_of(regions: Tensor, region_mask: Tensor) -> Tensor:
    """Return what stands in for a scene's features: the mean region (B, region_dim), zero where there is none.

    There is no store of scene features. `HeadSpec.stand_ins` of each head that calls this says so.
    """
    return mean_of(regions, region_mask)
