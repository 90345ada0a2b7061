"""Predictions and what a head computed for each region, from raw pairs by encoders or from the cache.

The modules are imported when a name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pairs import pairs_frame, pairs_of
    from .prediction import Prediction, Region
    from .predictor import Predictor

__all__ = ["Prediction", "Predictor", "Region", "pairs_frame", "pairs_of"]

_MODULES = {
    "Prediction": "prediction",
    "Region": "prediction",
    "Predictor": "predictor",
    "pairs_frame": "pairs",
    "pairs_of": "pairs",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
