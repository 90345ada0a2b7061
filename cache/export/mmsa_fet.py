"""MMSA's pickle, as MMSA-FET writes it: padded arrays by part, with ids, texts and labels. All of it is in memory."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..format.schema import KINDS
from ..store import Arrays
from .pieces import Export

PARTS = {"train": "train", "val": "valid", "test": "test"}
"""The data set's parts -> MMSA's; all samples of a data set without a split are in `train`."""


def pickled(what: Export, path: Path) -> None:
    """Write the features under MMSA's names, and the other arrays of the kind, padded too, under ours."""
    rows = what.table()
    parts: dict[str, list[tuple[str, str, Arrays]]] = {name: [] for name in PARTS.values()}
    for id, sha256, arrays in what.samples():
        parts[PARTS.get(str(rows[id].get("part")), "train")].append((id, sha256, arrays))
    content: dict[str, dict[str, Any]] = {}
    for name, samples in parts.items():
        if not samples:
            continue
        ids, digests, features = zip(*samples, strict=True)
        content[name] = {
            "id": list(ids),
            "sha256": np.array(digests),
            "raw_text": [str(rows[id].get("text", "")) for id in ids],
            "annotations": [str(rows[id].get("label", "")) for id in ids],
            **_padded(what.store.kind, features),
        }
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def _padded(kind: str, samples: tuple[Arrays, ...]) -> dict[str, Any]:
    main = "text" if kind == "tokens" else "vision"
    names = {name: main if name == kind else name for name in samples[0]}
    if KINDS[kind][0].axis == "sample":
        return {main: np.stack([one[kind] for one in samples])}
    lengths = [len(one[kind]) for one in samples]
    filled: dict[str, Any] = {f"{main}_lengths": np.array(lengths)}
    for ours, theirs in names.items():
        first = samples[0][ours]
        array = np.zeros((len(samples), max(lengths), *first.shape[1:]), first.dtype)
        for row, one in enumerate(samples):
            array[row, : lengths[row]] = one[ours]
        filled[theirs] = array
    if kind == "tokens":
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        filled["text_bert"] = np.stack([filled["token_ids"], mask, np.zeros_like(mask)], 1).astype(np.int64)
    return filled
