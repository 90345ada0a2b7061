"""Trunks by name: the vision models whose cells are regions and whose pooled vector is context."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import torch

from ..weights.requirement import WeightsRequirement
from .trunk import Trunk

ANY = "*"
"""The key in `TRUNKS` for every name that has no line of its own."""

TRUNKS: dict[str, str] = {
    "efficientnet-lite0": "efficientnet_lite:EfficientNetLite",
    ANY: "transformers_vision:TransformersVision",
}
"""Name -> `module:Class` in this folder. The class is called as `Class(name, device, seed)`, with the seed of random
weights or None, and its static method `needs(name) -> weights.WeightsRequirement` returns the weights that it takes."""

_loaded: WeakValueDictionary[tuple[str, str, int | None], Any] = WeakValueDictionary()
"""The trunks in use, so that encoders of two kinds share one."""


def load_trunk(name: str, device: torch.device, seed: int | None) -> Trunk:
    """Return the trunk of a name; while one with these arguments is in use, that one.

    Args:
        name: a key of `TRUNKS`, or any model's name if `ANY` is one.
        device: where it runs.
        seed: seed of random weights; None: trained weights.

    Raises:
        WeightsError: its weights cannot be loaded.
    """
    key = (name, str(device), seed)
    trunk: Trunk | None = _loaded.get(key)
    if trunk is None:
        trunk = _loaded[key] = _class_of(name)(name, device, seed)
    return trunk


def trunk_needs(name: str) -> WeightsRequirement:
    """Return the weights that a trunk needs."""
    needs: WeightsRequirement = _class_of(name).needs(name)
    return needs


def _class_of(name: str) -> Any:
    module, found = TRUNKS[name if name in TRUNKS else ANY].split(":")
    return getattr(import_module(f".{module}", __package__), found)
