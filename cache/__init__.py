"""The feature cache: one store for each kind and encoder, written once and read by all later steps.

The names load their modules on first use, so that the command line can read the schema without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes

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

__getattr__ = attributes(__name__)
