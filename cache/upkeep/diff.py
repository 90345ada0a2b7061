"""The differences of two stores: fields of their identity, samples, and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..store import Store

MISSING = "nothing"


@dataclass
class StoreDifference:
    """The differences between two stores."""

    identity: list[tuple[str, Any, Any]] = field(default_factory=list)
    """The differing fields, such as `weights.sha256`, with the value of the first store and of the second."""
    only_first: list[str] = field(default_factory=list)
    """The samples that only the first store holds."""
    only_second: list[str] = field(default_factory=list)
    """The samples that only the second store holds."""
    other_input: list[str] = field(default_factory=list)
    """The samples that both hold, made from different images or texts."""
    compared: int = 0
    """The number of samples that both hold, made from the same input by the same encoder."""
    other_values: list[tuple[str, str, float]] = field(default_factory=list)
    """The differing arrays: sample, array, and the largest difference, or NaN where the lengths differ."""

    @property
    def same(self) -> bool:
        """Whether the stores hold the same."""
        rows = (self.only_first, self.only_second, self.other_input, self.other_values)
        return not self.identity and not any(rows)


def diff(first: Store, second: Store) -> StoreDifference:
    """Compare two stores; values only where the identity is the same, since they must differ otherwise."""
    found = StoreDifference(identity=list(_fields(first.identity, second.identity)))
    a, b = dict(zip(first.ids, first.sha256, strict=True)), dict(zip(second.ids, second.sha256, strict=True))
    found.only_first = [sample for sample in a if sample not in b]
    found.only_second = [sample for sample in b if sample not in a]
    both = [sample for sample in a if sample in b]
    found.other_input = [sample for sample in both if a[sample] != b[sample]]
    if found.identity:
        return found
    equal = [sample for sample in both if a[sample] == b[sample]]
    found.compared = len(equal)
    for sample, x, y in zip(equal, *(store.samples(store.index(equal)) for store in (first, second)), strict=True):
        found.other_values += [(sample, name, _largest(x[name], y[name])) for name in x if not _same(x[name], y[name])]
    return found


def _fields(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _fields(a.get(key, MISSING), b.get(key, MISSING), f"{name}.{key}" if name else key)
    elif a != b and name != "weights.file":  # the name of a file changes no feature
        yield name, a, b


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b))


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return float("nan")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
