"""Stage two: cached features -> batches -> head -> metrics -> run folders.

The names load their modules when they are first asked for, so that a command line can read the recipe at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .config import TrainConfig
    from .runs.folder import Run
    from .runs.folder import load_run as load
    from .runs.listing import runs_table
    from .sweeps.folder import Sweep

__all__ = ["Run", "Sweep", "TrainConfig", "load", "runs_table"]

__getattr__ = attributes(__name__)
