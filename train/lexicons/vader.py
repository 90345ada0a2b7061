"""The lexicon `vader`: VADER (Hutto and Gilbert, ICWSM 2014), a word list for social media with rules for negation,
degree, capitals and emoji. Package vaderSentiment, MIT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...lazy import optional
from .registry import EXTRA, LEXICONS


def analyzer(name: str = "vader") -> Any:
    """Return VADER's analyzer.

    Args:
        name: the lexicon that needs it.

    Raises:
        RunError: the package is not installed.
    """
    module = optional("vaderSentiment.vaderSentiment", f"the lexicon {name} needs vaderSentiment", EXTRA)
    return module.SentimentIntensityAnalyzer()


def vader() -> Callable[[str], list[float]]:
    """Return the lexicon: the shares of negative, neutral and positive words, and the whole from -1 to 1."""
    scores = analyzer().polarity_scores
    columns = LEXICONS["vader"].columns

    def values(text: str) -> list[float]:
        found = scores(text)
        return [float(found[column]) for column in columns]

    return values
