"""From features to labels, and to what a head made of each region: of raw pairs by encoders, or from the cache.

What each name needs is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pairs import pairs_frame, pairs_of
    from .prediction import Prediction, Region
    from .predictor import Predictor

__all__ = ["Prediction", "Predictor", "Region", "pairs_frame", "pairs_of"]

_WHERE = {
    "Prediction": "prediction",
    "Region": "prediction",
    "Predictor": "predictor",
    "pairs_frame": "pairs",
    "pairs_of": "pairs",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
