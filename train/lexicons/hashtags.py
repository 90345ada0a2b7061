"""The lexicon `hashtags`: what the hashtags of a text say, by VADER's list."""

from __future__ import annotations

import re
from collections.abc import Callable

from .vader import analyzer

HASHTAG = re.compile(r"#(\w+)")

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def hashtags() -> Callable[[str], list[float]]:
    """Return the lexicon: the sum, the greatest and the least valence of the hashtags that VADER's list holds.

    A hashtag that is not in the list is read as its words, told apart by capitals, digits and underscores
    (`#SoHappy`); one without a known word does not count. All three are 0 where no hashtag is known.

    Raises:
        RunError: the package is not installed.
    """
    valence: dict[str, float] = analyzer("hashtags").lexicon

    def values(text: str) -> list[float]:
        found = []
        for tag in HASHTAG.findall(text):
            words = [tag] if tag.lower() in valence else _PART.findall(tag)
            known = [valence[word.lower()] for word in words if word.lower() in valence]
            found += [sum(known)] if known else []
        return [sum(found), max(found), min(found)] if found else [0.0, 0.0, 0.0]

    return values
