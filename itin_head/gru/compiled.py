"""The C++ recurrence, `gru.cpp`: compiled once on this machine in a few seconds, then loaded."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...disk import replacing
from ...paths import user_cache

SOURCES = [Path(__file__).with_name(name) for name in ("gru.cpp", "products.hpp")]
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC"]
"""The compiler's flags; none is for this processor alone: all machines that share the folder can load the library."""

TYPES = {torch.float32: "f", torch.float64: "d"}

_library: ctypes.CDLL | None = None
_failure: str | None = None


class BuildError(Exception):
    """The C++ recurrence cannot be built; the message is one line."""


def load() -> None:
    """Make `forward` and `backward` available; compile them on first use.

    Processes that call it at the same time each compile, and the last one's library stays: they are alike. A process
    that is killed leaves nothing that could be mistaken for a library. A build that failed is not tried again by the
    same process.

    Raises:
        BuildError: no compiler, or it failed.
    """
    global _library, _failure
    if _library is not None:
        return
    if _failure is None:
        try:
            openmp = _openmp()
            path = where(openmp)
            if not path.exists():
                _build(path, openmp)
            _library = ctypes.CDLL(str(path))
            return
        except Exception as error:  # a compiler, a linker or a file system may raise any error
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            _failure = lines[0] if lines else type(error).__name__
    raise BuildError(_failure)


def compiler() -> list[str]:
    """Return the C++ compiler with its first options: `$CXX`, by default c++."""
    return shlex.split(os.environ.get("CXX") or "") or ["c++"]


def possible() -> bool:
    """Return whether the C++ recurrence is there or a compiler that could build it."""
    return loaded() or shutil.which(compiler()[0]) is not None or where(_openmp()).exists()


def loaded() -> bool:
    """Return whether the C++ recurrence is loaded."""
    return _library is not None


def where(openmp: Path | None = None) -> Path:
    """Return the path of the library: one for each source, platform and library of threads."""
    contents = [source.read_bytes() for source in SOURCES]
    identity = (contents, FLAGS, sysconfig.get_platform(), openmp and openmp.name)
    return user_cache() / "compiled" / f"gru-{hashlib.sha256(repr(identity).encode()).hexdigest()[:12]}.so"


def forward(sums: Sequence[Tensor], W_hh: Sequence[Tensor], b_hn: Sequence[Tensor], sizes: Sequence[int]) -> Forward:
    """Compute the states of all steps, in G directions.

    Args:
        sums: G of (P, 3d), the inputs' share of the sums of r, z and n. They are changed: they become the gates.
        W_hh: G of (3d, d).
        b_hn: G of (d,).
        sizes: texts in each step, P in all.
    """
    d = W_hh[0].shape[1]
    gates = [one.contiguous() for one in sums]
    h, q = (gates[0].new_empty(len(gates), gates[0].shape[0], d) for _ in range(2))
    _call("gru_forward", d, sizes, W_hh, b_hn, h, gates, q)
    return Forward(h, gates, q)


class Forward(NamedTuple):
    """The states of all steps, and what the way back needs."""

    h: Tensor
    """(G, P, d), the states."""
    gates: Sequence[Tensor]
    """G of (P, 3d): r, z and n."""
    q: Tensor
    """(G, P, d), what r is multiplied by."""


def backward(grad: Tensor, forward: Forward, W_hh: Sequence[Tensor], sizes: Sequence[int]) -> Backward:
    """Compute the gradients of `forward`'s arguments from that of the states, (G, P, d)."""
    G, P, d = grad.shape
    delta, own, before = grad.new_empty(G, P, 3 * d), torch.empty_like(forward.h), torch.empty_like(forward.h)
    bias = grad.new_zeros(G, 4 * d)
    _call(
        "gru_backward", d, sizes, W_hh, grad.contiguous(), forward.gates, forward.q, forward.h, delta, own, before, bias
    )
    grad_W = []
    for g in range(G):
        grad_W.append(grad.new_empty(3 * d, d))
        torch.mm(delta[g, :, : 2 * d].T, before[g], out=grad_W[g][: 2 * d])
        torch.mm(own[g].T, before[g], out=grad_W[g][2 * d :])
    return Backward(delta, grad_W, bias)


class Backward(NamedTuple):
    """The gradients of the arguments of `forward`."""

    sums: Tensor
    """(G, P, 3d)."""
    W_hh: Sequence[Tensor]
    """G of (3d, d)."""
    bias: Tensor
    """(G, 4d): `sums` added up over P, then the gradient of b_hn."""


def widest_vector() -> int:
    """Return the bytes of the widest vectors that this processor has: 16, 32 or 64."""
    assert _library is not None
    return int(_library.widest_vector())


def add_product(C: Tensor, A: Tensor, B: Tensor, size: int) -> Tensor:
    """Return C + A B (M, N) by vectors of `size` bytes, at most `widest_vector`."""
    assert _library is not None
    out, A, B = C.clone(memory_format=torch.contiguous_format), A.contiguous(), B.contiguous()
    numbers = [ctypes.c_int64(number) for number in (size, len(A), B.shape[1], A.shape[1])]
    getattr(_library, f"add_product_{TYPES[A.dtype]}")(*numbers, *map(_pointer, (A, B, out)))
    return out


def _call(name: str, d: int, sizes: Sequence[int], *arrays: Sequence[Tensor] | Tensor) -> None:
    """Call a function of the library with a pointer for each direction of each array."""
    G = len(arrays[0])
    for array in arrays:
        if not all(one.is_contiguous() for one in array):
            raise ValueError(f"{name}: expected contiguous arrays, got strides {array[0].stride()}")
    pointers = [(ctypes.c_void_p * G)(*(one.data_ptr() for one in array)) for array in arrays]
    steps = (ctypes.c_int64 * len(sizes))(*sizes)
    numbers = [ctypes.c_int64(number) for number in (torch.get_num_threads(), G, d)]
    function = getattr(_library, f"{name}_{TYPES[arrays[0][0].dtype]}")
    function(*numbers, steps, ctypes.c_int64(len(sizes)), *pointers)


def _pointer(array: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.data_ptr())


def _openmp() -> Path | None:
    """Return the library of threads that PyTorch has loaded, which ours is to share; None where there is none."""
    maps = Path("/proc/self/maps")
    if maps.exists():
        for line in maps.read_text().splitlines():
            path = Path(line.split(maxsplit=5)[-1])
            if path.name.startswith(("libgomp", "libomp", "libiomp")):
                return path
    return None


def _build(path: Path, openmp: Path | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as library, tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "gru.o"
        _run([*compiler(), *FLAGS, *(["-fopenmp"] if openmp else []), "-c", str(SOURCES[0]), "-o", str(built)])
        _run([*compiler(), "-shared", str(built), *([str(openmp)] if openmp else []), "-o", str(library)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(done.stderr or f"{command[0]}: exit code {done.returncode}")
