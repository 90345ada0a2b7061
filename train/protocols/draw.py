"""Random parts, folds and shares of samples. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .split import PARTS, part_sizes


def random_parts(order: NDArray[np.int64], groups: NDArray[np.int64], ratio: tuple[int, int, int]) -> dict[int, str]:
    """Return the part of each row: groups in order of first appearance fill the test part, then the validation
    part, as far as they fit; without groups of several rows this is `split.random_split`."""
    left = dict(zip(PARTS, part_sizes(len(order), ratio), strict=True))
    part_of: dict[int, str] = {}
    for rows in _by_group(order, groups):
        part = next((part for part in ("test", "val") if left[part] >= len(rows)), "train")
        left[part] -= len(rows)
        part_of |= dict.fromkeys(rows, part)
    return part_of


def stratified_folds(
    order: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int
) -> dict[int, int]:
    """Return the fold of each row; every fold has as equal a share of each class as groups allow.

    Groups, the largest first, go to the fold that so far has the fewest of their classes, in proportion to the class
    size; among equal folds, to the smallest. Implemented here so that a split does not depend on any library's version.

    Args:
        order: the rows, shuffled.
        labels: (N,) the class of each row.
        groups: (N,) rows of one group stay in one fold.
        folds: the number of folds.
    """
    counts = np.bincount(labels[order])
    held = np.zeros((folds, len(counts)))
    share = 1 / np.maximum(counts, 1)
    fold_of: dict[int, int] = {}
    for rows in sorted(_by_group(order, groups), key=len, reverse=True):
        own = np.bincount(labels[rows], minlength=len(counts))
        crowding = (held * own * share).sum(1)
        fold = min(range(folds), key=lambda one: (crowding[one], held[one].sum()))
        held[fold] += own
        fold_of |= dict.fromkeys(rows, fold)
    return fold_of


def stratified_share(order: NDArray[np.int64], labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return a share of some rows, ascending, with as equal a share of each class as whole rows allow.

    Every class is spread evenly over a line, and the rows at its beginning are taken: a smaller share is part of a
    larger one.

    Args:
        order: the rows, shuffled.
        labels: (N,) the class of each row.
        share: above 0, at most 1. At least one row is taken where there is one.
    """
    own = labels[order]
    place = np.empty(len(order))
    for label in np.unique(own):
        members = np.flatnonzero(own == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    most = max(1, int(len(order) * share + 0.5))
    return np.sort(order[np.argsort(place, kind="stable")[:most]])


def without_leaks(parts: Mapping[str, str], groups: Mapping[str, int]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return fixed parts without the training and validation samples that have a duplicate in a later part.

    The test part is not changed, so that figures remain comparable.

    Args:
        parts: the part of each id.
        groups: the group of each id.

    Returns:
        The parts, and how many samples were left out, for the description.
    """
    tested = {groups[sample] for sample, part in parts.items() if part == "test"}
    validated = {groups[sample] for sample, part in parts.items() if part == "val"}
    closed = {"test": set[int](), "val": tested, "train": tested | validated}
    kept = {sample: part for sample, part in parts.items() if groups[sample] not in closed[part]}
    left_out = {part: sum(parts[sample] == part for sample in set(parts) - set(kept)) for part in ("train", "val")}
    return kept, {"duplicates_left_out": left_out}


def _by_group(order: NDArray[np.int64], groups: NDArray[np.int64]) -> list[list[int]]:
    """Return the rows of each group, groups and rows in the order given."""
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        members.setdefault(int(groups[row]), []).append(row)
    return list(members.values())
