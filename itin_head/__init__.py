"""The ITIN head on cached features: eqs. 1-19 of the paper.

`HeadConfig` can be imported without torch; the names that need torch are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch import gather, pad
    from .config import ABLATIONS, GATES, HeadConfig
    from .model import HeadOutput, ITINHead

__all__ = ["ABLATIONS", "GATES", "HeadConfig", "HeadOutput", "ITINHead", "gather", "pad"]

_WHERE = {
    "ABLATIONS": "config",
    "GATES": "config",
    "HeadConfig": "config",
    "HeadOutput": "model",
    "ITINHead": "model",
    "gather": "batch",
    "pad": "batch",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
