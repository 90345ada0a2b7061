"""The lexicons by name. Imports none of them, so that a command line can check names at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class LexiconSpec(NamedTuple):
    """The facts about a lexicon that are known without loading it."""

    where: str
    """`module:function` in this folder. The function takes nothing, and returns the lexicon: a function from a text to
    its values, one for each column."""
    columns: tuple[str, ...]
    """The names of its values."""
    summary: str
    """A short summary of where the values come from."""
    package: str = ""
    """The package that holds its word list; empty for a lexicon without one."""
    module: str = ""
    """The name under which Python finds that package."""
    files: tuple[str, ...] = ()
    """The files of the word list in the package."""
    english: bool = True
    """Whether it knows English alone: it then gets texts without names and links, and none in another language. Others
    get every text as it is."""
    revision: int = 1
    """The revision of our part of the computation, raised when values change; it goes into the keys of runs."""


_VADER = ("vaderSentiment", "vaderSentiment", ("vader_lexicon.txt", "emoji_utf8_lexicon.txt"))

LEXICONS = {
    "vader": LexiconSpec("vader:vader", ("neg", "neu", "pos", "compound"), "VADER, for social media", *_VADER),
    "afinn": LexiconSpec(
        "afinn:afinn",
        ("sum", "positive", "negative", "emoticons"),
        "AFINN-165: the sums of all, the positive and the negative words, and of emoticons",
        "afinn",
        "afinn",
        ("data/AFINN-en-165.txt", "data/AFINN-emoticon-8.txt"),
    ),
    "pattern": LexiconSpec(
        "pattern:pattern",
        ("polarity", "subjectivity"),
        "Pattern's lexicon, as TextBlob ships it",
        "textblob",
        "textblob",
        ("en/en-sentiment.xml",),
    ),
    "hashtags": LexiconSpec(
        "hashtags:hashtags", ("sum", "max", "min"), "the valence of hashtags in VADER's list", *_VADER
    ),
    "shape": LexiconSpec(
        "shape:shape",
        ("words", "#", "@", "!", "?", "link", "RT", "capitals", "beyond U+2000"),
        "no list: log counts of words and marks, links, retweets, capitals, emoji",
        english=False,
    ),
}
"""All lexicons by name, in the order of their values. A new one is a file here and a line: docs/accuracy.md."""

BY_DEFAULT = ("vader",)
"""The lexicons that a head reads whose input they are, whatever else is named."""

EXTRA = "itin[lexicons]"
"""The extra that installs the packages of all lexicons."""


def is_installed(name: str) -> bool:
    """Return whether the package of a lexicon is installed."""
    from importlib.util import find_spec

    spec = LEXICONS[name]
    return not spec.package or find_spec(spec.module) is not None


def parse_names(text: str) -> tuple[str, ...]:
    """Return the lexicons of a text such as `vader+afinn`, each once and in the order of `LEXICONS`.

    Commas separate names too. The empty text and `none` stand for no lexicon.

    Raises:
        ValueError: an unknown name.
    """
    if text.strip() in ("", "none"):
        return ()
    names = [name.strip() for name in text.replace(",", "+").split("+")]
    if unknown := [name for name in names if name not in LEXICONS]:
        raise ValueError(f"lexicons: expected none, or {', '.join(LEXICONS)} joined by +, got {unknown[0]!r}")
    return tuple(name for name in LEXICONS if name in names)


def columns_of(names: Iterable[str]) -> list[str]:
    """Return the names of the values that lexicons give for a text, such as `vader neg`."""
    return [f"{name} {column}" for name in names for column in LEXICONS[name].columns]


def count_of(names: Iterable[str]) -> int:
    """Return the number of values that lexicons give for a text."""
    return sum(len(LEXICONS[name].columns) for name in names)
