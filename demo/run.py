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
from ..extract.weights.packaged import small_is_installed
from ..train.config import TrainConfig
from ..train.features.features import Features
from ..train.features.find import FeatureStores, find_features
from ..train.features.load import load_features
from ..train.loop import Fit, fit
from ..train.protocols.split import Split, random_split
from ..train.runs.key import Identity
from ..train.runs.write import write_run
from .draw import draw

SEED = 0

BERT = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
}
"""A small BERT; its weights are random, its vocabulary is built from the captions."""

BERT_FOLDER = "small-bert"


@dataclass(frozen=True)
class Variant:
    """How the demo is run."""

    encoders: EncoderConfig
    """What makes the features."""
    recipe: TrainConfig
    """How the heads are trained: the paper's recipe with a smaller head, smaller batches and more regions, for small
    pictures."""
    pairs: int = 2400
    """Number of usable pairs."""

    @property
    def untrained(self) -> bool:
        """Whether the encoders have random weights."""
        return self.encoders.random_init is not None


TRAINED = Variant(
    EncoderConfig(regions="efficientnet-lite0", text_encoder="minilm", context_encoder="efficientnet-lite0"),
    TrainConfig(m=9, d=128, k=128, batch_size=32, lr=3e-4, epochs=12, lr_step=10),
)
"""With the trained encoders of `itin[small]`."""

UNTRAINED = Variant(
    EncoderConfig(regions="grid-small", text_encoder=BERT_FOLDER, random_init=SEED, max_regions=9),
    TrainConfig(m=4, d=128, k=128, batch_size=32, epochs=24, lr_step=19),
)
"""With small encoders of random weights, `BERT` among them, where those are not installed."""

HEADS = {"ITIN": "none", "only context": "only-context"}
"""The ablations that are compared, by the names of their heads."""


@dataclass(frozen=True)
class TrainedHead:
    """A trained head of the comparison."""

    name: str
    fit: Fit
    run: Path


def variant() -> Variant:
    """Return how the demo runs here: on trained encoders where they are installed."""
    return TRAINED if small_is_installed() else UNTRAINED


def prepare(folder: Path, chosen: Variant, seed: int = SEED, progress: Progress | None = None) -> Summary:
    """Draw the data set into `folder/MVSA_demo` and extract its features into `folder/cache`."""
    draw(folder / "MVSA_demo", chosen.pairs, seed)
    encoders = chosen.encoders
    if encoders.text_encoder == BERT_FOLDER:
        bert = folder / BERT_FOLDER
        bert.mkdir(exist_ok=True)
        (bert / "config.json").write_text(json.dumps(BERT, indent=1) + "\n", encoding="utf-8")
        encoders = replace(encoders, text_encoder=str(bert))
    return extract(
        ExtractConfig(dataset="mvsa-single", root=folder / "MVSA_demo", cache=folder / "cache", encoders=encoders),
        progress,
    )


def load(folder: Path, chosen: Variant) -> tuple[FeatureStores, Features, Split]:
    """Load what `prepare` made: the stores, the features in memory, and a random split."""
    encoders, recipe = chosen.encoders, chosen.recipe
    named = {"regions": encoders.regions, "tokens": encoders.text_encoder, "context": encoders.context_encoder}
    found = find_features(folder / "cache", None, named)
    features = load_features(found.table, found.stores, recipe.m)
    return found, features, random_split(features.ids, recipe.split_seed)


def compare(
    folder: Path, chosen: Variant, on_epoch: Callable[[dict[str, float]], None] | None = None
) -> list[TrainedHead]:
    """Train each of `HEADS` on the features of `prepare` and write a run folder for each."""
    found, features, split = load(folder, chosen)
    identity = Identity(features, found.table, found.stores)
    trained = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # heads this small gain nothing from a second one
    try:
        for name, ablation in HEADS.items():
            result = fit(replace(chosen.recipe, ablation=ablation), features, split, torch.device("cpu"), on_epoch)
            key = identity.key(result.config, split)
            run = write_run(result, features, split, found.table.dataset, found.stores, key, parent=folder / "runs")
            trained.append(TrainedHead(name, result, run))
    finally:
        torch.set_num_threads(threads)
    return trained
