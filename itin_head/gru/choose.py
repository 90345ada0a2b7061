"""The choice of the fastest way to compute the GRU of a run."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from ...device import matmul_precision
from ..config import GRUS
from . import compiled
from .packing import pack_words
from .recurrence import bigru

WORTH_BUILDING = 0.5e12
"""Operations of a run above which compiling the C++ recurrence (some 3 seconds, once) pays off."""


def operations(d: int, words: int, token_dim: int, epochs: int) -> float:
    """Return the floating-point operations of the GRU in one run.

    Args:
        d: hidden size.
        words: words of the training part.
        token_dim: length of a word feature.
        epochs: passes over the training part.
    """
    directions, gates, passes = 2, 3, 3  # forward, backward to the states, backward to the weights
    return 2.0 * directions * gates * passes * d * (token_dim + d) * words * epochs


def choose(
    gru: str,
    device: torch.device,
    work: float,
    say: Callable[[str], None] = lambda message: warnings.warn(message, stacklevel=3),
) -> str:
    """Return how to compute the GRU, one of `recurrence.RECURRENCES`.

    `auto` depends on the run and the machine alone, not on what was built before, so that the same run gives the same
    numbers: C++ on a CPU with a compiler, where the run is long enough for building it to pay off; on a CUDA device
    `torch.nn.GRU`, which is cuDNN's there, one call where ours would start hundreds of small kernels.

    Args:
        gru: one of `GRUS`.
        device: where to train.
        work: `operations` of the run.
        say: called with one line that says why the C++ recurrence is not available.

    Raises:
        ValueError: `gru` is none of them, or is not available on the device or in the installation.
    """
    if gru not in GRUS:
        raise ValueError(f"gru: expected one of {', '.join(GRUS)}, got {gru!r}")
    if gru == "compiled" and device.type != "cpu":
        raise ValueError(f"gru: compiled runs on a CPU only, expected another one for device {device}")
    if gru == "fused" and device.type != "cuda":
        raise ValueError(f"gru: fused runs on a CUDA device only, expected another one for device {device}")
    if gru == "fused" and (why := fused_failure(device)) is not None:
        raise ValueError(f"gru: fused is not available on device {device}: {why}")
    if gru == "auto":
        worth_it = work >= WORTH_BUILDING and compiled.possible()
        fastest = {"cuda": "torch", "cpu": "compiled" if worth_it else "packed"}
        gru = fastest.get(device.type, "packed")
    if gru == "compiled":
        try:
            compiled.load()
        except compiled.BuildError as error:
            say(f"The GRU's steps run in PyTorch, a little slower: its C++ part could not be built ({error})")
            return "packed"
    return gru


def side_by_side(gru: str, device: torch.device, say: Callable[[str], None] = lambda message: None) -> str:
    """Return `fused` or `packed`: cuDNN and the C++ recurrence cannot compute heads side by side.

    Args:
        gru: one of `GRUS`; with `auto`, `fused` on a CUDA device where `fused_failure` finds none.
        device: where to train.
        say: called with one line that says why fused cells are not available.
    """
    if gru == "auto" and device.type == "cuda":
        if (why := fused_failure(device)) is None:
            return "fused"
        say(f"The GRU's cells run in PyTorch, slower: they could not be fused ({why})")
    return "fused" if gru == "fused" else "packed"


@functools.cache
@matmul_precision()
def fused_failure(device: torch.device) -> str | None:
    """Return why fused cells are not available on a device, after a trial on a small GRU; None if they are."""
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
    except Exception as error:  # Triton, its compiler and the driver raise errors of any class
        return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
    worst = max(float((one - other).abs().max() / one.abs().max()) for one, other in zip(*results, strict=True))
    return None if worst < 1e-4 else f"its numbers differ by {worst:.1g} of the largest"
