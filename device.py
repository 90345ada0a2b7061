"""The device to compute on."""

from __future__ import annotations

import torch

from .errors import first_line


def pick_device(name: str) -> torch.device:
    """Return a device by name: `auto` is the first CUDA device, else the CPU; other names are torch's.

    Raises:
        ValueError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not available here: {first_line(error)}") from error
    return device
