"""Features and their split, for training several heads side by side."""

from __future__ import annotations

import numpy as np
import pytest

from itin.train.features.features import Features
from itin.train.protocols.split import Split, random_split


@pytest.fixture(scope="module")
def features() -> Features:
    rng = np.random.default_rng(0)
    n = 140
    lengths = rng.integers(0, 9, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = rng.integers(3, size=n)
    context = rng.normal(size=(n, 4))
    context[:, :3] += np.eye(3)[labels]
    return Features(
        ids=[f"{i:03}" for i in range(n)],
        labels=labels,
        regions=rng.normal(size=(n, 3, 6)).astype(np.float16),
        counts=rng.integers(4, size=n),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float16),
        offsets=offsets,
        context=context.astype(np.float16),
        dataset="my set",
        labelled=n,
    )


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)
