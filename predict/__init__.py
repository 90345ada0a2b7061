"""Predictions and what a head computed for each region, from raw pairs by encoders or from the cache.

The modules are imported when a name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .pairs import pairs_frame, pairs_of
    from .prediction import Prediction, Region
    from .predictor import Predictor

__all__ = ["Prediction", "Predictor", "Region", "pairs_frame", "pairs_of"]

__getattr__ = attributes(__name__)
