"""The device to compute on."""

from __future__ import annotations

import re

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


def device_names(names: str) -> list[str]:
    """Return the names of the devices in a list such as `cuda:0,cuda:1`; `all` stands for every CUDA device.

    A single name is returned as it is, for `pick_device`. No device is touched: each belongs to another process.

    Raises:
        ValueError: a device of several does not exist here, or there is no CUDA device for `all`.
    """
    if names == "all":
        if not (count := torch.cuda.device_count()):
            raise ValueError("device 'all' is not available here: there is no CUDA device")
        return [f"cuda:{number}" for number in range(count)]
    found = [name.strip() for name in names.split(",")]
    for name in found if len(found) > 1 else ():
        if (cuda := re.fullmatch(r"cuda(?::(\d+))?", name)) is None:
            pick_device(name)
        elif int(cuda[1] or 0) >= (count := torch.cuda.device_count()):
            raise ValueError(f"device {name!r} is not available here: there are {count} CUDA devices")
    return found
