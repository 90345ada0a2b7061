"""Texts -> the values of lexicons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .identity import identities_of
from .language import REVISION, clean, is_english
from .registry import LEXICONS
from .vader import analyzer


def lexicon_values(names: Collection[str], texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return the values of lexicons by name, (N, columns) each; NaN where a lexicon does not know a text's language.

    Args:
        names: among `LEXICONS`.
        texts: N texts, as the data set has them.

    Raises:
        RunError: a lexicon's package is not installed.
    """
    lexicons = {name: _load(LEXICONS[name].where) for name in names}
    english = [is_english(text) for text in texts] if any(LEXICONS[name].english for name in names) else []
    cleaned = [clean(text) for text in texts] if english else []
    found = {}
    for name, lexicon in lexicons.items():
        spec = LEXICONS[name]
        values = np.full((len(texts), len(spec.columns)), np.nan, np.float32)
        for row, text in enumerate(cleaned if spec.english else texts):
            if not spec.english or english[row]:
                values[row] = lexicon(text)
        found[name] = values
    return found


def values_of_names(names: Sequence[str]) -> NDArray[np.float64]:
    """Return VADER's compound value (N,), -1 to 1, of names such as those of objects.

    Raises:
        RunError: the package is not installed.
    """
    scores = analyzer("vader").polarity_scores
    return np.array([scores(name)["compound"] for name in names], np.float64)


def record_of(names: Collection[str]) -> dict[str, Any]:
    """Return what the values of these lexicons depend on beside the texts, for the keys and records of runs.

    Raises:
        RunError: a lexicon's package is not installed.
    """
    by_language = {"language": REVISION} if any(LEXICONS[name].english for name in names) else {}
    return {**identities_of(names), **by_language}


def joined(values: Mapping[str, NDArray[np.float32]], names: Sequence[str], n: int) -> NDArray[np.float32]:
    """Return the values (n, L) of some lexicons side by side, of n texts."""
    return np.concatenate([np.zeros((n, 0), np.float32), *(values[name] for name in names)], axis=1)


def foreign(values: Mapping[str, NDArray[np.float32]]) -> int:
    """Return the number of texts in a language that a lexicon does not know."""
    unknown = [np.isnan(each).any(1) for each in values.values()]
    return int(np.any(unknown, axis=0).sum()) if unknown else 0


def _load(where: str) -> Any:
    module, name = where.split(":")
    return getattr(import_module(f".{module}", __package__), name)()
