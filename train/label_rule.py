"""The label of a pair from what a head says of the text's and of the image's own label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..labels import LABELS, combine
from ..targets import LABEL, SIDES, Target

TINY = 1e-12
"""Probability of all pairs of labels that agree, below which nothing can be told from them."""


def has_sides(targets: Sequence[Target]) -> bool:
    """Return whether a head says what the rule needs: the label, and the own labels of text and image."""
    classes = {target.name: target.classes for target in targets}
    return all(classes.get(name) == LABELS for name in (LABEL, *SIDES))


def by_rule(text: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of the label by the rule of Table I, as if text and image were independent.

    P(c) = Σ P(t) P(i) / (1 - P(conflict)), the sum over the labels t and i that `labels.combine` makes c of; a text
    and an image that conflict have no label.

    Args:
        text: (n, 3) probabilities of the text's own label, in the order of `LABELS`.
        image: (n, 3) likewise of the image's.
    """
    found = np.zeros_like(text)
    for t, text_label in enumerate(LABELS):
        for i, image_label in enumerate(LABELS):
            label = combine(text_label, image_label)
            if label is not None:
                found[:, LABELS.index(label)] += text[:, t] * image[:, i]
    total = found.sum(1, keepdims=True)
    sure: NDArray[np.float64] = np.where(total > TINY, found / np.maximum(total, TINY), (text + image) / 2)
    return sure


def ways_of(said: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities of the label by each of `config.LABEL_FROM`.

    Args:
        said: (n, 3) probabilities of the label and of `SIDES`.
    """
    rule = by_rule(*(said[name] for name in SIDES))
    return {"joint": said[LABEL], "rule": rule, "mean": (said[LABEL] + rule) / 2}


def decided(said: Mapping[str, NDArray[np.float64]], way: str) -> dict[str, NDArray[np.float64]]:
    """Return what is said of each target, the label by one of `config.LABEL_FROM`.

    Args:
        said: by target; with the label and `SIDES` unless the way is `joint`. Leading axes are kept.
        way: the recipe's `label_from`.
    """
    if way == "joint":
        return dict(said)
    flat = {name: said[name].reshape(-1, len(LABELS)) for name in (LABEL, *SIDES)}
    return {**said, LABEL: ways_of(flat)[way].reshape(said[LABEL].shape)}
