"""Comparisons of two runs on the same pairs: where they differ, and whether by more than chance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, ClassVar

import pandas as pd

from ..labels import numbers_of
from ..predict.pairs import shown_part
from ..tabular.matching import Match, match
from ..train.runs.folder import Run
from ..train.statistics import holm, mcnemar
from .browser import DIGITS
from .number_comparison import NumberComparison, compare_numbers, number_comparison
from .page.numbers import percent, show_p
from .page.section import Section
from .run_sections import Runs

MAX_LISTED = 10
"""Number of comparisons in the table, at most."""


@dataclass(frozen=True)
class RunComparison:
    """A comparison of two runs on the pairs that both predicted."""

    a: str
    b: str
    n: int
    accuracy_a: float
    accuracy_b: float
    only_a: int
    """Number of pairs that only the first run gets right."""
    only_b: int
    p: float
    """The two-sided p-value of McNemar's exact test."""
    match: Match = field(default_factory=Match)
    """The match of the pairs of the two runs; pairs of one run alone are not compared."""
    test: ClassVar[str] = "McNemar's exact test"


Comparison = RunComparison | NumberComparison


def compare(a: Run, b: Run, names: tuple[str, str]) -> Comparison | None:
    """Compare two runs; return None if they have no pair in common."""
    if _key(a) != _key(b):
        return None
    of_a, of_b = _predicted(a), _predicted(b)
    both = of_a.join(of_b["predicted"].rename("predicted_b"), how="inner")
    if both.empty:
        return None
    met = match(of_a.index, of_b.index)
    if a.target.is_number:
        return compare_numbers(a, shown_part(a), both, names, met)
    right_a, right_b = ((both[name] == both["label"]).to_numpy() for name in ("predicted", "predicted_b"))
    only_a, only_b, p = mcnemar(right_a, right_b)
    return RunComparison(
        *names,
        len(both),
        float(right_a.mean()),
        float(right_b.mean()),
        only_a,
        only_b,
        p,
        met,
    )


def compare_all(runs: Runs) -> dict[tuple[int, int], Comparison]:
    """Compare every two runs; the keys are their positions in `runs`."""
    found = {}
    for (i, (name_a, a)), (j, (name_b, b)) in combinations(enumerate(runs.items()), 2):
        compared = compare(a, b, (name_a, name_b))
        if compared is not None:
            found[i, j] = compared
    return found


def comparisons(compared: Sequence[Comparison]) -> list[Section]:
    """Return the sections on comparisons, from the results of `compare_all`: of classes, and of numbers."""
    classes = [one for one in compared if isinstance(one, RunComparison)]
    numbers = [one for one in compared if isinstance(one, NumberComparison)]
    found = [comparison(classes)] if classes else []
    if numbers:
        section = number_comparison(numbers, MAX_LISTED)
        title = "Comparison of numbers" if classes else section.title
        notes = [*_unmatched(numbers[:MAX_LISTED]), *section.notes]
        found.append(replace(section, title=title, notes=notes, widget="" if classes else "compare"))
    return found


def comparison(compared: Sequence[RunComparison]) -> Section:
    """Return the section on comparisons of classes."""
    adjusted = holm([one.p for one in compared])
    rows = [
        {
            "A": one.a,
            "B": one.b,
            "pairs": one.n,
            "accuracy of A": percent(one.accuracy_a),
            "of B": percent(one.accuracy_b),
            "A − B": f"{100 * (one.accuracy_a - one.accuracy_b):+.1f}",
            "only A right": one.only_a,
            "only B right": one.only_b,
            "p": show_p(one.p),
            "p (Holm)": show_p(value),
        }
        for one, value in zip(compared, adjusted, strict=True)
    ]
    text = [
        "p is McNemar's exact test on the pairs that just one of the two gets right: how often chance alone would make"
        " a difference as large. p (Holm) is adjusted for the number of comparisons. Each run counts as it is: what"
        " other seeds would give is not in these figures."
    ]
    notes = _unmatched(compared[:MAX_LISTED])
    notes += [f"The first {MAX_LISTED} of {len(rows)} comparisons are listed."] if len(rows) > MAX_LISTED else []
    return Section(
        "comparison",
        "Comparison",
        text,
        pd.DataFrame(rows[:MAX_LISTED]),
        "Every two runs on the same pairs.",
        notes=notes,
        widget="compare",
    )


def compare_data(
    runs: Runs,
    compared: Mapping[tuple[int, int], Comparison],
    texts: Mapping[str, Mapping[str, str]],
    shown: Sequence[str],
) -> dict[str, Any]:
    """Return the data of the widget `compare`.

    Args:
        runs: the runs by name.
        compared: the result of `compare_all` on the same runs.
        texts: the known texts of each run, by the id of the pair.
        shown: the names of the runs in the browser of pairs, in order.
    """
    classes: dict[str, list[str]] = {}
    labels: dict[str, dict[str, float]] = {}  # those of all pairs that runs of one key were evaluated on
    words: dict[str, dict[str, str]] = {}
    for name, run in runs.items():
        classes[_key(run)] = list(run.classes)
        own = labels.setdefault(_key(run), {})
        own |= _numbers(run, _predicted(run)["label"])
        words.setdefault(_key(run), {}).update(texts.get(name, {}))
    keys = list(labels)
    return {
        "groups": [
            {
                "classes": classes[key],  # none for a number
                "ids": list(labels[key]),
                "labels": list(labels[key].values()),
                "texts": [words[key].get(one, "") for one in labels[key]],
            }
            for key in keys
        ],
        "runs": [
            {
                "name": name,
                "group": keys.index(_key(run)),
                "predicted": _said(run, list(labels[_key(run)])),
                "shown": list(shown).index(name) if name in shown else None,
            }
            for name, run in runs.items()
        ],
        "tests": {f"{i}-{j}": f"{one.test}: p {show_p(one.p, sign=True)}." for (i, j), one in compared.items()},
    }


def _unmatched(compared: Sequence[Comparison]) -> list[str]:
    """Return notes on the pairs that a comparison leaves out since only one of its runs has them."""
    notes = []
    for one in compared:
        if lines := one.match.lines(f"pairs of {one.a} alone", f"pairs of {one.b} alone"):
            notes.append(f"{one.a} and {one.b} are compared on the {one.n} pairs of both: {'; '.join(lines)}.")
    return notes


def _predicted(run: Run) -> pd.DataFrame:
    table: pd.DataFrame = run.predictions[run.predictions["part"] == shown_part(run)].set_index("id")
    return table


def _said(run: Run, ids: Sequence[str]) -> list[float | None]:
    predicted = _numbers(run, _predicted(run)["predicted"])
    return [predicted.get(one) for one in ids]


def _numbers(run: Run, labels: pd.Series) -> dict[str, float]:
    """Return the numbers of the classes of some pairs by their ids; of a number its rounded values."""
    if run.target.is_number:
        return {str(id): round(float(value), DIGITS) for id, value in labels.items()}
    return dict(zip(map(str, labels.index), numbers_of(labels, run.classes).tolist(), strict=True))


def _key(run: Run) -> str:
    """Return what two runs must share to be compared: the data set as it was extracted, the target, and the part."""
    data = run.record["dataset"]
    shared = [data.get("name"), data.get("sha256", data.get("source")), run.target.to_dict(), shown_part(run)]
    return json.dumps(shared, sort_keys=True)
