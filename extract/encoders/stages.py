"""The inner layers of EfficientNet-Lite0: what each channel of its stages finds most clearly, anywhere in the image."""

from __future__ import annotations

import torch

from ..config import EncoderConfig
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec
from .efficientnet_lite import STAGES
from .trunk import VisionInput
from .trunks import trunk_needs
from .vision import VisionEncoder

TRUNK = "efficientnet-lite0"
"""The trunk that it shares with the regions and the context of that name."""


class StageMaxima(VisionEncoder):
    """The encoder whose context is the maximum of each channel over all positions, stage after stage (`STAGES`).

    Args:
        config: its seed of random weights, if any, is that of the context.
        device: where it runs.
        batch_size: images a batch.
    """

    def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
        super().__init__(TRUNK, "context", config, device, batch_size)
        self.spec = EncoderSpec(
            kind="context",
            name=config.context_encoder,
            weights=self.trunk.weights,
            preprocessing={
                **self.trunk.preprocessing,
                "layer": f"maxima of blocks {', '.join(map(str, STAGES))}",
                "compute_dtype": config.compute_dtype,
            },
            dims={"feature": sum(STAGES.values())},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return trunk_needs(TRUNK)

    @torch.inference_mode()
    def encode(self, prepared: list[VisionInput]) -> list[Arrays]:
        """Return `context (744,)` of each prepared image."""
        return self._context(prepared, 2)
