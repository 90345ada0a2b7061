"""Small made-up features, and the stores and caches of them that tests of what reads a cache need."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from itin.cache import Store, StoreWriter, open_store, write_table
from itin.cache.format import schema
from itin.labels import LABELS
from itin.targets import Target

if TYPE_CHECKING:
    from itin.errors import RunError
    from itin.train.loop import Fit

KINDS = ("regions", "tokens", "context")
DIM = 6
MAX_REGIONS = 4

Arrays = dict[str, np.ndarray]


# Of random numbers ---------------------------------------------------------------------------------------------------


def identity(
    kind: str, name: str = "fake", dtype: str = "float32", dim: int = DIM, max_regions: int = MAX_REGIONS, **more: Any
) -> dict[str, Any]:
    """The identity of a store; what else is given is preprocessing."""
    return {
        "kind": kind,
        "name": name,
        "weights": {"file": "weights.bin", "sha256": "ab" * 32},
        "preprocessing": more,
        "dims": {"feature": dim, "max_regions": max_regions} if kind == "regions" else {"feature": dim},
        "dtype": dtype,
    }


def sample(kind: str, seed: int) -> Arrays:
    rng = np.random.default_rng([seed, list(schema.KINDS).index(kind)])
    if kind not in ("regions", "tokens"):
        return {kind: rng.normal(size=DIM).astype(np.float32)}
    if kind == "tokens":
        n = int(rng.integers(1, 7))
        return {
            "tokens": rng.normal(size=(n + 2, DIM)).astype(np.float32),
            "token_ids": rng.integers(5, 99, n + 2).astype(np.int32),
            "word_ids": np.array([-1, *range(n), -1], np.int32),
        }
    k = int(rng.integers(0, MAX_REGIONS + 1))
    return {
        "regions": rng.normal(size=(k, DIM)).astype(np.float32),
        "boxes": rng.uniform(0, 100, (k, 4)).astype(np.float32),
        "scores": np.sort(rng.random(k).astype(np.float32))[::-1],
        "objects": rng.integers(0, 1600, k).astype(np.int32),
        "object_scores": rng.random(k).astype(np.float32),
        "attributes": rng.integers(0, 400, k).astype(np.int32),
        "attribute_scores": rng.random(k).astype(np.float32),
    }


def rows(count: int, start: int = 0) -> list[tuple[str, str]]:
    """Sample ids with made-up digests of their inputs."""
    return [(f"id-{i}", f"{i:064x}") for i in range(start, start + count)]


# Stores --------------------------------------------------------------------------------------------------------------


def fill(writer: StoreWriter, numbers: Sequence[int], arrays: Callable[[str], Arrays] | None = None) -> int:
    """Write what is missing of these rows; returns how many were committed.

    `arrays` gives the features of a sample by its id, by default those of the number in it.
    """
    arrays = arrays or (lambda id: sample(writer.kind, int(id.removeprefix("id-"))))
    return sum(
        writer.commit(piece.block, {row: writer.stored(arrays(writer.plan.rows[row][0])) for row in piece.rows})
        for piece in writer.missing(numbers)
    )


def make_store(
    parent: Path,
    identity: Mapping[str, Any],
    rows: Sequence[tuple[str, str]],
    arrays: Callable[[str], Arrays] | None = None,
    *,
    size: int = 4,
    quarantine: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Store:
    """A finished store that holds the given rows, but for the ids in quarantine."""
    writer = StoreWriter(parent, dict(identity))
    numbers = writer.extend(rows, size)
    for row in numbers:
        if writer.plan.rows[row][0] in quarantine:
            writer.quarantine(row, "spoilt")
    fill(writer, numbers, arrays)
    writer.finish(dict(provenance or {}))
    return open_store(writer.folder)


OPTIONS = {"regions": "grid", "random_init": 0, "max_regions": 36, "text_encoder": "bert-base-uncased"}


def fill_store(
    parent: Path, kind: str, rows: Sequence[tuple[str, str]], size: int = 4, seed: int = 0, **changes: Any
) -> Store:
    """A store of random numbers, made by an extraction with OPTIONS."""
    provenance = {"options": OPTIONS, "created": "2030-01-01T00:00:00Z"}

    def arrays(id: str) -> Arrays:
        return sample(kind, int(id.removeprefix("id-")) + seed)

    return make_store(parent, identity(kind, **changes), rows, arrays, size=size, provenance=provenance)


def make_pairs(folder: Path) -> Path:
    """A cache in a folder with one data set `pairs` of 10 samples and its three stores."""
    pairs = folder / "cache" / "pairs"
    source = {"kind": "mvsa-single", "root": str(folder / "my data"), "table": None}
    samples = [{"id": f"id-{i}", "label": "neutral", "image_sha256": f"{i:064x}"} for i in range(10)]
    write_table(pairs, {"name": "pairs", "source": source}, samples, [])
    for kind in KINDS:
        fill_store(pairs, kind, rows(10))
    return pairs.parent


def store_of(cache: Path, kind: str) -> Store:
    (path,) = (cache / "pairs").glob(f"{kind}-*")
    return open_store(path)


# Planted -------------------------------------------------------------------------------------------------------------

DIMS = {"regions": 6, "tokens": 5, "context": 4}
M = 3
WORDS = ("lovely", "poor", "cat", "house", "car", "flower", "sunshine", "awful", "evening", "dog")


def planted(
    kind: str, i: int, label: int, words: Sequence[int], strength: float = 1, size: tuple[int, int] | None = None
) -> Arrays:
    """Features of the i-th sample that speak of its label, faintly; it has i modulo 4 regions.

    On an image of the given size the regions lie anywhere, and their objects and attributes are known for every second
    image alone; without one they are all the same.
    """
    rng = np.random.default_rng([i, len(kind)])
    hint = np.eye(3)[label]
    if kind == "context":
        return {"context": np.append(rng.normal(size=3) + hint, 1).astype(np.float32)}
    if kind == "tokens":
        tokens = rng.normal(size=(len(words), 5))
        tokens[:, :3] += strength * hint
        return {
            "tokens": tokens.astype(np.float32),
            "token_ids": np.arange(5, 5 + len(words), dtype=np.int32),
            "word_ids": np.array(words, np.int32),
        }
    k = i % (M + 1)
    boxes, numbers = np.tile([0, 0, 9, 9], (k, 1)), (0, 0)
    if size:
        corners = rng.uniform(0, 0.5, (k, 2)) * size
        boxes, numbers = np.concatenate([corners, corners + np.array(size) / 3], 1), (-1, -1) if i % 2 else (i, 7)
    return {
        "regions": rng.normal(size=(k, 6)).astype(np.float32),
        "boxes": boxes.astype(np.float32),
        "scores": np.linspace(0.9, 0.5, k).astype(np.float32),
        "objects": np.full(k, numbers[0], np.int32),
        "object_scores": np.full(k, 0.5, np.float32),
        "attributes": np.full(k, numbers[1], np.int32),
        "attribute_scores": np.full(k, 0.5, np.float32),
    }


def planted_labels(n: int) -> list[int]:
    return [(i * 7 // 3) % 3 for i in range(n)]


def make_stores(
    folder: Path,
    samples: Sequence[Mapping[str, Any]],
    arrays: Callable[[str, int], Arrays],
    *,
    dims: Mapping[str, int] = DIMS,
    m: int = M,
    name: str = "test",
    weights: Mapping[str, Any] | None = None,
    dtype: str = "float16",
    size: int = 32,
) -> None:
    """A store of each kind for the samples of a table; the i-th has the features `arrays(kind, i)`."""
    places = {row["id"]: i for i, row in enumerate(samples)}
    for kind, dim in dims.items():
        one = identity(kind, name, dtype, dim, m) | {"weights": dict(weights or {"sha256": "ab" * 32})}
        digest = "text_sha256" if kind == "tokens" else "image_sha256"
        ids = [(row["id"], row[digest]) for row in samples]
        make_store(folder, one, ids, lambda id, kind=kind: arrays(kind, places[id]), size=size)  # type: ignore[misc]


def make_cache(root: Path, n: int = 60, name: str = "planted") -> Path:
    """Make a cache folder with one data set and a store of each kind, to train on; returns the cache folder."""
    labels = planted_labels(n)
    samples = [
        {
            "id": f"s{i}",
            "label": LABELS[label],
            "text": f"text s{i}",
            "image": f"/images/s{i}.jpg",
            "image_sha256": f"{i:064x}",
            "text_sha256": f"{i + n:064x}",
        }
        for i, label in enumerate(labels)
    ]
    write_table(root / name, {"name": name, "root": "/images"}, samples, [])
    make_stores(root / name, samples, lambda kind, i: planted(kind, i, labels[i], [-1, *range(1 + i % 4), -1], 2))
    return root


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
    from itin.predict.words import bert_words  # here, for most tests need no text

    pieces = [number for number, word in enumerate(bert_words(text)) for _ in range(1 + (len(word) > 4))]
    return [-1, *pieces, -1]


TARGETS = (
    Target(classes=LABELS),
    *(Target(f"{side}-label-{k}", classes=LABELS) for side in ("text", "image") for k in (1, 2, 3)),
    *(Target(name, "number", span=(-1.0, 1.0)) for name in ("intensity", "text-intensity")),
)
"""The targets of made-up data with votes of three annotators."""


def planted_votes(i: int, label: int) -> dict[str, str | float]:
    """The labels of three annotators for the i-th sample, most often its own, and the means of their numbers."""
    rng = random.Random(i)
    votes = {
        f"{side}-label-{k}": LABELS[label if rng.random() < 0.7 else rng.randrange(3)]
        for side in ("text", "image")
        for k in (1, 2, 3)
    }
    numbers = {name: 1 - LABELS.index(vote) for name, vote in votes.items()}
    text = [number for name, number in numbers.items() if name.startswith("text")]
    return {**votes, "intensity": sum(numbers.values()) / 6, "text-intensity": sum(text) / 3}


def make_data(
    root: Path,
    n: int = 60,
    *,
    texts: Sequence[str] = (),
    ids: Sequence[str] = (),
    size: tuple[int, int] = (64, 48),
    votes: bool = False,
) -> Made:
    """Make pictures and a cache with a store of each kind; the first texts and ids are those given.

    With votes the data set has `TARGETS` beside the label.
    """
    rng = random.Random(0)
    labels = planted_labels(n)
    all_ids = [*ids, *(f"s{i}" for i in range(len(ids), n))]
    all_texts = [*texts, *(" ".join(rng.sample(WORDS, 2 + i % 5)) + "!" for i in range(len(texts), n))]
    images = root / "images"
    images.mkdir(parents=True)
    samples = []
    for i, (id, text) in enumerate(zip(all_ids, all_texts, strict=True)):
        image = Image.new("RGB", size, (i * 37 % 256, i * 91 % 256, i * 53 % 256))
        ImageDraw.Draw(image).ellipse((5, 5, size[0] // 2, size[1] - 5), fill=(255 - i % 256, i * 17 % 256, 40))
        path = images / f"{i}.jpg"
        image.save(path)
        samples.append(
            {
                "id": id,
                "label": LABELS[labels[i]],
                "text": text,
                "image": str(path),
                "image_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "width": size[0],
                "height": size[1],
                **({"targets": planted_votes(i, labels[i])} if votes else {}),
            }
        )
    folder = root / "cache" / "made-up"
    record = {"name": "made-up", "source": {"kind": "folder", "root": str(images)}}
    more = {"targets": [target.to_dict() for target in TARGETS]} if votes else {}
    write_table(folder, {**record, **more}, samples, [])
    make_stores(
        folder,
        samples,
        lambda kind, i: planted(kind, i, labels[i], word_ids(all_texts[i]) if kind == "tokens" else (), size=size),
        name="made",
        weights={"random_init": 0, "sha256": "ab" * 32},
        dtype="float32",
        size=256,
    )
    return Made(root / "cache", images, all_ids, all_texts, labels)


def make_run(
    made: Made, out: Path, *, evaluate: tuple[str, ...] = ("val", "test"), split_seed: int = 0, **recipe: Any
) -> Path:
    """Train a small head and write its run folder."""
    from itin.train.config import TrainConfig  # here, for most tests need no torch
    from itin.train.features.find import find_features
    from itin.train.features.load import load_features
    from itin.train.loop import fit
    from itin.train.protocols.split import random_split
    from itin.train.runs.key import Identity
    from itin.train.runs.write import write_run

    small = {"m": M, "d": 8, "k": 8, "hidden": 8, "epochs": 3, "batch_size": 16, "lr": 0.02}
    config = TrainConfig(**{**small, "split_seed": split_seed, **recipe})
    found = find_features(made.cache, None, {})
    view, targets, lexicons = config.keep_special, config.targets, config.lexicon_names
    features = load_features(found.table, found.stores, config.regions, view, targets=targets, lexicons=lexicons)
    split = random_split(features.ids, split_seed)
    result = fit(config, features, split, evaluate=evaluate)
    key = Identity(features, found.table, found.stores).key(config, split)
    return write_run(result, features, split, found.table.dataset, found.stores, key, out=out)


def results_of(
    *arguments: Any, on_epoch: Callable[[int, dict[str, float]], None] | None = None, **options: Any
) -> list[Fit | RunError]:
    """What `train` gives for each configuration in the end."""
    from itin.train.loop import train

    results: list[Fit | RunError] = []
    for j, made in train(*arguments, **options):
        if not isinstance(made, dict):
            results.append(made)
        elif on_epoch is not None:
            on_epoch(j, made)
    return results
