"""Which way to compute the GRU is the quickest for a run."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ...precision import matmul_precision
from ..config import GRUS
from . import compiled
from .packing import pack_words
from .recurrence import bigru

WORTH_BUILDING = 20e12
"""Operations of a run from which on building the C++ recurrence (some 15 seconds, once) is made up for."""


def operations(d: int, words: int, token_dim: int, epochs: int) -> float:
    """Return the floating-point operations of the GRU in one run.

    Args:
        d: hidden size.
        words: words of the training part.
        token_dim: length of a word feature.
        epochs: passes over it.
    """
    directions, gates, passes = 2, 3, 3  # forward, backward to the states, backward to the weights
    return 2.0 * directions * gates * passes * d * (token_dim + d) * words * epochs


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
    if gru == "fused" and (why := fused_fails(device)) is not None:
        raise ValueError(f"gru: fused cannot be had on device {device}: {why}")
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


def side_by_side(gru: str, device: torch.device, say: Callable[[str], None] = lambda message: None) -> str:
    """Return `fused` or `packed`, which heads side by side may take: cuDNN and the C++ part have no way for them.

    Args:
        gru: one of `GRUS`; with `auto` cells are fused on a CUDA device that `fused_fails` has nothing against.
        device: where to train.
        say: is told, in one line, why fused cells were wanted and could not be had.
    """
    if gru == "auto" and device.type == "cuda":
        if (why := fused_fails(device)) is None:
            return "fused"
        say(f"The GRU's cells run in PyTorch, slower: they could not be fused ({why})")
    return "fused" if gru == "fused" else "packed"


@functools.cache
@matmul_precision()
def fused_fails(device: torch.device) -> str | None:
    """Return why fused cells cannot be had on a device, after a small GRU in both ways; None if they can."""
    generator = torch.Generator().manual_seed(0)
    E, d, lengths = 8, 32, torch.tensor([5, 2, 0, 3])
    mask = torch.arange(5) < lengths[:, None]
    words = pack_words(torch.randn(4, 5, E, generator=generator).to(device), mask.to(device))
    shapes = (2, 3 * d, E), (2, 3 * d, d), (2, 3 * d), (2, 3 * d)
    weights = [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]
    results: list[list[Tensor]] = []
    try:
        for way in ("packed", "fused"):
            W_ih, W_hh, b_ih, b_hh = weights
            W = bigru(words.x, words.packing, W_ih, W_hh, b_ih, b_hh, recurrence=way)
            results.append([W.detach(), *torch.autograd.grad(W.square().sum(), weights)])
    except Exception as error:  # Triton, its compiler, the driver: each raises what it likes
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
    worst = max(float((one - other).abs().max() / one.abs().max()) for one, other in zip(*results, strict=True))
    return None if worst < 1e-4 else f"its numbers differ by {worst:.1g} of the largest"
