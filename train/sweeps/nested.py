"""Nested cross-validation: configurations are chosen on folds inside a training part, then trained on all of it.

Each training part that a sweep is on, one per outer fold and split seed, has a choice of its own. A configuration's
score is the mean over its inner folds and seeds, each fold the validation part once, by which the epoch is kept, while
the others train. What is chosen is trained once a seed on the whole training part, with the usual validation part.
Neither that one nor the test part is in any inner fold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from ... import disk
from ..config import SELECTS, TrainConfig
from .axes import Trial
from .folder import CASE, Definition, Sweep
from .prepare import SweepData
from .result import Result
from .run import Queue
from .search import Search
from .setup import TrialSource

CHOSEN = "chosen"
"""The axis of a chosen configuration's trials."""


@dataclass
class _Case:
    """A training part, the source of the trials on its inner folds, and those that are under way."""

    values: dict[str, int]
    source: TrialSource
    open: set[str] = field(default_factory=set)
    closed: bool = False
    """Whether its choice is made."""


class Nested:
    """The trials of a sweep with inner folds: those on a training part's folds, then those of the best on all of it.

    What is chosen is a function of the results, is written to `sweep.json` before it is trained, and stays.

    Args:
        sweep: the sweep, whose trials grow.
        data: its features.
        results: the results that are there, by key.
    """

    def __init__(self, sweep: Sweep, data: SweepData, results: Mapping[str, Result]) -> None:
        self._sweep, self._data, self._results = sweep, data, dict(results)
        definition = sweep.definition
        guided = definition.mode == "optuna"
        self._cases: list[_Case] = []
        for values in cases_of(definition):
            missing = [trial for trial in _of(definition.scored, values) if trial.key not in self._results]
            unique = {trial.key: trial for trial in missing}.values()
            source = Search(sweep, data, results, values) if guided else Queue(unique)
            self._cases.append(_Case(values, source))
        self._finals: deque[Trial] = deque()
        self._given = 0

    @property
    def total(self) -> int:
        """The number of runs, as far as it is known."""
        inner = sum(case.source.total for case in self._cases)
        return inner + self._given + len(self._sweep.definition.seeds) * sum(not case.closed for case in self._cases)

    def next(self, begin: bool = True) -> Trial | None:
        """Return the next trial; None if there is none, or none until one that is under way has ended."""
        for case in self._cases:
            if self._finals:
                break
            if case.closed:
                continue
            if (trial := case.source.next(begin)) is not None:
                case.open.add(trial.key)
                return trial
            if begin and not case.open:
                self._close(case)
        return self._finals.popleft() if self._finals else None

    def ended(self, result: Result) -> None:
        """Take the result of a run."""
        self._results[result.key] = result
        for case in self._cases:
            if result.key in case.open:
                case.open.remove(result.key)
                case.source.ended(result)

    def _close(self, case: _Case) -> None:
        """Choose for a training part, unless that is done, and queue what is not trained."""
        case.closed = True
        definition = self._sweep.definition
        finals = _of(definition.chosen, case.values)
        if not finals:
            best = choice(_of(definition.scored, case.values), self._results, definition.select)
            if best is None:
                return
            finals = self._data.keyed(Trial(CHOSEN, replace(best, seed=seed)) for seed in definition.seeds)
            definition.trials.extend(finals)
            disk.replace(self._sweep.path / "sweep.json", definition.to_json())
        left = {trial.key: trial for trial in finals if trial.key not in self._results}
        self._finals.extend(left.values())
        self._given += len(left)


def cases_of(definition: Definition) -> list[dict[str, int]]:
    """Return the training parts that a sweep is on, as values of `folder.CASE`."""
    if definition.mode != "optuna":
        found = [{name: getattr(trial.config, name) for name in CASE} for trial in definition.scored]
        return [dict(case) for case in dict.fromkeys(tuple(one.items()) for one in found)]
    split_seeds, folds = (definition.axes.get(name, [0]) for name in CASE)
    return [{"split_seed": seed, "fold": fold} for seed in split_seeds for fold in folds]


def choice(trials: Sequence[Trial], results: Mapping[str, Result], select: str) -> TrainConfig | None:
    """Return the best configuration by inner folds, with the seed 0; None where none has a score on all of them.

    Best is the best mean of the score, then the lowest mean loss, then the first.

    Args:
        trials: the trials on the inner folds of one training part.
        results: their results, by key.
        select: one of `config.SELECTS`.
    """
    keys: dict[TrainConfig, set[str]] = {}
    for trial in trials:
        keys.setdefault(replace(trial.config, seed=0), set()).add(trial.key)
    best, found = (-math.inf, -math.inf), None
    for config, own in keys.items():
        each = [results[key].figures for key in own if key in results and results[key].run is not None]
        if len(each) < len(own):
            continue
        score = SELECTS[select] * fmean(one[f"val_{select}"] for one in each), -fmean(one["val_loss"] for one in each)
        if score > best and not math.isnan(score[0]):
            best, found = score, config
    return found


def _of(trials: Sequence[Trial], case: Mapping[str, int]) -> list[Trial]:
    return [one for one in trials if all(getattr(one.config, name) == value for name, value in case.items())]
