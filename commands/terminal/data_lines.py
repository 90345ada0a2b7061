"""What `itin extract` and `itin data check` say of a data set alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...labels import listed


def rule_lines(dropped: Mapping[str, int], undecided: Mapping[str, int]) -> list[str]:
    """Return how many pairs a data set's label rule leaves out, and how many without a label, a line for each reason.

    Args:
        dropped: the pairs that are left out, by reason.
        undecided: those that are there without a label, by reason.
    """
    return [
        *(f"{count} left out by the label rule: {reason}" for reason, count in dropped.items()),
        *(f"{count} without a label by its rule, for other targets: {reason}" for reason, count in undecided.items()),
    ]


def target_line(counts: Mapping[str, int]) -> str:
    """Return the targets of a data set with the number of their values, those of one number together.

    Args:
        counts: the number of pairs with a value of each target.
    """
    names: dict[int, list[str]] = {}
    for name, count in counts.items():
        names.setdefault(count, []).append(name)
    told = [f"{', '.join(own)} ({count}{' each' * (len(own) > 1)})" for count, own in names.items()]
    return f"targets, for --target: {'; '.join(told)}"


def count_words(row: Mapping[str, Any]) -> str:
    """Return the values of a target in words: the counts of its classes, or the mean and the range of its numbers.

    Args:
        row: one of `census.target_counts`.
    """
    if "counts" not in row:
        return (
            f"mean {row['mean']:.3g}, sd {row['sd']:.3g}, from {row['least']:g} to {row['greatest']:g}"
            if row["n"]
            else ""
        )
    counts = list(row["counts"].items())
    if row["kind"] != "ordered":
        counts.sort(key=lambda one: -one[1])
    return listed([f"{count} {label}" for label, count in counts])
