"""Ragged sequences -> one padded batch and its mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mask_of(lengths: Tensor, n: int) -> Tensor:
    """Return the mask (B, n) bool that is True at the first `lengths[b]` places of row b.

    Args:
        lengths: (B,) integers from 0 to n; further axes may stand before it.
        n: the padded length.
    """
    return torch.arange(n, device=lengths.device) < lengths[..., None]


def pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack sequences of different lengths, padded with zeros to the longest of them.

    Args:
        sequences: at least one tensor (n_i, E), n_i from 0, all of one E, dtype and device.

    Returns:
        (B, n, E) and the mask (B, n) bool.

    Raises:
        ValueError: no sequence, or one of another shape.
    """
    if not sequences:
        raise ValueError("sequences: expected at least one, got none")
    for i, one in enumerate(sequences):
        if one.ndim != 2 or one.shape[1] != sequences[0].shape[-1]:
            raise ValueError(f"sequences[{i}]: expected (n, {sequences[0].shape[-1]}), got {tuple(one.shape)}")
    lengths = torch.tensor([len(one) for one in sequences], device=sequences[0].device)
    mask = mask_of(lengths, int(lengths.max()))
    padded = sequences[0].new_zeros(*mask.shape, sequences[0].shape[1])
    padded[mask] = torch.cat(list(sequences))
    return padded, mask
