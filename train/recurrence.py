"""Which way to compute the GRU is the quickest for a run."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import torch

from ..itin_head import compiled
from .config import GRUS, TrainConfig

WORTH_BUILDING = 20e12
"""Operations of a run from which on building the C++ recurrence (some 15 seconds, once) is made up for."""


def operations(config: TrainConfig, words: int, token_dim: int) -> float:
    """Return the floating-point operations of the GRU in one run.

    Args:
        config: the recipe.
        words: words of the training part.
        token_dim: length of a word feature.
    """
    directions, gates, passes = 2, 3, 3  # forward, backward to the states, backward to the weights
    return 2.0 * directions * gates * passes * config.d * (token_dim + config.d) * words * config.epochs


def choose(
    gru: str,
    device: torch.device,
    work: float,
    say: Callable[[str], None] = lambda message: warnings.warn(message, stacklevel=3),
) -> str:
    """Return one of `itin_head.gru.RECURRENCES`.

    `auto` depends on the run and the machine alone, not on what was built before, so that the same run gives the same
    numbers: C++ on a CPU where the run is long enough to make up for building it; on a CUDA device `torch.nn.GRU`,
    which is cuDNN's there, one call where ours would start hundreds of small kernels.

    Args:
        gru: one of `GRUS`.
        device: where to train.
        work: `operations` of the run.
        say: is told, in one line, why C++ was wanted and could not be had.

    Raises:
        ValueError: `gru` is none of them, or asks for what the device or the installation does not have.
    """
    if gru not in GRUS:
        raise ValueError(f"gru: expected one of {', '.join(GRUS)}, got {gru!r}")
    if gru == "compiled" and device.type != "cpu":
        raise ValueError(f"gru: compiled runs on a CPU, expected another one for device {device}")
    if gru == "fused" and device.type != "cuda":
        raise ValueError(f"gru: fused runs on a CUDA device, expected another one for device {device}")
    if gru == "fused" and importlib.util.find_spec("triton") is None:
        raise ValueError("gru: fused needs Triton, which comes with torch for CUDA on Linux; none is installed")
    if gru == "auto":
        quickest = {"cuda": "torch", "cpu": "compiled" if work >= WORTH_BUILDING else "packed"}
        gru = quickest.get(device.type, "packed")
    if gru == "compiled":
        try:
            compiled.load()
        except compiled.BuildError as error:
            say(f"The GRU's steps run in PyTorch, a little slower: its C++ part could not be built ({error})")
            return "packed"
    return gru
