"""Stores -> features: what all stores hold of the labelled samples, in memory or in a mapped file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...errors import CacheError, DataError
from ...labels import listed
from ...tabular.matching import MOST_LOST, examples, match
from ...targets import LABEL, UNKNOWN, Target, cells_of, chosen, shares_of, targets_of, values_of
from ..lexicons.values import lexicon_values
from .features import INPUT, Features, TargetColumn, only
from .mapped import folder_with_room, to_disk
from .memory import MEMORY_SHARE, available
from .named import read_named

if TYPE_CHECKING:
    from ...cache import Table

BLOCK = 64
"""Samples read at a time where memory cannot hold all of them."""


def load_features(
    table: Table,
    stores: Mapping[str, Any],
    m: int,
    keep_special: bool = False,
    mapped: bool | None = None,
    allow_missing: bool = False,
    inputs: Collection[str] = ("regions", "tokens", "context"),
    targets: Sequence[str] = (LABEL,),
    lexicons: Collection[str] = (),
) -> Features:
    """Read the samples with a value for a target that all the given stores hold, in the order of the table.

    Args:
        table: the data set's table.
        stores: `itin.cache.Store` by kind. One that is not needed (`regions` with m = 0, or a kind that is none of
            `inputs`) still decides which samples there are, so that all heads see the same ones.
        m: regions of an image to read.
        keep_special: keep the words with word id -1, [CLS] and [SEP].
        mapped: put regions and words into a temporary file and map it; by default where memory could not hold them.
        allow_missing: whether more than `MOST_LOST` of the labelled samples may lack features. Those in quarantine do
            not count: why they have none is known.
        inputs: the kinds that must be there.
        targets: the names of the targets; a sample with a value for any of them is read.
        lexicons: the lexicons whose values are wanted.

    Raises:
        CacheError: a kind without a store, a store with fewer regions than m, no labelled sample in all stores, or
            too many that are not; or neither memory nor a disk has room for the features.
        DataError: no sample has a value for a target, or one has an unknown label; or there are no texts for lexicons.
        RunError: the package of a lexicon is not installed.
        ValueError: the data set does not have one of the targets.
    """
    if m < 0:
        raise ValueError(f"m: expected at least 0, got {m}")
    name = str(table.dataset.get("name", ""))
    for kind in INPUT:
        if kind in inputs and kind not in stores and (kind != "regions" or m):
            raise CacheError(
                f"no {kind} features of {name or 'this data set'}",
                expected=f"a store of kind {kind}",
                found=", ".join(stores) or "none",
                next_step=f"run `itin extract {only(kind)}` with the same --dataset and --cache",
            )
    if m and (held := int(stores["regions"].identity["dims"]["max_regions"])) < m:
        raise CacheError(
            f"{stores['regions'].path} holds too few regions per image",
            expected=f"at least m = {m}",
            found=str(held),
            next_step=f"train with --m {held}, or run `itin extract --only regions --max-regions {m}`",
        )

    samples, columns = _with_targets(table, name, targets)
    label = columns.pop(LABEL, None)
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

    size = {**dict.fromkeys(INPUT, 0), **size_of(stores, rows, m)}
    if mapped is None:
        free = available()
        mapped = free is not None and sum(size.values()) + size["tokens"] > MEMORY_SHARE * free
    place, on_disk = None, size["tokens"] + size["regions"]
    hold: Callable[[Iterator[np.ndarray]], np.ndarray] = next  # all in one part
    if mapped:
        place = folder_with_room(on_disk, next(iter(stores.values())).path.parent)
        hold = partial(to_disk, size=on_disk, place=place)
    parts = [slice(begin, begin + BLOCK) for begin in range(0, n, BLOCK)] if mapped else [slice(None)]
    regions = np.zeros((n, 0, 0), np.float16)
    counts = np.zeros(n, np.int64)
    named = None
    if m:
        store, own = stores["regions"], rows["regions"]
        regions = hold(store.read("regions", own[part], first=m) for part in parts)
        counts = np.minimum(store.read("counts", own).astype(np.int64), m)
        named = read_named(store, own, m)
    tokens, lengths = np.zeros((0, 0), np.float16), [np.zeros(n, np.int64)]
    token_ids = [np.zeros(0, np.int32)]
    if "tokens" in stores:
        lengths = []
        own = rows["tokens"]
        tokens = hold(_words(stores["tokens"], own[part], keep_special, lengths, token_ids) for part in parts)
    context = np.zeros((n, 0), np.float16)
    if "context" in stores:
        context = stores["context"].read("context", rows["context"])
    scene = stores["scene"].read("scene", rows["scene"]) if "scene" in stores else None
    return Features(
        ids=[sample for sample, there in zip(ids, held_by_all, strict=True) if there],
        labels=(np.full(len(ids), UNKNOWN) if label is None else label.values)[held_by_all].astype(np.int64),
        regions=regions,
        counts=counts,
        tokens=tokens,
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
        context=context,
        dataset=name,
        classes=() if label is None else label.target.classes,
        ordered=label is not None and label.target.kind == "ordered",
        labelled=len(ids),
        missing=missing,
        mapped=place,
        outside=outside,
        texts=[str(text) for text in samples["text"][held_by_all]] if "text" in samples else None,
        further={name: column.take(held_by_all) for name, column in columns.items()},
        token_ids=None if "tokens" in stores and "token_ids" in stores["tokens"].lacks else np.concatenate(token_ids),
        lexicons=lexicon_values(lexicons, texts_of(samples[held_by_all])) if lexicons else {},
        scene=scene,
        named=named,
        sentence_ends=tuple(stores["tokens"].sentence_ends) if "tokens" in stores else (),
    )


def texts_of(samples: pd.DataFrame) -> list[str]:
    """Return the texts of a data set's table; raise DataError where it has none."""
    if "text" not in samples:
        raise DataError(
            "the data set's table holds no texts, which lexicons read",
            expected="the column text",
            found=listed([str(column) for column in samples]),
            next_step="run `itin extract` again: it rewrites the table",
        )
    return [str(text) for text in samples["text"]]


