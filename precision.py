"""float32 that means float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def products(tf32: bool = False) -> Iterator[None]:
    """Decide for all that runs meanwhile how products, convolutions and cuDNN's GRU take float32 on a CUDA device.

    PyTorch's own choice is TensorFloat-32 for the last two. Also a decorator.

    Args:
        tf32: rounded to 10 bits for tensor cores, instead of as it is.
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
