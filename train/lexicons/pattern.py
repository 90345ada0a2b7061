"""The lexicon `pattern`: the English polarity lexicon of Pattern (De Smedt and Daelemans, JMLR 2012).

Package textblob, MIT, which ships the list (PDDL) and Pattern's rules (BSD), and downloads nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable

from ...lazy import optional
from .registry import EXTRA


def pattern() -> Callable[[str], list[float]]:
    """Return the lexicon: polarity from -1 to 1 and subjectivity from 0 to 1.

    Raises:
        RunError: the package is not installed.
    """
    sentiment = optional("textblob.en", "the lexicon pattern needs textblob", EXTRA).sentiment

    def values(text: str) -> list[float]:
        polarity, subjectivity = sentiment(text)
        return [float(polarity), float(subjectivity)]

    return values