def _outside(
    name: str,
    ids: list[str],
    inputs: Mapping[str, list[str]],
    stores: Mapping[str, Any],
    rows: Mapping[str, np.ndarray],
    allow_missing: bool,
) -> list[str]:
    """Return why samples have no features (in quarantine, or lost), a line each.

    Raises:
        CacheError: too many are lost.
    """
    absent = np.flatnonzero(np.any([found < 0 for found in rows.values()], axis=0)).tolist()
    bad = {kind: store.quarantined for kind, store in stores.items()} if absent else {}
    lost = [row for row in absent if not any((ids[row], inputs[kind][row]) in bad[kind] for kind in bad)]
    reasons = []
    if len(absent) > len(lost):
        known = [ids[row] for row in sorted(set(absent) - set(lost))]
        reasons.append(f"in quarantine: {len(known)} ({examples(known)}), `itin cache info` says why")
    if lost:
        kind = max(stores, key=lambda one: int((rows[one][lost] < 0).sum()))
        met = match((ids[row] for row in lost if rows[kind][row] < 0), stores[kind].ids)
        reasons.append(
            f"without features: {len(lost)} ({examples([ids[row] for row in lost])}), `itin extract` makes them"
        )
        if met.both:
            reasons.append(f"{met.both} of them had another image or text when their {kind} features were made")
        reasons += [met.cause] if met.cause is not None else []
    if len(lost) > MOST_LOST * (len(ids) - len(absent) + len(lost)) and not allow_missing:
        raise CacheError(
            f"{len(lost)} of {len(ids)} labelled pairs of {name or 'this data set'} have no features",
            expected=f"features of at least {1 - MOST_LOST:.0%} of the pairs that are not in quarantine",
            found="; ".join(reasons),
            next_step="run the same `itin extract` again, without --limit: it makes what is missing; or go on without "
            "these pairs: --allow-missing",
        )
    return reasons


