"""The device to compute on, and the precision of float32 arithmetic there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from .errors import DOCTOR, first_line


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
        known = name.partition(":")[0] in ("cpu", "cuda", "mps", "xpu")  # torch names every backend it ever had
        reason = first_line(error) if known else "expected auto, cpu, cuda, cuda:1 or mps"
        raise ValueError(f"device {name!r} is not available here: {reason}; {DOCTOR}") from error
    return device


def device_names(names: str) -> list[str]:
    """Return the names of the devices in a list such as `cuda:0,cuda:1`; `all` stands for every CUDA device.

    A single name is returned as it is, for `pick_device`. No device is touched: each belongs to another process.

    Raises:
        ValueError: a device of several does not exist here, or there is no CUDA device for `all`.
    """
    if names == "all":
        if not (count := torch.cuda.device_count()):
            raise ValueError(f"device 'all' is not available here: there is no CUDA device; {DOCTOR}")
        return [f"cuda:{number}" for number in range(count)]
    found = [name.strip() for name in names.split(",")]
    for name in found if len(found) > 1 else ():
        if (cuda := re.fullmatch(r"cuda(?::(\d+))?", name)) is None:
            pick_device(name)
        elif int(cuda[1] or 0) >= (count := torch.cuda.device_count()):
            raise ValueError(f"device {name!r} is not available here: there are {count} CUDA devices; {DOCTOR}")
    return found


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the CPU. One from a CUDA device goes to pinned memory, and is there after `wait_for`."""
    return tensor.to("cpu", non_blocking=tensor.is_cuda)


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def matmul_precision(tf32: bool = False) -> Iterator[None]:
    """Set how matrix products, convolutions and cuDNN's GRU compute float32 on a CUDA device within the block.

    PyTorch's default is TensorFloat-32 for the last two. Works as a decorator too.

    Args:
        tf32: round inputs to TensorFloat-32 (10 bits) for tensor cores, instead of full float32.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]
