"""What computes here: torch, its devices and their memory, whether float32 is float32, memory, and a compiler."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import first_line
from .finding import Asked, Finding, bad, doubtful, gigabytes, good

LITTLE_MEMORY = 2e9
"""Bytes below which a memory is short for an extraction with the default encoders."""

DRIVER = Path("/proc/driver/nvidia/version")


def torch_here(asked: Asked) -> Iterator[Finding]:
    """Check that torch can be imported, and that it uses no more threads than this process has cores."""
    import torch

    from ..parts import cores

    threads, here = torch.get_num_threads(), cores()
    found = f"torch {torch.__version__}, {threads} thread{'s' * (threads != 1)} on {here} core{'s' * (here != 1)}"
    if threads > here:
        yield doubtful(f"{found}: they wait for each other", f"set OMP_NUM_THREADS={here}")
    else:
        yield good(found)


def devices(asked: Asked) -> Iterator[Finding]:
    """Compute on every CUDA device, and tell its memory; or tell why there is none."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(count):
        yield _cuda(number)
    if count:
        return
    if not (DRIVER.exists() or shutil.which("nvidia-smi")):
        yield good("cpu; no CUDA device", "extraction is many times faster on a GPU")
    elif torch.version.cuda is None and torch.version.hip is None:
        yield doubtful(
            "cpu alone: an NVIDIA driver is here, but this torch is built without CUDA",
            "install the torch for your driver: https://pytorch.org/get-started",
        )
    else:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = (
            f"CUDA_VISIBLE_DEVICES is {seen!r}" if seen is not None else f"torch is built for CUDA {torch.version.cuda}"
        )
        yield doubtful(
            f"cpu alone: an NVIDIA driver is here, but torch sees no device ({why})",
            "ask for a GPU from your scheduler, unset CUDA_VISIBLE_DEVICES, or update the driver (`nvidia-smi`)",
        )


def precision(asked: Asked) -> Iterator[Finding]:
    """Check that float32 products keep float32's digits, and tell the modes that each kind of device has."""
    import torch

    from ..device import matmul_precision

    names = ["cpu"] + ["cuda:0"] * torch.cuda.is_available()
    for name in names:
        one = torch.full((64, 64), 1 + 2.0**-14, device=name)  # rounds to 1 in TensorFloat-32 and in bfloat16
        with matmul_precision():
            kept = bool((one @ torch.eye(64, device=name) == one).all())
        if not kept:
            switches = "NVIDIA_TF32_OVERRIDE, ONEDNN_DEFAULT_FPMATH_MODE"
            yield bad(f"{name}: float32 products are rounded to fewer digits", f"unset {switches}, and try again")
            continue
        modes = ["float32"]
        if name != "cpu":
            modes += ["TensorFloat-32"] * (torch.cuda.get_device_capability(0) >= (8, 0))
            modes += ["bfloat16"] * torch.cuda.is_bf16_supported()
        else:
            modes.append(
                "bfloat16" if _fast_bfloat16() else "bfloat16 (slow: this processor has no instructions for it)"
            )
        yield good(f"{name}: {', '.join(modes)}")


def memory(asked: Asked) -> Iterator[Finding]:
    """Check the memory that this process may still allocate."""
    from ..train.features.memory import available

    left = available()
    if left is None:
        yield good("this system does not tell how much memory is left")
    elif left < LITTLE_MEMORY:
        state = bad if left < LITTLE_MEMORY / 4 else doubtful
        yield state(
            f"{gigabytes(left)} left for this process",
            "end other programs, ask your scheduler for more, or use smaller encoders and --batch-size",
        )
    else:
        yield good(f"{gigabytes(left)} left for this process")


def compiler(asked: Asked) -> Iterator[Finding]:
    """Check that the C++ recurrence of `--gru compiled` can be built."""
    named = (shlex.split(os.environ.get("CXX") or "") or ["c++"])[0]
    path = shutil.which(named)
    if path is None:
        yield doubtful(
            f"no C++ compiler ({named}): GRUs on a CPU take half as long again, in PyTorch",
            "install one (Debian: apt-get install g++)",
        )
    else:
        yield good(f"{path}, for --gru compiled")


def _cuda(number: int) -> Finding:
    import torch

    name = f"cuda:{number}"
    try:
        title = torch.cuda.get_device_name(number)
        product = torch.full((8, 8), 2.0, device=name) @ torch.full((8, 8), 3.0, device=name)
        right = bool((product == 48).all())
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        return bad(f"{name} cannot compute: {first_line(error)}", "see `nvidia-smi`; use another --device meanwhile")
    found = f"{name}: {title}, {gigabytes(free)} of {gigabytes(total)} free"
    if not right:
        return bad(f"{found}; it computes a wrong product", "do not use it: ask the administrators to test it")
    if free < LITTLE_MEMORY:
        return doubtful(found, "another program holds its memory (`nvidia-smi`): end it, or use another --device")
    return good(found)


def _fast_bfloat16() -> bool:
    import torch

    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # this torch has no mkldnn
        return False