def size_of(stores: Mapping[str, Any], rows: Mapping[str, np.ndarray], m: int) -> dict[str, int]:
    """Return the bytes of the features of each kind; words count twice while they are read, with and without [CLS].

    Args:
        stores: by kind.
        rows: the rows wanted of each.
        m: regions per image.
    """
    vectors = {kind: len(own) for kind, own in rows.items()}
    if "regions" in vectors:
        vectors["regions"] *= m
    if "tokens" in vectors:
        vectors["tokens"] = int(stores["tokens"].lengths(rows["tokens"]).sum())
    return {
        kind: vectors[kind] * store.feature_dim * np.dtype(store.identity["dtype"]).itemsize
        for kind, store in stores.items()
    }


def _with_targets(table: Table, name: str, wanted: Sequence[str]) -> tuple[pd.DataFrame, dict[str, TargetColumn]]:
    """Return the samples with a value for a wanted target, and their values by target.

    Beside the wanted targets stands the one that splits are drawn by: `label`, or the data set's first.
    """
    there = targets_of(table.dataset)
    if LABEL in wanted and LABEL not in there and not there:
        there = {LABEL: Target(classes=("",))}  # a data set without any label, which the error below names
    try:
        chosen(wanted, there, name)
    except ValueError as error:
        if "targets" in table.dataset:
            raise
        raise ValueError(f"{error}; its table is of an older version, so run the same `itin extract` again") from error
    samples = table.samples
    cells = {target: cells_of(samples, target) for target in dict.fromkeys([next(iter(there)), *wanted])}
    votes = {target: _votes(samples, target, there) for target in cells}
    judged = {target: _values(every, there[target], name) for target, every in cells.items()}
    columns = {
        target: TargetColumn(there[target], values, shares_of(votes[target], there[target]))
        for target, values in judged.items()
    }
    rows = np.flatnonzero(np.any([columns[target].taught for target in wanted], axis=0))
    if not len(rows):
        classes = there[wanted[0]].classes
        named = "a label" if tuple(wanted) == (LABEL,) else f"a value for {' or '.join(wanted)}"
        raise DataError(
            f"no sample of {name or 'this data set'} has {named}, so there is nothing to train on",
            expected=f"labels among {listed(classes)}" if any(classes) else "a table with labels",
            found=f"{len(samples)} samples without {named}",
            next_step="extract a data set with labels",
        )
    for column in columns.values():
        if len(column.target.classes) == 1:
            raise DataError(
                f"{name or 'this data set'} has one class, so there is nothing to tell apart",
                expected="at least two classes",
                found=listed(column.target.classes),
                next_step="fix the labels in the data set's table, or name the classes: `itin extract --classes a,b`",
            )
    return samples.iloc[rows], {target: column.take(rows) for target, column in columns.items()}


def _values(cells: list[Any], target: Target, name: str) -> np.ndarray:
    """Return the values of a target as numbers."""
    known = {str(cell) for cell in cells if cell is not None}
    if not target.is_number and (unknown := sorted(known - set(target.classes))):
        raise DataError(
            f"unknown labels in {name or 'this data set'}",
            expected=listed(target.classes),
            found=listed(unknown),
            next_step="fix the labels in the data set's table and run `itin extract` again",
        )
    values: np.ndarray = values_of(cells, target)
    return values


def _votes(samples: pd.DataFrame, target: str, there: Mapping[str, Target]) -> list[list[Any]]:
    """Return what each annotator says of a target, `text-label-1` of `text-label` and so on; none for most targets."""
    names = itertools.takewhile(there.__contains__, (f"{target}-{number}" for number in itertools.count(1)))
    return [cells_of(samples, name) for name in names]


def _words(
    store: Any, rows: np.ndarray, keep_special: bool, lengths: list[np.ndarray], token_ids: list[np.ndarray]
) -> np.ndarray:
    """Return the words of some rows (T, token_dim), one after the other; append their numbers and ids to the lists."""
    words = store.read_ragged(rows)
    tokens: np.ndarray = words["tokens"]
    ids, offsets = words["token_ids"], words["offsets"]
    if not keep_special:
        keep = words["word_ids"] != -1
        tokens, ids, offsets = tokens[keep], ids[keep], np.concatenate([[0], np.cumsum(keep)])[offsets]
    lengths.append(np.diff(offsets))
    token_ids.append(ids)
    return tokens
