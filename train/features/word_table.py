"""The entries of the table that a head learns: tokens and pairs of neighbours in the training part, by their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .features import Features

LEAST = 2
"""Texts of the training part that must hold an entry: the vector of a rarer one could only learn that text's label."""

NONE = -1
"""The key and the entry where there is none."""

PLACES = 1 << 32
"""What a token's id is multiplied by in a key, so that that of the next one fits behind it."""


def keys_of(features: Features) -> NDArray[np.int64]:
    """Return the keys (2, T) of each token, and of the pair of it and the next; the last token of a text begins none.

    Raises:
        ValueError: the features were read without token ids.
    """
    if features.token_ids is None:
        raise ValueError("features: expected token ids, which the learned table is made of, got none")
    first = features.token_ids.astype(np.int64) * PLACES
    pairs = np.full_like(first, NONE)
    pairs[:-1] = first[:-1] + features.token_ids[1:] + 1
    last = features.offsets[1:][np.diff(features.offsets) > 0] - 1
    pairs[last] = NONE
    return np.stack([first, pairs])


def table_of(features: Features, rows: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """Return the keys of the entries (V,), ascending: those that at least `LEAST` of some texts hold.

    Args:
        features: with token ids.
        rows: the texts, those of the training part.
        longest: the tokens of a text that count, the first ones.
    """
    keys, lengths = keys_of(features), np.diff(features.offsets)
    text = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(text)) - features.offsets[text]
    chosen = np.zeros(len(lengths), bool)
    chosen[rows] = True
    there = chosen[text] & (place < longest)
    paired = there & (place + 1 < longest) & (keys[1] != NONE)
    every, texts = np.concatenate([keys[0][there], keys[1][paired]]), np.concatenate([text[there], text[paired]])
    order = np.lexsort((texts, every))
    every, texts = every[order], texts[order]
    once = np.ones(len(every), bool)
    once[1:] = (every[1:] != every[:-1]) | (texts[1:] != texts[:-1])  # an entry counts once for a text
    found, counts = np.unique(every[once], return_counts=True)
    table: NDArray[np.int64] = found[counts >= LEAST]
    return table


def entries_of(features: Features, table: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the entries (2, T) of each token, and of the pair of it and the next; `NONE` for those not in the table.

    Args:
        features: with token ids.
        table: (V,) keys of its entries, ascending.
    """
    keys = keys_of(features)
    if not len(table):
        return np.full(keys.shape, NONE, np.int32)
    place = np.searchsorted(table, keys).clip(max=len(table) - 1)
    return np.where(table[place] == keys, place, NONE).astype(np.int32)
