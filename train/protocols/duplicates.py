"""Equal texts and equal images: which samples belong together. No disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...errors import DataError
from ..config import DUPLICATES

_PREFIX = re.compile(r"^RT\s+(?:@\w+\s*:?\s*)?", re.IGNORECASE)
_URL = re.compile(r"\bhttps?(?::\S*|…?$)|\bwww\.\S+", re.IGNORECASE)


def strip(text: str) -> str:
    """Return a text without retweet prefixes (`RT @name: `) and URLs, also cut ones, its white space made single.

    Retweets of a tweet, and the same sentence under another short link, become equal.
    """
    text = text.strip()
    while (shorter := _PREFIX.sub("", text)) != text:
        text = shorter
    return " ".join(_URL.sub(" ", text).split())


def text_keys(samples: pd.DataFrame, way: str = "exact") -> list[str | None]:
    """Return what tells equal texts of a data set's table; None where nothing is left of a text to compare.

    Args:
        samples: with the column `text_sha256`; for `stripped` with `text`.
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
    """Return what tells equal images of a data set's table.

    Raises:
        DataError: the column `image_sha256` is missing.
    """
    return [str(digest) for digest in _column(samples, "image_sha256")]


def groups_of(*keys: Sequence[str | None]) -> NDArray[np.int64]:
    """Return the group of each sample: samples that share a key, or are linked through others that do.

    Args:
        keys: lists of N keys each, such as texts and images; None equals nothing.

    Returns:
        (N,) numbers from 0, in the order in which the groups are met first.
    """
    n = len(keys[0])
    ends: list[NDArray[np.int64]] = []
    nodes = n
    for one in keys:
        codes = pd.factorize(pd.Series(list(one), dtype=object))[0]
        known = np.flatnonzero(codes >= 0)
        ends.append(np.stack([known, nodes + codes[known]]))
        nodes += int(codes.max(initial=-1)) + 1
    rows, columns = np.concatenate(ends, axis=1).astype(np.int32)  # what SciPy's graphs are made of
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(nodes, nodes))
    found = connected_components(graph, directed=False)[1][:n]
    return np.asarray(pd.factorize(found)[0], dtype=np.int64)


def sets_of(keys: Iterable[str | None]) -> list[list[int]]:
    """Return the rows of each key that several samples have, ascending; None equals nothing."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, []).append(row)
    return [together for together in rows.values() if len(together) > 1]


def _column(samples: pd.DataFrame, name: str) -> pd.Series:
    if name not in samples:
        raise DataError(
            "the data set's table does not tell which samples are equal",
            expected=f"the column {name}",
            found=", ".join(map(str, samples)) or "no column",
            next_step="run `itin extract` again: it writes the table anew",
        )
    return samples[name]
