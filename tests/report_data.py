"""Small trained runs on a made-up data set with real pictures and texts, for tests of what reports on them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from itin.cache import StoreWriter
from itin.cache.table import write_table
from itin.labels import LABELS
from itin.predict.words import bert_words
from itin.train.config import TrainConfig
from itin.train.data import load_features
from itin.train.find import find_features
from itin.train.identity import Identity
from itin.train.loop import fit
from itin.train.splits import random_split
from itin.train.write_run import write_run

DIMS = {"regions": 6, "tokens": 5, "context": 4}
M = 3
WORDS = ("lovely", "poor", "cat", "house", "car", "flower", "sunshine", "awful", "evening", "dog")


@dataclass(frozen=True)
class Made:
    """A made-up data set: where it is, and what its samples are."""

    cache: Path
    images: Path
    ids: list[str]
    texts: list[str]
    labels: list[int]


def word_ids(text: str) -> list[int]:
    """[CLS], the words (two pieces each where they are longer than four letters), [SEP]."""
    pieces = [number for number, word in enumerate(bert_words(text)) for _ in range(1 + (len(word) > 4))]
    return [-1, *pieces, -1]


def make_data(
    root: Path, n: int = 60, *, texts: Sequence[str] = (), ids: Sequence[str] = (), size: tuple[int, int] = (64, 48)
) -> Made:
    """Make pictures and a cache with a store of each kind; the first texts and ids are those given.

    Image i has i modulo 4 regions, whose objects and attributes are known for every second image alone.
    """
    rng = random.Random(0)
    labels = [(i * 7 // 3) % 3 for i in range(n)]
    all_ids = [*ids, *(f"s{i}" for i in range(len(ids), n))]
    all_texts = [*texts, *(" ".join(rng.sample(WORDS, 2 + i % 5)) + "!" for i in range(len(texts), n))]
    images = root / "images"
    images.mkdir(parents=True)
    samples = []
    for i, (sample, text) in enumerate(zip(all_ids, all_texts, strict=True)):
        image = Image.new("RGB", size, (i * 37 % 256, i * 91 % 256, i * 53 % 256))
        ImageDraw.Draw(image).ellipse((5, 5, size[0] // 2, size[1] - 5), fill=(255 - i % 256, i * 17 % 256, 40))
        path = images / f"{i}.jpg"
        image.save(path)
        samples.append(
            {
                "id": sample,
                "label": LABELS[labels[i]],
                "text": text,
                "image": str(path),
                "image_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "width": size[0],
                "height": size[1],
            }
        )
    folder = root / "cache" / "made-up"
    source = {"kind": "folder", "root": str(images)}
    write_table(folder, {"name": "made-up", "source": source}, samples, [])
    for kind, length in DIMS.items():
        dims = {"feature": length, "max_regions": M} if kind == "regions" else {"feature": length}
        weights = {"random_init": 0, "sha256": "ab" * 32}
        identity: dict[str, Any] = {"kind": kind, "name": "made", "weights": weights, "preprocessing": {}, "dims": dims}
        writer = StoreWriter(folder, {**identity, "dtype": "float32"})
        digest = "text_sha256" if kind == "tokens" else "image_sha256"
        rows = writer.extend([(row["id"], row[digest]) for row in samples], shard_size=256)
        places = {sample: i for i, sample in enumerate(all_ids)}
        for piece in writer.missing(rows):
            made = {}
            for row in piece.rows:
                i = places[writer.plan.rows[row][0]]
                made[row] = writer.stored(_arrays(kind, i, labels[i], all_texts[i], size))
            writer.commit(piece.block, made)
        writer.finish({})
    return Made(root / "cache", images, all_ids, all_texts, labels)


def make_run(
    made: Made, out: Path, *, evaluate: tuple[str, ...] = ("val", "test"), split_seed: int = 0, **recipe: Any
) -> Path:
    """Train a small head and write its run folder."""
    small = {"m": M, "d": 8, "k": 8, "hidden": 8, "epochs": 3, "batch_size": 16, "lr": 0.02}
    config = TrainConfig(**{**small, "split_seed": split_seed, **recipe})
    found = find_features(made.cache, None, {})
    features = load_features(found.table, found.stores, config.regions, config.keep_special)
    split = random_split(features.ids, split_seed)
    result = fit(config, features, split, evaluate=evaluate)
    key = Identity(features, found.table, found.stores).key(config, split)
    return write_run(result, features, split, found.table.dataset, found.stores, key, out=out)


def _arrays(kind: str, i: int, label: int, text: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Features of a sample that speak of its label, faintly."""
    rng = np.random.default_rng([i, len(kind)])
    hint = np.eye(3)[label]
    if kind == "context":
        return {"context": np.append(rng.normal(size=3) + hint, 1).astype(np.float32)}
    if kind == "tokens":
        words = word_ids(text)
        tokens = rng.normal(size=(len(words), 5))
        tokens[:, :3] += hint
        return {
            "tokens": tokens.astype(np.float32),
            "token_ids": np.arange(5, 5 + len(words), dtype=np.int32),
            "word_ids": np.array(words, np.int32),
        }
    k, known = i % (M + 1), i % 2 == 0
    corners = rng.uniform(0, 0.5, (k, 2)) * size
    return {
        "regions": rng.normal(size=(k, 6)).astype(np.float32),
        "boxes": np.concatenate([corners, corners + np.array(size) / 3], 1).astype(np.float32),
        "scores": np.linspace(0.9, 0.5, k).astype(np.float32),
        "objects": np.full(k, i if known else -1, np.int32),
        "object_scores": np.full(k, 0.5, np.float32),
        "attributes": np.full(k, 7 if known else -1, np.int32),
        "attribute_scores": np.full(k, 0.5, np.float32),
    }
