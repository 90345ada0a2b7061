"""Stores -> features resident in memory -> batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import CacheError, DataError
from ..itin_head.gru.batch import mask_of
from ..itin_head.gru.packing import Words, gather_words
from ..labels import LABELS
from ..matching import MOST_LOST, examples, match
from .mapped import place_for, to_disk
from .memory import available

MEMORY_SHARE = 0.8
"""How much of the free memory, of the machine or of a device, features may take; training needs the rest."""

BLOCK = 128
"""Samples read at a time where memory cannot hold all of them."""

INPUT = {"regions": "image_sha256", "tokens": "text_sha256", "context": "image_sha256"}
"""The kinds of feature, and the column of the data set's table that holds the digest of what each is made from."""


class TableLike(Protocol):
    """What is read of a data set's table, `itin.cache.Table`."""

    @property
    def dataset(self) -> dict[str, Any]:
        """At least `name`."""
        ...

    @property
    def samples(self) -> pd.DataFrame:
        """Columns `id`, `label` (None where unlabelled), `image_sha256`, `text_sha256`."""
        ...


@dataclass(frozen=True, eq=False)
class Features:
    """The labelled samples of a data set, packed, in the dtype of their stores.

    Raises:
        ValueError: arrays that do not fit together.
    """

    ids: list[str]
    """N ids."""
    labels: np.ndarray
    """(N,) int64, places in `LABELS`."""
    regions: np.ndarray
    """(N, m, region_dim), by descending score; rows from `counts` on hold nothing."""
    counts: np.ndarray
    """(N,) int64, how many regions each image has, at most m."""
    tokens: np.ndarray
    """(T, token_dim), the words of all samples one after the other."""
    offsets: np.ndarray
    """(N + 1,) int64; sample i has the words `tokens[offsets[i]:offsets[i + 1]]`."""
    context: np.ndarray
    """(N, context_dim)."""
    dataset: str = ""
    """The data set's name."""
    labelled: int = 0
    """How many samples of the data set have a label."""
    missing: dict[str, int] = field(default_factory=dict)
    """For each kind, how many labelled samples its store does not hold."""
    mapped: Path | None = None
    """Where a temporary file holds regions and words that memory cannot hold."""
    outside: list[str] = field(default_factory=list)
    """Why labelled samples are not among these, a line each; known where features are read from their stores."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, shape in (
            ("labels", (n,)),
            ("regions", (n, "m", "D")),
            ("counts", (n,)),
            ("tokens", (int(self.offsets[-1]) if len(self.offsets) else 0, "E")),
            ("offsets", (n + 1,)),
            ("context", (n, "C")),
        ):
            got = getattr(self, name).shape
            if len(got) != len(shape) or any(isinstance(a, int) and a != b for a, b in zip(shape, got, strict=True)):
                raise ValueError(f"{name}: expected ({', '.join(map(str, shape))}), got {got}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dims(self) -> dict[str, int]:
        """`region_dim`, `token_dim` and `context_dim`, as far as there are such features."""
        sizes = {
            "region_dim": self.regions.shape[2],
            "token_dim": self.tokens.shape[1],
            "context_dim": self.context.shape[1],
        }
        return {name: size for name, size in sizes.items() if size}


def load_features(
    table: TableLike,
    stores: Mapping[str, Any],
    m: int,
    keep_special: bool = False,
    mapped: bool | None = None,
    allow_missing: bool = False,
) -> Features:
    """Read the labelled samples that all the given stores hold, in the order of the table.

    Args:
        table: the data set's table.
        stores: `itin.cache.Store` by kind; `tokens` and `context` always, `regions` unless m is 0. With m = 0 a
            `regions` store that is given is not read, but still decides which samples there are, so that runs with and
            without regions are made of the same ones.
        m: regions of an image to read.
        keep_special: keep the words with word id -1, [CLS] and [SEP].
        mapped: put regions and words into a temporary file and map it; by default where memory could not hold them.
        allow_missing: whether more than `MOST_LOST` of the labelled samples may lack features. Those in quarantine do
            not count: why they have none is known.

    Raises:
        CacheError: a kind without a store, a store with fewer regions than m, no labelled sample in all stores, or
            many that are not; or neither memory nor a disk has room for the features.
        DataError: no sample has a label, or one has an unknown label.
    """
    if m < 0:
        raise ValueError(f"m: expected at least 0, got {m}")
    name = str(table.dataset.get("name", ""))
    for kind in INPUT:
        if kind not in stores and (kind != "regions" or m):
            raise CacheError(
                f"no {kind} features of {name or 'this data set'}",
                expected=f"a store of kind {kind}",
                found=", ".join(stores) or "none",
                next_step=f"run `itin extract --only {kind}` with the same --dataset and --cache",
            )
    if m and (held := int(stores["regions"].identity["dims"]["max_regions"])) < m:
        raise CacheError(
            f"{stores['regions'].path} holds too few regions an image",
            expected=f"at least m = {m}",
            found=str(held),
            next_step=f"train with --m {held}, or run `itin extract --only regions --max-regions {m}`",
        )

    samples, labels = _labelled(table.samples, name)
    ids = [str(sample) for sample in samples["id"]]
    inputs = {kind: [str(digest) for digest in samples[INPUT[kind]]] for kind in stores}
    rows = {kind: store.index(ids, inputs[kind]) for kind, store in stores.items()}
    held_by_all = np.all([found >= 0 for found in rows.values()], axis=0)
    missing = {kind: int((found < 0).sum()) for kind, found in rows.items()}
    if not held_by_all.any():
        cause = match(ids, stores[max(missing, key=lambda kind: missing[kind])].ids).cause
        raise CacheError(
            f"no labelled sample of {name or 'this data set'} has features of every kind",
            expected="the same samples in all stores",
            found=f"{len(ids)} labelled samples; without features: "
            + ", ".join(f"{count} of {kind}" for kind, count in missing.items())
            + (f"; {cause}" if cause is not None else ""),
            next_step="run the same `itin extract` again: it makes what is missing",
        )
    outside = _outside(name, ids, inputs, stores, rows, allow_missing)
    rows = {kind: found[held_by_all] for kind, found in rows.items()}
    n = int(held_by_all.sum())

    size = size_of(stores, rows, m)
    if mapped is None:
        free = available()
        mapped = free is not None and sum(size.values()) + size["tokens"] > MEMORY_SHARE * free
    place, on_disk = None, size["tokens"] + size.get("regions", 0)
    hold: Callable[[Iterable[np.ndarray]], np.ndarray] = _only
    if mapped:
        place = place_for(on_disk, stores["tokens"].path.parent)
        hold = partial(to_disk, size=on_disk, place=place)
    parts = [slice(begin, begin + BLOCK) for begin in range(0, n, BLOCK)] if mapped else [slice(None)]
    regions = np.zeros((n, 0, 0), np.float16)
    counts = np.zeros(n, np.int64)
    if m:
        store, own = stores["regions"], rows["regions"]
        regions = hold(store.read("regions", own[part], first=m) for part in parts)
        counts = np.minimum(store.read("counts", own).astype(np.int64), m)
    lengths: list[np.ndarray] = []
    tokens = hold(_words(stores["tokens"], rows["tokens"][part], keep_special, lengths) for part in parts)
    return Features(
        ids=[sample for sample, there in zip(ids, held_by_all, strict=True) if there],
        labels=labels[held_by_all],
        regions=regions,
        counts=counts,
        tokens=tokens,
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        context=stores["context"].read("context", rows["context"]),
        dataset=name,
        labelled=len(ids),
        missing=missing,
        mapped=place,
        outside=outside,
    )


def _outside(
    name: str,
    ids: list[str],
    inputs: Mapping[str, list[str]],
    stores: Mapping[str, Any],
    rows: Mapping[str, np.ndarray],
    allow_missing: bool,
) -> list[str]:
    """Why samples have no features: in quarantine, or lost.

    Raises:
        CacheError: many are lost.
    """
    absent = np.flatnonzero(np.any([found < 0 for found in rows.values()], axis=0)).tolist()
    bad = {kind: store.quarantined for kind, store in stores.items()} if absent else {}
    lost = [row for row in absent if not any((ids[row], inputs[kind][row]) in bad[kind] for kind in bad)]
    told = []
    if len(absent) > len(lost):
        known = [ids[row] for row in sorted(set(absent) - set(lost))]
        told.append(f"in quarantine: {len(known)} ({examples(known)}), `itin cache info` says why")
    if lost:
        kind = max(stores, key=lambda one: int((rows[one][lost] < 0).sum()))
        met = match((ids[row] for row in lost if rows[kind][row] < 0), stores[kind].ids)
        told.append(
            f"without features: {len(lost)} ({examples([ids[row] for row in lost])}), `itin extract` makes them"
        )
        if met.both:
            told.append(f"{met.both} of them had another image or text when their {kind} features were made")
        told += [met.cause] if met.cause is not None else []
    if len(lost) > MOST_LOST * (len(ids) - len(absent) + len(lost)) and not allow_missing:
        raise CacheError(
            f"{len(lost)} of {len(ids)} labelled pairs of {name or 'this data set'} have no features",
            expected=f"features of at least {1 - MOST_LOST:.0%} of the pairs that are not in quarantine",
            found="; ".join(told),
            next_step="run the same `itin extract` again, without --limit: it makes what is missing; or go on without "
            "these pairs: --allow-missing",
        )
    return told


def size_of(stores: Mapping[str, Any], rows: Mapping[str, np.ndarray], m: int) -> dict[str, int]:
    """Return the bytes of the features of each kind; words count twice while they are read, with and without [CLS].

    Args:
        stores: by kind.
        rows: the rows wanted of each.
        m: regions of an image.
    """
    vectors = {
        "regions": len(rows.get("regions", ())) * m,
        "tokens": int(stores["tokens"].lengths(rows["tokens"]).sum()),
        "context": len(rows["context"]),
    }
    return {
        kind: vectors[kind] * store.feature_dim * np.dtype(store.identity["dtype"]).itemsize
        for kind, store in stores.items()
    }


def _labelled(samples: pd.DataFrame, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The samples with a label, and the labels' numbers (N,) int64."""
    has_label = samples["label"].notna() if "label" in samples else pd.Series([], dtype=bool)
    if not has_label.any():
        raise DataError(
            f"no sample of {name or 'this data set'} has a label, so there is nothing to train on",
            expected=f"labels among {', '.join(LABELS)}",
            found=f"{len(samples)} samples without a label",
            next_step="extract a data set with labels",
        )
    samples = samples[has_label]
    numbers = {label: number for number, label in enumerate(LABELS)}
    if unknown := sorted({str(label) for label in samples["label"]} - set(numbers)):
        raise DataError(
            f"unknown labels in {name or 'this data set'}",
            expected=", ".join(LABELS),
            found=", ".join(unknown),
            next_step="mend the labels in the data set's table and run `itin extract` again",
        )
    return samples, np.array([numbers[label] for label in samples["label"]], dtype=np.int64)


