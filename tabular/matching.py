"""Two lists of ids that should be of the same pairs: what is on one side alone, and why it may not have met."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

MOST_LOST = 0.05
"""The share of a data set's pairs above which a loss is an error, where it is not allowed by `--allow-missing`."""

SHOWN = 5
"""Ids that are named one by one."""

SAMPLE = 1000
"""Ids that are looked at for a cause."""

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
"""What makes ids of the same pair differ, and what undoes it, in that order; of two that would do, the earlier one."""


@dataclass(frozen=True)
class Match:
    """What came of two lists of ids."""

    both: int = 0
    """How many of ours stand on the other side too."""
    ours: tuple[str, ...] = ()
    """Those that do not, in our order."""
    theirs: tuple[str, ...] = ()
    """Those of the other side that do not stand on ours, in its order."""

    @property
    def loses_many(self) -> bool:
        """Whether more of ours than `MOST_LOST` are on our side alone."""
        return len(self.ours) > MOST_LOST * (self.both + len(self.ours))

    @cached_property
    def cause(self) -> str | None:
        """Why ids that are on one side alone probably did not meet, with an example; None where nothing tells.

        Named where it would bring together a tenth of the ids that are alone on the shorter side.
        """
        names, pairs = _differing(self.ours[:SAMPLE], self.theirs)
        if not pairs or 10 * len(pairs) < min(len(self.ours), len(self.theirs), SAMPLE):
            return None
        write = ascii if any("Unicode" in name for name in names) else repr
        ours, theirs = map(write, pairs[0])
        return f"likely cause: {' and '.join(names)}: {ours} against {theirs}, {len(pairs)} such"

    def lines(self, ours: str, theirs: str | None = None) -> list[str]:
        """Return what is on one side alone and the likely cause, a line each.

        Args:
            ours: what ours are, such as "pairs in no part".
            theirs: what theirs are; None where it is no fault that some are left.
        """
        sides = ((self.ours, ours), (self.theirs, theirs))
        told = [f"{words}: {len(ids)} ({examples(ids)})" for ids, words in sides if ids and words is not None]
        return [*told, *([self.cause] if self.cause is not None else [])]


def match(ours: Iterable[str], theirs: Iterable[str]) -> Match:
    """Return which ids of two lists meet; an id that stands several times in a list counts once.

    Args:
        ours: ids of the data set.
        theirs: ids of a split, of features, of predictions.
    """
    ours, theirs = dict.fromkeys(ours), dict.fromkeys(theirs)
    alone = tuple(one for one in ours if one not in theirs)
    return Match(len(ours) - len(alone), alone, tuple(one for one in theirs if one not in ours))


def examples(ids: Sequence[str]) -> str:
    """Return the first of some ids, for a message; ids of others may hold anything."""
    shown = (one if one.isprintable() and one.strip() == one else repr(one) for one in map(str, ids[:SHOWN]))
    return ", ".join(shown) + (" and so on" if len(ids) > SHOWN else "")


def _differing(ours: Sequence[str], theirs: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The fewest of `_FORMS` that bring as many ids together as all of them do, and the ids that then meet."""
    names = list(_FORMS)
    keys = {_plain(one, names) for one in ours}
    theirs = [one for one in theirs if _plain(one, names) in keys] if ours else []
    pairs = _meeting(ours, theirs, names)
    for name in reversed(_FORMS):
        fewer = [one for one in names if one != name]
        if len(met := _meeting(ours, theirs, fewer)) == len(pairs):
            names, pairs = fewer, met
    return names, pairs


def _meeting(ours: Sequence[str], theirs: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    there = {_plain(one, names): one for one in theirs}
    plain = ((one, _plain(one, names)) for one in ours)
    return [(one, there[key]) for one, key in plain if key in there]


def _plain(one: str, names: Iterable[str]) -> str:
    for name in names:
        one = _FORMS[name](one)
    return one
