"""What the regions show by the names of their detector: objects and attributes, and how sure it is of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAYS = ("objects", "attributes", "object_scores", "attribute_scores")
"""The arrays of a store that say what regions show."""

UNNAMED = -1
"""The id of an object or attribute that is not known."""


@dataclass(frozen=True, eq=False)
class NamedRegions:
    """The names of the regions of N images."""

    objects: NDArray[np.int32]
    """(N, m) ids of object classes, `UNNAMED` for none."""
    attributes: NDArray[np.int32]
    """(N, m) ids of attributes, `UNNAMED` for none."""
    chances: NDArray[np.float32]
    """(N, m) the probability of the object times that of the attribute, 0 for none."""
    names: Mapping[str, list[str]] = field(default_factory=dict)
    """The names of `objects` by id, and of `attributes` where the detector has any."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of names of each."""
        return {kind: len(names) for kind, names in self.names.items()}


def named_regions(arrays: Mapping[str, NDArray[Any]], sizes: Mapping[str, int]) -> NamedRegions:
    """Return what regions show, without the names.

    Args:
        arrays: those of `ARRAYS`, (N, m) each, as stores hold them.
        sizes: the number of names of `objects`, and of `attributes` if there are any; ids beyond it have no name.
    """
    ids = {
        kind: np.where(arrays[kind] < sizes.get(kind, 0), arrays[kind], UNNAMED).astype(np.int32)
        for kind in ("objects", "attributes")
    }
    known = (ids["objects"] >= 0) & (ids["attributes"] >= 0)
    both = arrays["object_scores"].astype(np.float32) * arrays["attribute_scores"].astype(np.float32)
    return NamedRegions(ids["objects"], ids["attributes"], np.where(known, both, np.float32(0)))


def read_named(store: Any, rows: NDArray[np.int64], m: int) -> NamedRegions | None:
    """Return the names of the first m regions of some rows; None where the store has no names of objects.

    Args:
        store: `itin.cache.Store` of regions.
        rows: (N,).
        m: regions of an image.
    """
    names = {kind: list(each) for kind, each in store.names.items()}
    if not names.get("objects"):
        return None
    arrays = {name: store.read(name, rows, first=m) for name in ARRAYS}
    return replace(named_regions(arrays, {kind: len(each) for kind, each in names.items()}), names=names)