def _words(store: Any, rows: np.ndarray, keep_special: bool, lengths: list[np.ndarray]) -> np.ndarray:
    """The words of some rows (T, token_dim), one after the other; how many each has is added to `lengths`."""
    words = store.read_ragged(rows)
    tokens: np.ndarray = words["tokens"]
    offsets = words["offsets"]
    if not keep_special:
        keep = words["word_ids"] != -1
        tokens, offsets = tokens[keep], np.concatenate([[0], np.cumsum(keep)])[offsets]
    lengths.append(np.diff(offsets))
    return tokens


def _only(blocks: Iterable[np.ndarray]) -> np.ndarray:
    (block,) = blocks
    return block


class Batch(NamedTuple):
    """One batch: what a head looks at, and the labels. With J batches side by side, J stands first."""

    regions: Tensor | None
    """(B, m, region_dim), or None when m is 0"""
    words: Words
    """of all texts, packed"""
    context: Tensor
    """(B, context_dim)"""
    region_mask: Tensor | None
    """(B, m) bool, or None when m is 0"""
    labels: Tensor
    """(B,) int64"""

    @property
    def inputs(self) -> tuple[Tensor | None, Words, None, Tensor, Tensor | None]:
        """The arguments of `itin_head.Head`."""
        return self.regions, self.words, None, self.context, self.region_mask


