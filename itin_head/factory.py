"""A head of any kind, by its configuration."""

from __future__ import annotations

from importlib import import_module

from .config import HeadConfig
from .head import Head
from .registry import HEADS


def make(config: HeadConfig, gru: str = "packed") -> Head:
    """Return a head with fresh weights, drawn from torch's global generator.

    Args:
        config: which head, and its sizes.
        gru: how it computes the GRU, one of `gru.recurrence.RECURRENCES`.
    """
    module, name = HEADS[config.head].where.split(":")
    head: Head = getattr(import_module(f".{module}", __package__), name)(config, gru)
    return head
