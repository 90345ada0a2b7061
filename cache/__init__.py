"""The feature cache: one store for each kind and encoder, written once and read by all later steps.

The names load their modules on first use, so that the command line can read the schema without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .format.schema import fingerprint_of, store_name
    from .mapping import Samples
    from .mapping import open_samples as open
    from .store import Store, find_stores, open_store
    from .table import Table, read_table, write_table
    from .writer import StoreWriter

__all__ = [
    "Samples",
    "Store",
    "StoreWriter",
    "Table",
    "find_stores",
    "fingerprint_of",
    "open",
    "open_store",
    "read_table",
    "store_name",
    "write_table",
]

_WHERE = {
    "Samples": ("mapping", "Samples"),
    "Store": ("store", "Store"),
    "StoreWriter": ("writer", "StoreWriter"),
    "Table": ("table", "Table"),
    "find_stores": ("store", "find_stores"),
    "fingerprint_of": ("format.schema", "fingerprint_of"),
    "open": ("mapping", "open_samples"),
    "open_store": ("store", "open_store"),
    "read_table": ("table", "read_table"),
    "store_name": ("format.schema", "store_name"),
    "write_table": ("table", "write_table"),
}
"""Public name -> module, and its name there."""


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _WHERE[name]
    return getattr(import_module(f".{module}", __name__), there)
