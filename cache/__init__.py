"""The feature cache: one store for each kind and encoder, written once, read by everything after it.

The names load their modules when they are first asked for, so that a command line can read the schema at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .schema import fingerprint_of, store_name
    from .store import Store, find_stores, open_store
    from .table import Table, read_table, write_table
    from .writer import StoreWriter

__all__ = [
    "Store",
    "StoreWriter",
    "Table",
    "find_stores",
    "fingerprint_of",
    "open_store",
    "read_table",
    "store_name",
    "write_table",
]

_WHERE = {
    "Store": "store",
    "StoreWriter": "writer",
    "Table": "table",
    "find_stores": "store",
    "fingerprint_of": "schema",
    "open_store": "store",
    "read_table": "table",
    "store_name": "schema",
    "write_table": "table",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