class Resident:
    """Features on the device, in the dtype of their stores; each batch is one gather an array, converted to float32.

    Regions and words that a CUDA device cannot hold stay where they are: each batch is gathered there, and moved.

    Args:
        features: what to hold; on the CPU its arrays are used as they are, without a copy.
        device: where to.
        m: how many of the features' regions to use.
        max_words: how many of a text's words to use, the first ones; None for all.

    Raises:
        ValueError: the features have fewer regions than m.
    """

    def __init__(self, features: Features, device: torch.device, m: int, max_words: int | None = None) -> None:
        if features.regions.shape[1] < m:
            raise ValueError(f"features: expected at least m = {m} regions an image, got {features.regions.shape[1]}")
        self.device = device
        self.m = m
        self.max_words = max_words
        regions = features.regions[:, :m]
        self.held = fits(regions.nbytes + features.tokens.nbytes, device)
        home = device if self.held else torch.device("cpu")
        self.regions = _tensor(regions, home)
        self.counts = _tensor(np.minimum(features.counts, m), device)
        self.tokens = _tensor(features.tokens, home)
        self.offsets = _tensor(features.offsets, torch.device("cpu"))  # where batches are planned
        self.context = _tensor(features.context, device)
        self.labels = _tensor(features.labels, device)

    def narrow(self, m: int) -> Resident:
        """The same features, without a copy, with the first m regions of each image alone."""
        if m > self.m:
            raise ValueError(f"m: expected at most {self.m}, got {m}")
        narrow = copy.copy(self)
        narrow.m, narrow.counts = m, self.counts.clamp(max=m)
        narrow.regions = self.regions[:, :m]
        return narrow

    def batch(self, rows: Tensor) -> Batch:
        """Gather the samples of some rows, in their order.

        Args:
            rows: (B,) int64 on the CPU, or (J, B) for J batches side by side.
        """
        words = gather_words(*self._texts(rows), self.max_words)
        regions = self.regions[rows.to(self.regions.device)].to(self.device).float() if self.m else None
        rows = rows.to(self.device)
        return Batch(
            regions=regions,
            words=words,
            context=self.context[rows].float(),
            region_mask=mask_of(self.counts[rows], self.m) if self.m else None,
            labels=self.labels[rows],
        )

    def _texts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The words of all texts or of these alone, the offsets (on the CPU) that go with them, and the rows there."""
        if self.held:
            return self.tokens, self.offsets, rows
        flat = rows.flatten()
        start = self.offsets[flat]
        lengths = self.offsets[flat + 1] - start
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        places = torch.arange(int(offsets[-1])) + (start - offsets[:-1]).repeat_interleave(lengths)
        return self.tokens[places].to(self.device), offsets, torch.arange(len(flat)).view_as(rows)


def fits(size: int, device: torch.device) -> bool:
    """Return whether a device's memory can hold so many bytes of features; the CPU's are where they are already."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # ours, and free again
    return size <= MEMORY_SHARE * (free + unused)


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
