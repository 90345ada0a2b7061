"""ITIN against `global-local` where captions speak of regions, and where they speak of the setting alone.

    python tests/bench/planted.py [--heads itin,global-local] [--pairs 2400] [--seeds 5] [--noise 0.5]

The features are planted, not extracted: each object, setting and word has a random vector, and noise is added to what
the image shows. A caption says two things, such as "lovely house , poor cat", and the image shows one of the two; the
label is the mood of the one that is shown. Words of the other, the other regions and, in the first data set, the
setting say nothing. In the data set `regions` captions name objects, and the object shown is one of the regions. In the
data set `setting` captions name settings, and the setting shown is in the context vector V alone; the regions are
objects of which no word speaks. So the first can be told by the alignment of regions with words, the second only where
V meets the words. Prints the mean of the test accuracy over seeds (of weights, order and parts) with its 95% interval,
and that of the differences to the first head, seed by seed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from itin.labels import LABELS
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.loop import fit
from itin.train.protocols.split import random_split

KINDS = 8
MOODS = 4
REGIONS = 2
REGION_DIM, TOKEN_DIM, CONTEXT_DIM = 64, 48, 32


def planted(dataset: str, pairs: int, noise: float) -> Features:
    """The data set `regions` or `setting`."""
    rng = np.random.default_rng(0)
    words_of = {
        name: rng.normal(size=(count, TOKEN_DIM))
        for name, count in (("object", KINDS), ("setting", KINDS), ("filler", 20))
    }
    mood_words = rng.normal(size=(len(LABELS), MOODS, TOKEN_DIM))
    objects, settings = rng.normal(size=(KINDS, REGION_DIM)), rng.normal(size=(KINDS, CONTEXT_DIM))
    labels = rng.integers(len(LABELS), size=pairs)
    regions, context, tokens = [], [], []
    for label in labels:
        named, unnamed = np.split(rng.permutation(KINDS), [2])
        other = rng.choice([mood for mood in range(len(LABELS)) if mood != label])
        phrases = [
            np.stack(
                [mood_words[mood, rng.integers(MOODS)], words_of["object" if dataset == "regions" else "setting"][what]]
            )
            for mood, what in zip((label, other), named, strict=True)
        ]
        order = rng.permutation(2)
        between = [words_of["filler"][rng.integers(20, size=rng.integers(0, 4))] for _ in range(3)]
        tokens.append(np.concatenate([between[0], phrases[order[0]], between[1], phrases[order[1]], between[2]]))
        shown = rng.choice(unnamed if dataset == "regions" else KINDS, size=REGIONS, replace=False)
        if dataset == "regions":
            shown[rng.integers(REGIONS)] = named[0]
        regions.append(objects[shown] + noise * rng.normal(size=(REGIONS, REGION_DIM)))
        setting = named[0] if dataset == "setting" else rng.integers(KINDS)
        context.append(settings[setting] + noise * rng.normal(size=CONTEXT_DIM))
    return Features(
        ids=[str(number) for number in range(pairs)],
        labels=labels.astype(np.int64),
        regions=np.stack(regions).astype(np.float32),
        counts=np.full(pairs, REGIONS, np.int64),
        tokens=np.concatenate(tokens).astype(np.float32),
        offsets=np.cumsum([0, *map(len, tokens)]).astype(np.int64),
        context=np.stack(context).astype(np.float32),
        dataset=dataset,
        labelled=pairs,
    )


def interval(values: np.ndarray) -> str:
    """Mean and 95% interval by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} [{values.mean() - half:.3f}, {values.mean() + half:.3f}]"


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", default="itin,global-local")
    parser.add_argument("--pairs", type=int, default=2400)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    base = TrainConfig(
        m=REGIONS, d=128, k=128, batch_size=32, epochs=options.epochs, lr_step=max(1, options.epochs * 4 // 5)
    )
    heads = options.heads.split(",")
    torch.set_num_threads(1)
    print(f"{options.pairs} pairs, noise {options.noise}, {options.epochs} epochs, d = k = {base.d}")
    print("| data set | head | test accuracy, mean and 95% interval | each seed | difference to the first head |")
    print("|---|---|---|---|---|")
    for dataset in ("regions", "setting"):
        features = planted(dataset, options.pairs, options.noise)
        scores: dict[str, np.ndarray] = {}
        for head in heads:
            runs = [
                fit(replace(base, head=head, seed=seed), features, random_split(features.ids, seed), gru="packed")
                for seed in range(options.seeds)
            ]
            scores[head] = np.array([run.metrics["test"]["accuracy"] for run in runs])
            difference = interval(scores[head] - scores[heads[0]]) if head != heads[0] else ""
            each = " ".join(f"{score:.3f}" for score in scores[head])
            print(f"| {dataset} | {head} | {interval(scores[head])} | {each} | {difference} |", flush=True)


if __name__ == "__main__":
    main()
