"""The precision of float32 arithmetic on CUDA devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


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
