"""Targets: what a head learns, each a named column of a data set's table with a type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .labels import LABELS, classes_of, listed, numbers_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABEL = "label"
"""The target that a data set is about, and the default."""

SIDES = ("text-label", "image-label")
"""The targets of the two sides of a pair, as MVSA's annotators judged them."""

KINDS = ("classes", "ordered", "number")
"""The types of a target: classes without an order, classes from the least to the greatest, or a number."""

UNKNOWN = -1
"""The class number of a pair without a value; a number is NaN there."""

COLUMNS = {"label": "label", "text-label": "text_label", "image-label": "image_label"}
"""The targets with a column of their own in a data set's table; the values of others stand in its column `targets`."""


@dataclass(frozen=True)
class Target:
    """One target of a data set; wrong values raise ValueError."""

    name: str = LABEL
    """Its name, as `--target` takes it."""
    kind: str = "classes"
    """One of `KINDS`."""
    classes: tuple[str, ...] = ()
    """The names of the classes in their order; none for a number."""
    span: tuple[float, float] | None = None
    """The least and the greatest value of a number."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if (self.span is None) == (self.kind == "number") or bool(self.classes) == (self.kind == "number"):
            raise ValueError(f"the target {self.name!r}: expected classes, or a span for a number, got {self}")
        if self.span is not None and not self.span[0] < self.span[1]:
            raise ValueError(f"the target {self.name!r}: expected a span that goes upwards, got {self.span}")

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.kind == "number"

    @property
    def bounds(self) -> tuple[float, float]:
        """The span of a number; raise ValueError for classes."""
        if self.span is None:
            raise ValueError(f"the target {self.name!r}: expected a number, got {self.kind}")
        return self.span

    @property
    def outputs(self) -> int:
        """The outputs of a head for it: one a class, one for a number, and one a step between ordered classes."""
        return {"classes": len(self.classes), "ordered": len(self.classes) - 1, "number": 1}[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the target as it stands in `dataset.json`."""
        values = {"classes": list(self.classes)} if self.span is None else {"span": list(self.span)}
        return {"name": self.name, "kind": self.kind, **values}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Target:
        """Return the target of a record of `to_dict`; raise ValueError or KeyError for another one."""
        span = record.get("span")
        return cls(
            str(record["name"]),
            str(record["kind"]),
            tuple(map(str, record.get("classes", ()))),
            None if span is None else (float(span[0]), float(span[1])),
        )


def targets_of(record: Mapping[str, Any]) -> dict[str, Target]:
    """Return the targets of a data set by name, `label` first where there is one.

    Args:
        record: the content of `dataset.json`. One from before targets were recorded has `label`, and for MVSA the
            text's and the image's own label.
    """
    if "targets" in record:
        found = [Target.from_dict(one) for one in record["targets"]]
    else:
        kind = (record.get("source") or {}).get("kind", record.get("name", ""))
        own = SIDES if kind in ("mvsa-single", "mvsa-multiple") else ()
        classes = classes_of(record)
        found = [Target(classes=classes)] if classes else []
        found += [Target(name, classes=LABELS) for name in own]
    return {target.name: target for target in found}


def cells_of(samples: pd.DataFrame, name: str) -> list[Any]:
    """Return the value of a target for each row of a data set's table, None where there is none."""
    if name in COLUMNS:
        column = COLUMNS[name]
        cells = samples[column].tolist() if column in samples else [None] * len(samples)
        return [cell if isinstance(cell, str) else None for cell in cells]
    rows = samples["targets"].tolist() if "targets" in samples else [None] * len(samples)
    return [row.get(name) if isinstance(row, Mapping) else None for row in rows]


def values_of(cells: Sequence[Any], target: Target) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return the values of a target as numbers: (N,) int64 class numbers, `UNKNOWN` for None; or float64, NaN for None.

    Raises:
        ValueError: a label that is none of its classes.
    """
    import numpy as np

    if target.is_number:
        return np.array([np.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
    numbers = np.full(len(cells), UNKNOWN, dtype=np.int64)
    known = [row for row, cell in enumerate(cells) if cell is not None]
    numbers[known] = numbers_of([str(cells[row]) for row in known], target.classes)
    return numbers


def shares_of(votes: Sequence[Sequence[Any]], target: Target) -> NDArray[np.float64] | None:
    """Return the shares of the classes among several annotators, (N, classes); zeros where nobody judged.

    Args:
        votes: of each annotator the N values, None where there is none.
        target: classes that they choose among.

    Returns:
        None without annotators.
    """
    import numpy as np

    if not votes:
        return None
    counts = np.zeros((len(votes[0]), len(target.classes)))
    for one in votes:
        numbers = values_of(one, target)
        known = np.flatnonzero(numbers != UNKNOWN)
        counts[known, numbers[known].astype(np.int64)] += 1
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return shares


def chosen(names: Sequence[str], targets: Mapping[str, Target], dataset: str = "") -> list[Target]:
    """Return the targets of some names; raise ValueError for one that the data set does not have."""
    if unknown := [name for name in names if name not in targets]:
        there = listed(list(targets)) or "none"
        raise ValueError(f"target: {dataset or 'the data set'} has no target {unknown[0]!r}; it has {there}")
    return [targets[name] for name in names]


def outputs_of(targets: Iterable[Target]) -> int:
    """Return the outputs of a head that learns several targets, side by side in their order."""
    return sum(target.outputs for target in targets)
