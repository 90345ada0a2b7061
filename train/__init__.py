"""Stage two: cached features -> batches -> head -> metrics -> run folders.

The names load their modules when they are first asked for, so that a command line can read the recipe at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import TrainConfig
    from .runs.folder import Run
    from .runs.folder import load_run as load
    from .runs.listing import runs_table
    from .sweeps.folder import Sweep

__all__ = ["Run", "Sweep", "TrainConfig", "load", "runs_table"]

_WHERE = {
    "Run": ("runs.folder", "Run"),
    "Sweep": ("sweeps.folder", "Sweep"),
    "TrainConfig": ("config", "TrainConfig"),
    "load": ("runs.folder", "load_run"),
    "runs_table": ("runs.listing", "runs_table"),
}
"""Public name -> module, and its name there."""


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _WHERE[name]
    return getattr(import_module(f".{module}", __name__), there)
