"""The C++ recurrence, `gru.cpp`: built once on this machine, then loaded."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("gru.cpp")
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", *(["-fopenmp"] if sys.platform == "linux" else [])]
"""The compiler's flags; none is specific to this processor, so that every machine that shares the folder can load it.

Without OpenMP, `at::parallel_for` runs on the calling thread alone.
"""

_failure: str | None = None


class BuildError(Exception):
    """The C++ recurrence cannot be built; the message is one line."""


def load() -> None:
    """Make `torch.ops.itin.gru_forward` and `gru_backward` available; build them on first use.

    Processes that call it at the same time wait for the one that builds; one that is killed meanwhile leaves nothing
    that could be mistaken for a library. A build that failed is not tried again by the same process.

    Raises:
        BuildError: no compiler, or it failed.
    """
    global _failure
    if loaded():
        return
    if _failure is None:
        try:
            _load(folder())
            return
        except Exception as error:  # a compiler, a linker or a file system may raise any error
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            _failure = lines[0] if lines else type(error).__name__
    raise BuildError(_failure)


def loaded() -> bool:
    """Return whether the C++ recurrence is loaded."""
    return hasattr(torch.ops.itin, "gru_forward")


def folder() -> Path:
    """Return the folder that the library is built in, below torch's own for extensions, one per source and torch."""
    identity = (SOURCE.read_bytes(), torch.__version__, sys.implementation.cache_tag, sysconfig.get_platform(), FLAGS)
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:12]
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or Path(torch.hub.get_dir()).parent.parent / "torch_extensions"
    return Path(root) / f"itin_gru_{digest}"


def _load(where: Path) -> None:
    where.mkdir(parents=True, exist_ok=True)
    whole = where / "built"  # made at the end: a library that is being written has none
    with _locked(where / "itin.lock"):
        if not whole.exists():
            (where / "lock").unlink(missing_ok=True)  # torch would wait forever for its lock that a killed build left
            _build(where)
            whole.touch()
    if not loaded():
        torch.ops.load_library(str(where / "itin_gru.so"))  # type: ignore[no-untyped-call]


def _build(where: Path) -> None:
    logger = logging.getLogger("torch.utils.cpp_extension")
    level, path = logger.level, os.environ.get("PATH", "")
    logger.setLevel(logging.ERROR)  # no warnings about missing CUDA
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])  # ninja may stand beside Python
    try:
        from torch.utils.cpp_extension import load as build

        build(
            "itin_gru",
            [str(SOURCE)],
            extra_cflags=FLAGS,
            build_directory=str(where),
            is_python_module=False,
            with_cuda=False,
        )
    finally:
        os.environ["PATH"] = path
        logger.setLevel(level)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on this system: torch's own lock is left
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
