"""The precision of matrix products while heads are trained side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .config import PRECISIONS


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Let matrix products of float32 be taken in tf32, where the precision allows it and the device can.

    Raises:
        ValueError: none of `config.PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    before = torch.get_float32_matmul_precision()
    if precision != "float32":  # what autocast leaves in float32 needs no more than that either
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def lowered(head: Callable[..., Tensor], precision: str, device: torch.device) -> Callable[..., Tensor]:
    """Return the head with products, forward and backward, in bfloat16, where that is the precision.

    Args:
        head: returns logits.
        precision: one of `config.PRECISIONS`.
        device: where it computes.
    """
    if precision != "bfloat16":
        return head

    def logits(*batch: Any) -> Tensor:
        # Copies of the weights are not kept from one step to the next: a CUDA graph would read stale ones.
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            out = head(*batch)
        return out.float()

    return logits
