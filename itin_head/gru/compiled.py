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


def forward(inputs: Tensor, W_hh: Tensor, b_hn: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the states of all steps.

    Args:
        inputs: (G, P, 3d), the inputs' share of the sums of r, z and n.
        W_hh: (G, 3d, d).
        b_hn: (G, d).
        sizes: texts in each step, P in all.

    Returns:
        The states h (G, P, d), the gates r, z and n (G, P, 3d), and what r is multiplied by (G, P, d).
    """
    G, P, _ = inputs.shape
    d = W_hh.shape[2]
    h, q = inputs.new_empty(G, P, d), inputs.new_empty(G, P, d)
    gates = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    _call("gru_forward", (G, P, d), sizes, inputs.contiguous(), W_hh.contiguous(), b_hn.contiguous(), h, gates, q)
    return h, gates, q


def backward(
    grad: Tensor, gates: Tensor, q: Tensor, h: Tensor, W_hh: Tensor, sizes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of `forward`'s inputs, W_hh and b_hn from that of h, (G, P, d)."""
    d = h.shape[2]
    grad = grad.clone(memory_format=torch.contiguous_format)
    delta, last, before = torch.empty_like(gates), torch.empty_like(h), torch.empty_like(h)
    _call("gru_backward", h.shape, sizes, grad, gates, q, h, W_hh.contiguous(), delta, last, before)
    grad_W = torch.bmm(delta.mT, before)
    own = delta[..., 2 * d :]
    grad_b = own.sum(1)
    own.copy_(last)
    return delta, grad_W, grad_b


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


def _call(name: str, shape: Sequence[int], sizes: Sequence[int], *arrays: Tensor) -> None:
    steps = (ctypes.c_int64 * len(sizes))(*sizes)
    numbers = [ctypes.c_int64(number) for number in (torch.get_num_threads(), *shape)]
    function = getattr(_library, f"{name}_{TYPES[arrays[0].dtype]}")
    function(*numbers, steps, ctypes.c_int64(len(sizes)), *map(_pointer, arrays))


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
