"""The lexicon `afinn`: AFINN-165 (Nielsen, 2011), words and phrases from -5 to 5, and AFINN's emoticons.

The lists are under the ODbL. They are read from the package afinn, whose code, under the GPL, is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .identity import files_of

_EDGE = r"(?:(?<!\w)|(?!\w))"
"""A place that is not between two letters."""


def afinn() -> Callable[[str], list[float]]:
    """Return the lexicon: the sums of the scores of all words, of positive, of negative ones, and of emoticons.

    Raises:
        RunError: the package is not installed.
    """
    words, emoticons = (_read(file.read_text(encoding="utf-8")) for file in files_of("afinn"))
    find_words = _pattern(words).findall
    find_emoticons = _pattern(emoticons).findall

    def values(text: str) -> list[float]:
        scores = [words[word] for word in find_words(" ".join(text.lower().split()))]
        positive, negative = sum(max(score, 0) for score in scores), sum(min(score, 0) for score in scores)
        return [positive + negative, positive, negative, sum(emoticons[one] for one in find_emoticons(text))]

    return values


def _read(text: str) -> dict[str, float]:
    rows = [line.rsplit("\t", 1) for line in text.splitlines()]
    return {entry.strip(): float(score) for entry, score in rows}


def _pattern(entries: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of any entry, the longest that fits, as long as it begins and ends outside of a word."""
    longest_first = sorted(entries, key=len, reverse=True)
    return re.compile(f"{_EDGE}(?:{'|'.join(map(re.escape, longest_first))}){_EDGE}")
