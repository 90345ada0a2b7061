"""The lexicon `shape`: the form of a text in any language, without a word list."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..protocols.duplicates import PREFIX, URL


def shape() -> Callable[[str], list[float]]:
    """Return the lexicon: log(1 + count) of words and of `#`, `@`, `!`, `?`; whether a link is there and whether the
    text is a retweet, 0 or 1; the share of capitals among its letters; log(1 + characters from U+2000 on).

    The characters from U+2000 on are mostly emoji and typographic marks.
    """

    def values(text: str) -> list[float]:
        letters = [character for character in text if character.isalpha()]
        counts = [len(text.split()), *(text.count(mark) for mark in "#@!?")]
        return [
            *map(math.log1p, counts),
            float(URL.search(text) is not None),
            float(PREFIX.match(text.strip()) is not None),
            sum(letter.isupper() for letter in letters) / max(len(letters), 1),
            math.log1p(sum(character >= "\u2000" for character in text)),
        ]

    return values
