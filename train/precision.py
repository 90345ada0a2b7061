"""The precision of matrix products while heads are trained side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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
