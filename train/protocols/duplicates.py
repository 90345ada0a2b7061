"""Duplicates: groups of samples with equal texts or equal images. No disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import DataError
from ..config import DUPLICATES

PREFIX = re.compile(r"^RT\s+(?:@\w+\s*:?\s*)?", re.IGNORECASE)
URL = re.compile(r"\bhttps?(?::\S*|…?$)|\bwww\.\S+", re.IGNORECASE)


def strip(text: str) -> str:
    """Return a text without retweet prefixes (`RT @name: `) and URLs, also truncated ones, with single spaces.

    Retweets of a tweet, and the same sentence with another short link, become equal.
    """
    text = text.strip()
    while (shorter := PREFIX.sub("", text)) != text:
        text = shorter
    return " ".join(URL.sub(" ", text).split())


def text_keys(samples: pd.DataFrame, way: str = "exact") -> list[str | None]:
    """Return a key per sample that is equal for equal texts; None where a text is empty after stripping.

    Args:
        samples: the data set's table with the column `text_sha256`; for `stripped`, with `text`.
        way: one of `config.DUPLICATES`.

    Raises:
        DataError: the column is missing.
    """
    if way not in DUPLICATES:
        raise ValueError(f"way: expected one of {', '.join(DUPLICATES)}, got {way!r}")
    if way == "exact":
        return [str(digest) for digest in _column(samples, "text_sha256")]
    return [strip(str(text)) or None for text in _column(samples, "text")]


def image_keys(samples: pd.DataFrame) -> list[str | None]:
    """Return a key per sample of a data set's table that is equal for equal images.

    Raises:
        DataError: the column `image_sha256` is missing.
    """
    return [str(digest) for digest in _column(samples, "image_sha256")]


def groups_of(*keys: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the group of each sample: samples that share a key, or are linked through others that do.

    Args:
        keys: lists of N keys each, such as texts and images; None equals nothing.

    Returns:
        (N,) numbers from 0, in order of the groups' first appearance.
    """
    from scipy.sparse import coo_array  # takes long to import, and listing runs needs none of it
    from scipy.sparse.csgraph import connected_components

    n = len(keys[0])
    ends: list[NDArray[np.int64]] = []
    nodes = n
    for one in keys:
        codes = pd.factorize(pd.Series(list(one), dtype=object))[0]
        known = np.flatnonzero(codes >= 0)
        ends.append(np.stack([known, nodes + codes[known]]))
        nodes += int(codes.max(initial=-1)) + 1
    rows, columns = np.concatenate(ends, axis=1).astype(np.int32)  # the index type of SciPy's graphs
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(nodes, nodes))
    found = connected_components(graph, directed=False)[1][:n]
    return np.asarray(pd.factorize(found)[0], dtype=np.int64)


def sets_of(keys: Iterable[str | None]) -> list[list[int]]:
    """Return the rows of each key that several samples share, ascending; None equals nothing."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(row)
    return [together for together in rows.values() if len(together) > 1]


def _column(samples: pd.DataFrame, name: str) -> pd.Series:
    if name not in samples:
        raise DataError(
            "the data set's table does not record which samples are equal",
            expected=f"the column {name}",
            found=", ".join(map(str, samples)) or "no column",
            next_step="run `itin extract` again: it rewrites the table",
        )
    return samples[name]
