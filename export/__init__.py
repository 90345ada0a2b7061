"""Trained heads for others: ONNX graphs, weights with their configuration, model cards, the hub.

The modules are imported when a name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .folder import head_of, open_run
    from .write import export

__all__ = ["export", "head_of", "open_run"]

__getattr__ = attributes(__name__)
