"""The planted task with further targets: a level, a score, and samples without a label."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from itin.targets import UNKNOWN, Target
from itin.train.features.features import Features, TargetColumn

from .train.test_loop import planted

CPU = torch.device("cpu")
MOOD = Target(classes=("positive", "neutral", "negative"))
LEVEL = Target("level", "ordered", ("low", "middle", "high"))
SCORE = Target("score", "number", span=(0.0, 10.0))
N = 260
BARE = 20  # samples without a label


def several() -> Features:
    """The planted task with further targets: a level and a score that follow the label, and samples without label."""
    features = planted(N)
    rng = np.random.default_rng(1)
    labels = features.labels.copy()
    level = TargetColumn(LEVEL, np.where(rng.random(N) < 0.2, UNKNOWN, 2 - labels))
    score = 5.0 * (2 - labels) + rng.normal(size=N) * 0.2
    score[rng.random(N) < 0.2] = np.nan
    score[:BARE] = 1.0
    labels[:BARE] = UNKNOWN
    further = {"level": level, "score": TargetColumn(SCORE, np.clip(score, 0, 10))}
    return replace(features, labels=labels, further=further)


def table_of(features: Features, **columns: Any) -> Any:
    """The table of these samples, no two of which are equal but for given columns."""
    n = len(features)
    texts = columns.pop("text", [f"text {i}" for i in range(n)])
    images = columns.pop("image_sha256", [f"image {i}" for i in range(n)])
    samples = {"id": features.ids, "text": texts, "text_sha256": texts, "image_sha256": images, **columns}
    return SimpleNamespace(dataset={"name": "planted"}, samples=pd.DataFrame(samples))


def label_alone(features: Features) -> Features:
    """The same data set as a run on the label sees it: the samples with one."""
    rows = np.flatnonzero(features.labels != UNKNOWN)
    words = np.diff(features.offsets)
    keep = np.repeat(features.labels != UNKNOWN, words)
    return replace(
        features,
        ids=[features.ids[row] for row in rows],
        labels=features.labels[rows],
        regions=features.regions[rows],
        counts=features.counts[rows],
        tokens=features.tokens[keep],
        offsets=np.concatenate([[0], np.cumsum(words[rows])]),
        context=features.context[rows],
        further={},
    )
