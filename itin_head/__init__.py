"""The heads on cached features: ITIN, eqs. 1-19 of the paper, and those it is compared with.

`HeadConfig` can be imported without torch; the names that need torch are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

if TYPE_CHECKING:
    from .config import ABLATIONS, GATES, HeadConfig
    from .factory import make
    from .gru.batch import pad
    from .head import Head, HeadOutput
    from .itin import ITINHead
    from .registry import HEADS

__all__ = ["ABLATIONS", "GATES", "HEADS", "Head", "HeadConfig", "HeadOutput", "ITINHead", "make", "pad"]

__getattr__ = attributes(__name__)
