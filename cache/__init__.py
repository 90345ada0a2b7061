"""The feature cache: one store for each kind and encoder, written once, read by everything after it."""

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
