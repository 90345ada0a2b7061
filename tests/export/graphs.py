"""Runs of every kind of head on made-up features, and their pairs as padded arrays."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from itin.targets import LABEL, UNKNOWN, Target
from itin.train.config import TrainConfig
from itin.train.features.features import Features, TargetColumn
from itin.train.lexicons.values import lexicon_values
from itin.train.loop import fit
from itin.train.protocols.split import random_split

from ..train.test_runs import NOW, make_stores, write_of

TEXTS = ("so HAPPY! @you", "what a sad, awful day", "une belle journée à la plage avec vous", "")
SIDES = ("text-label", "image-label")
LEVEL = Target("level", "ordered", ("low", "middle", "high", "top"))
SCORE = Target("score", "number", span=(-2.0, 3.0))
SMALL: dict[str, Any] = {"m": 2, "d": 6, "k": 5, "hidden": 4, "filters": 4, "epochs": 2, "batch_size": 16, "lr": 0.05}


def features_of(n: int = 48) -> Features:
    """Pairs with none to three regions and none to five words, of which few are known to a learned table."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    lengths = np.arange(n) % 6
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = [TEXTS[i % len(TEXTS)] for i in range(n)]
    level = np.where(rng.random(n) < 0.2, UNKNOWN, rng.integers(4, size=n))
    score = np.where(rng.random(n) < 0.2, np.nan, rng.uniform(-2, 3, size=n))
    sides = {name: TargetColumn(Target(name, classes=CLASSES), rng.integers(3, size=n)) for name in SIDES}
    return Features(
        ids=[f"s{i}" for i in range(n)],
        labels=labels,
        regions=rng.normal(size=(n, 3, 7)).astype(np.float32),
        counts=(np.arange(n) // 2) % 4,
        tokens=rng.normal(size=(offsets[-1], 6)).astype(np.float32),
        offsets=offsets,
        context=rng.normal(size=(n, 5)).astype(np.float32),
        dataset="made",
        labelled=n,
        classes=CLASSES,
        token_ids=rng.integers(4, size=offsets[-1]).astype(np.int32) * 1000,
        texts=texts,
        scene=np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32),
        lexicons=lexicon_values(["shape", *(["vader"] if find_spec("vaderSentiment") else [])], texts),
        further={"level": TargetColumn(LEVEL, level), "score": TargetColumn(SCORE, score), **sides},
    )


CLASSES = ("positive", "neutral", "negative")


def run_of(features: Features, out: Path, stores: dict[str, Any] | None = None, **recipe: Any) -> Path:
    """Train a small head and write its run."""
    config = TrainConfig(**{**SMALL, **recipe})
    split = random_split(features.ids, 0)
    return write_of(fit(config, features, split), features, split, stores or stores_of(), now=NOW, out=out)


def stores_of() -> dict[str, Any]:
    """The stores that a run records, with all that a real one says."""
    stores = make_stores()
    stores["scene"] = SimpleNamespace(**{**vars(stores["context"]), "identity": {"kind": "scene", "name": "x"}})
    for kind, size in (("regions", 7), ("tokens", 6), ("context", 5), ("scene", 3)):
        stores[kind].identity |= {
            "weights": {"file": "w.bin", "repo": f"org/{kind}", "commit": "c0ffee", "sha256": "ab" * 32},
            "preprocessing": {"layer": "last"},
            "dims": {"feature": size},
            "dtype": "float16",
        }
        own = {"text_encoder": "/home/me/bert", "detector_weights": "/home/me/w.pth"}
        stores[kind].options = {"regions": "grid", "max_regions": 36, **own}
    return stores


def padded(features: Features, rows: np.ndarray, m: int = 3, more: int = 2, fill: float = np.nan) -> dict[str, Any]:
    """The arrays of an ONNX graph for some pairs, written out by hand; `more` places behind the longest are padding."""
    lengths = np.diff(features.offsets)[rows]
    n, B = int(lengths.max(initial=0)) + more, len(rows)
    assert features.token_ids is not None
    assert features.scene is not None
    arrays = {
        "regions": np.full((B, m, features.regions.shape[2]), fill, np.float32),
        "region_mask": np.zeros((B, m), bool),
        "tokens": np.full((B, n, features.tokens.shape[1]), fill, np.float32),
        "token_mask": np.zeros((B, n), bool),
        "context": features.context[rows].astype(np.float32),
        "lexicons": features.lexicons["shape"][rows],
        "token_ids": np.full((B, n), 7, np.int64),
        "scene": features.scene[rows],
    }
    for place, row in enumerate(rows):
        count, begin, length = min(int(features.counts[row]), m), features.offsets[row], lengths[place]
        arrays["regions"][place, :count] = features.regions[row, :count]
        arrays["region_mask"][place, :count] = True
        arrays["tokens"][place, :length] = features.tokens[begin : begin + length]
        arrays["token_mask"][place, :length] = True
        arrays["token_ids"][place, :length] = features.token_ids[begin : begin + length]
    return arrays


ALL_TARGETS = "+".join([LABEL, "level", "score"])
