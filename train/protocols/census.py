"""A census of a data set: classes, duplicates and their labels, by part. Pure functions of the data set's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ...targets import LABEL, Target, cells_of, values_of
from .duplicates import image_keys, sets_of, text_keys
from .split import PARTS

COLUMNS = ("part", "n", "majority", "majority_accuracy")
"""The columns of `Census.classes` beside those of the classes."""

WHOLE = "all"
"""The name of the row of all parts together."""

SORTED = 3
"""How many times as many runs of equal labels a random order must have than a part that is called sorted."""

KINDS: dict[str, Callable[[pd.DataFrame], list[str | None]]] = {
    "equal texts": lambda samples: text_keys(samples, "exact"),
    "equal texts, stripped": lambda samples: text_keys(samples, "stripped"),
    "equal images": image_keys,
    "equal text and image": lambda samples: [
        f"{text} {image}" for text, image in zip(text_keys(samples), image_keys(samples), strict=True)
    ],
}
"""The kinds of duplicate, and the keys that are equal for duplicates."""


@dataclass(frozen=True)
class Census:
    """The census of a data set; shares are fractions of 1."""

    classes: pd.DataFrame
    """A row per part, and `all`: part, n, a column per class (`column_of`), majority (the training part's),
    majority_accuracy; of a target without classes part, n, mean, sd, least, greatest."""
    duplicates: pd.DataFrame
    """One row per kind of duplicate: kind, groups, pairs, conflicting (groups with differing labels), across (groups in
    several parts), and how many pairs of one part equal one of another: val_in_train, test_in_train, test_in_val."""
    members: pd.DataFrame
    """One row per pair in a group: kind, group, id, part, label."""

    def _repr_html_(self) -> str:
        return f"{self.classes.to_html(index=False)}{self.duplicates.to_html(index=False)}"


def census(samples: pd.DataFrame, part_of: Mapping[str, str], classes: Sequence[str], target: str = LABEL) -> Census:
    """Count the samples of a data set that have a value for a target.

    Args:
        samples: the data set's table: id, label, text, text_sha256, image_sha256.
        part_of: the part of each id; samples without a part count only in `all`.
        classes: the target's classes; none for a number.
        target: the target, by default the label; its value is `label` in what is returned.

    Raises:
        DataError: a column is missing.
    """
    samples = samples[[cell is not None for cell in cells_of(samples, target)]].reset_index(drop=True)
    cells = cells_of(samples, target)
    ids, labels = [str(one) for one in samples["id"]], [str(one) for one in cells]
    parts = [part_of.get(one) for one in ids]
    rows, members = [], []
    for kind, keys in KINDS.items():
        groups = sets_of(keys(samples))
        rows.append({"kind": kind, **_count(groups, labels, parts)})
        for number, group in enumerate(groups):
            members += [(kind, number, ids[row], parts[row] or "", labels[row]) for row in group]
    columns = ["kind", "group", "id", "part", "label"]
    balance = class_balance(labels, parts, classes) if classes else number_balance(cells, parts)
    return Census(balance, pd.DataFrame(rows), pd.DataFrame(members, columns=columns))


def column_of(label: str) -> str:
    """Return the column of a class in `Census.classes`: its name, unless another column has it."""
    return f"class {label}" if label in COLUMNS else label


def class_balance(labels: list[str], parts: list[str | None], classes: Sequence[str]) -> pd.DataFrame:
    """Return `Census.classes`.

    Args:
        labels: the label of each sample.
        parts: the part of each sample; None for no part.
        classes: the data set's classes.
    """
    table = pd.DataFrame({"part": parts, "label": labels})
    trained = table["label"][table["part"] == "train"]
    chosen = trained if len(trained) else table["label"]
    frequency = Counter(chosen)
    majority = max(classes, key=lambda label: frequency[label])
    rows: list[dict[str, object]] = []
    for part in (WHOLE, *PARTS):
        own = table["label"] if part == WHOLE else table["label"][table["part"] == part]
        frequency = Counter(own)
        counts = {column_of(label): frequency[label] for label in classes}
        share = frequency[majority] / len(own) if len(own) else float("nan")
        rows.append({"part": part, "n": len(own), **counts, "majority": majority, "majority_accuracy": share})
    balance: pd.DataFrame = pd.DataFrame(rows)
    return balance


def number_balance(values: Sequence[float], parts: Sequence[str | None]) -> pd.DataFrame:
    """Return `Census.classes` of a target without classes: n, mean, standard deviation and range of each part.

    Args:
        values: the value of each sample.
        parts: the part of each sample; None for no part.
    """
    rows: list[dict[str, object]] = []
    for part in (WHOLE, *PARTS):
        own = [value for value, other in zip(values, parts, strict=True) if part in (WHOLE, other)]
        rows.append({"part": part, "n": len(own), **_spread(own)})
    balance: pd.DataFrame = pd.DataFrame(rows)
    return balance


def target_counts(samples: pd.DataFrame, targets: Iterable[Target]) -> list[dict[str, Any]]:
    """Count the values of each target of a data set.

    Args:
        samples: the data set's table.
        targets: its targets.

    Returns:
        For each target name, kind, n (samples with a value), and `counts` by class, or mean, sd (of the population),
        least and greatest of a number.
    """
    rows = []
    for target in targets:
        known = [cell for cell in cells_of(samples, target.name) if cell is not None]
        row: dict[str, Any] = {"name": target.name, "kind": target.kind, "n": len(known)}
        if target.is_number:
            rows.append(row | _spread(values_of(known, target).tolist()))
        else:
            frequency = Counter(map(str, known))
            rows.append(row | {"counts": {label: frequency[label] for label in target.classes}})
    return rows


def sorted_parts(parts: Sequence[str | None], labels: Sequence[object]) -> dict[str, dict[str, float]]:
    """Return the parts that are sorted by label: equal labels follow one another far more often than by chance.

    Args:
        parts: the part of each sample in the order in which the parts list them; None for no part.
        labels: the label of each.

    Returns:
        Of each such part `runs`, the runs of equal labels in it, and `expected`, their mean number in a random order,
        at least `SORTED` times as many.
    """
    found = {}
    for part in PARTS:
        own = [label for label, other in zip(labels, parts, strict=True) if other == part]
        if own:
            expected = 1 + len(own) - sum(count**2 for count in Counter(own).values()) / len(own)
            runs = 1 + sum(a != b for a, b in pairwise(own))
            if expected >= SORTED * runs:
                found[part] = {"runs": runs, "expected": expected}
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation, least and greatest of some numbers, NaN of none."""
    if not len(values):
        return dict.fromkeys(("mean", "sd", "least", "greatest"), float("nan"))
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values)),
        "least": float(min(values)),
        "greatest": float(max(values)),
    }


def _count(groups: list[list[int]], labels: list[str], parts: list[str | None]) -> dict[str, int]:
    found = {"groups": len(groups), "pairs": sum(map(len, groups)), "conflicting": 0, "across": 0}
    leaks = {("val", "train"): 0, ("test", "train"): 0, ("test", "val"): 0}
    for group in groups:
        here = {parts[row] for row in group} - {None}
        found["conflicting"] += len({labels[row] for row in group}) > 1
        found["across"] += len(here) > 1
        for part, other in leaks:
            if other in here:
                leaks[part, other] += sum(parts[row] == part for row in group)
    return {**found, **{f"{part}_in_{other}": count for (part, other), count in leaks.items()}}
