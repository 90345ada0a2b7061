"""Matching two lists of ids of the same pairs: which ids have no counterpart, and the likely cause."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

MOST_LOST = 0.05
"""The largest share of a data set's pairs that may be lost without `--allow-missing`."""

MAX_EXAMPLES = 5
"""The number of ids that a message names one by one."""

MAX_COMPARED = 1000
"""The number of ids that are searched for a cause."""

_FORMS: dict[str, Callable[[str], str]] = {
    "spaces": lambda one: " ".join(one.strip("\ufeff\u200b").split()),
    "quotation marks": lambda one: one.strip("\"'"),
    "two forms of Unicode (NFC and NFD)": lambda one: unicodedata.normalize("NFC", one),
    "upper and lower case": str.casefold,
    "leading zeros": lambda one: re.sub(r"(?<!\d)0+(?=\d)", "", one),
    "backslashes": lambda one: one.replace("\\", "/"),
    "folders before the name": lambda one: one.rpartition("/")[2],
    "file extensions": lambda one: re.sub(r"\.[A-Za-z][A-Za-z0-9]{0,4}$", "", one),
    "numbers with a decimal point": lambda one: re.sub(r"^(\d+)\.0*$", r"\1", one),
}
"""Causes that make ids of the same pair differ, and how to undo each, in this order; the earlier is preferred."""


@dataclass(frozen=True)
class Match:
    """The result of matching two lists of ids."""

    both: int = 0
    """The number of our ids that the other list holds too."""
    ours: tuple[str, ...] = ()
    """Our ids that the other list lacks, in our order."""
    theirs: tuple[str, ...] = ()
    """Ids of the other list that ours lacks, in its order."""

    @property
    def loses_many(self) -> bool:
        """Whether the other list lacks more of our ids than `MOST_LOST`."""
        return len(self.ours) > MOST_LOST * (self.both + len(self.ours))

    @cached_property
    def cause(self) -> str | None:
        """The likely cause of unmatched ids, with an example; None where there is no evidence.

        A cause is named where undoing it would match a tenth of the unmatched ids of the shorter side.
        """
        names, pairs = _differing(self.ours[:MAX_COMPARED], self.theirs)
        if not pairs or 10 * len(pairs) < min(len(self.ours), len(self.theirs), MAX_COMPARED):
            return None
        write = ascii if any("Unicode" in name for name in names) else repr
        ours, theirs = map(write, pairs[0])
        return f"likely cause: {' and '.join(names)}: {ours} against {theirs}, {len(pairs)} such"

    def lines(self, ours: str, theirs: str | None = None) -> list[str]:
        """Return the unmatched ids of each side and the likely cause, a line each.

        Args:
            ours: what our unmatched ids are, such as "pairs in no part".
            theirs: what theirs are; None where unmatched ones are no problem.
        """
        sides = ((self.ours, ours), (self.theirs, theirs))
        described = [f"{words}: {len(ids)} ({examples(ids)})" for ids, words in sides if ids and words is not None]
        return [*described, *([self.cause] if self.cause is not None else [])]


def match(ours: Iterable[str], theirs: Iterable[str]) -> Match:
    """Match two lists of ids; an id that occurs several times in a list counts once.

    Args:
        ours: ids of the data set.
        theirs: ids of a split, of features, of predictions.
    """
    ours, theirs = dict.fromkeys(ours), dict.fromkeys(theirs)
    unmatched = tuple(one for one in ours if one not in theirs)
    return Match(len(ours) - len(unmatched), unmatched, tuple(one for one in theirs if one not in ours))


def examples(ids: Sequence[str]) -> str:
    """Return the first few ids for a message; unusual ones are quoted."""
    shown = (one if one.isprintable() and one.strip() == one else repr(one) for one in map(str, ids[:MAX_EXAMPLES]))
    return ", ".join(shown) + (" and so on" if len(ids) > MAX_EXAMPLES else "")


def _differing(ours: Sequence[str], theirs: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the fewest of `_FORMS` that match as many ids as all of them do, and the ids that then match."""
    names = list(_FORMS)
    keys = {_plain(one, names) for one in ours}
    theirs = [one for one in theirs if _plain(one, names) in keys] if ours else []
    pairs = _matching(ours, theirs, names)
    for name in reversed(_FORMS):
        fewer = [one for one in names if one != name]
        if len(matched := _matching(ours, theirs, fewer)) == len(pairs):
            names, pairs = fewer, matched
    return names, pairs


def _matching(ours: Sequence[str], theirs: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    there = {_plain(one, names): one for one in theirs}
    plain = ((one, _plain(one, names)) for one in ours)
    return [(one, there[key]) for one, key in plain if key in there]


def _plain(one: str, names: Iterable[str]) -> str:
    for name in names:
        one = _FORMS[name](one)
    return one
