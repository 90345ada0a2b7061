"""The whole pipeline on the demo's data set, with the functions of the commands: extract, train, compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..extract.config import EncoderConfig, ExtractConfig
from ..extract.progress import Progress
from ..extract.run import extract
from ..extract.summary import Summary
from ..train.config import TrainConfig
from ..train.features.features import Features
from ..train.features.find import FeatureStores, find_features
from ..train.features.load import load_features
from ..train.loop import Fit, fit
from ..train.protocols.split import Split, random_split
from ..train.runs.key import Identity
from ..train.runs.write import write_run
from .draw import draw

PAIRS = 2400
SEED = 0

BERT = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
"""A small BERT; its weights are random, its vocabulary is built from the captions."""

RECIPE = TrainConfig(m=4, d=128, k=128, batch_size=32, epochs=24, lr_step=19)
"""The paper's recipe with a smaller head, smaller batches and more regions, for small pictures."""

HEADS = {"ITIN": "none", "only context": "only-context"}
"""The ablations that are compared, by the names of their heads."""


@dataclass(frozen=True)
class TrainedHead:
    """A trained head of the comparison."""

    name: str
    fit: Fit
    run: Path


def prepare(folder: Path, pairs: int = PAIRS, seed: int = SEED, progress: Progress | None = None) -> Summary:
    """Draw the data set into `folder/MVSA_demo` and extract its features into `folder/cache`."""
    draw(folder / "MVSA_demo", pairs, seed)
    encoder = folder / "small-bert"
    encoder.mkdir(exist_ok=True)
    (encoder / "config.json").write_text(json.dumps(BERT, indent=1) + "\n", encoding="utf-8")
    return extract(
        ExtractConfig(
            dataset="mvsa-single",
            root=folder / "MVSA_demo",
            cache=folder / "cache",
            encoders=EncoderConfig(regions="grid-small", text_encoder=str(encoder), random_init=seed, max_regions=9),
        ),
        progress,
    )


def load(folder: Path) -> tuple[FeatureStores, Features, Split]:
    """Load what `prepare` made: the stores, the features in memory, and a random split."""
    found = find_features(folder / "cache", None, {})
    features = load_features(found.table, found.stores, RECIPE.m)
    return found, features, random_split(features.ids, RECIPE.split_seed)


def compare(folder: Path, on_epoch: Callable[[dict[str, float]], None] | None = None) -> list[TrainedHead]:
    """Train each of `HEADS` on the features of `prepare` and write a run folder for each."""
    found, features, split = load(folder)
    identity = Identity(features, found.table, found.stores)
    trained = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # heads this small gain nothing from a second one
    try:
        for name, ablation in HEADS.items():
            result = fit(replace(RECIPE, ablation=ablation), features, split, torch.device("cpu"), on_epoch)
            key = identity.key(result.config, split)
            run = write_run(result, features, split, found.table.dataset, found.stores, key, parent=folder / "runs")
            trained.append(TrainedHead(name, result, run))
    finally:
        torch.set_num_threads(threads)
    return trained
