"""Torchvision's files of weights: in the weights folder, or where torch keeps them; downloaded by their address."""

from __future__ import annotations

from pathlib import Path

from ...paths import weights_root
from .download import download
from .requirement import OTHERWISE

CHECKPOINTS = "checkpoints"
"""The folder for these files, in the weights folder as in torch's."""


def checkpoint_path(url: str) -> Path:
    """Return the path of a file in the weights folder if it is there, else in torch's `$TORCH_HOME/hub/checkpoints`."""
    import torch

    name = url.rsplit("/", 1)[1]
    own = weights_root() / CHECKPOINTS / name
    return own if own.is_file() else Path(torch.hub.get_dir()) / CHECKPOINTS / name


def fetch_checkpoint(url: str, what: str) -> Path:
    """Return the path of a file, downloaded if need be and checked against the digest in its name.

    Args:
        url: torchvision's address of it.
        what: what it holds, for messages.

    Raises:
        WeightsError: there is no file, and the network is unavailable or offline mode is on.
    """
    path = checkpoint_path(url)
    if not path.exists():
        next_step = f"put {url} there (TORCH_HOME moves the place), or {OTHERWISE}"
        download(url, path, path.stem.rsplit("-", 1)[1], what, next_step)
    return path
