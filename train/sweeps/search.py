"""A guided search: Optuna proposes configurations from the validation figures of those before."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ... import disk
from ...errors import RunError
from ...lazy import optional
from ..config import SELECTS, TrainConfig
from .axes import Trial, config_of, inner_of
from .folder import Sweep
from .prepare import SweepData
from .result import Result

PROPOSALS = 20
"""The number of proposals without a new configuration after which the next untried one is taken instead."""

TRIAL = "trial "
"""The prefix of the axis of a configuration's trials, one per seed; its number follows."""


def check_installed() -> None:
    """Raise RunError unless Optuna is installed."""
    optional("optuna", "a guided search needs Optuna", "itin[optuna]")


class Search:
    """The runs of a guided search by the validation score that the sweep selects by, the mean over the seeds.

    Every proposal is another configuration: those equal to an earlier one, and those that are not valid, are
    dropped. The search ends after the requested number of configurations, or when the axes hold no further one.

    Numbers are proposed by their index in the ordered list of values, so that a value between two good ones counts as
    near to both.

    Optuna keeps its study only in memory, where each configuration is a trial of its own. What a resumed search needs
    is in the sweep's folder: the trials in `sweep.json`, their results in the run folders. A proposal depends on
    its number, the trials before it and their results so far. So a search with one worker gives the
    same trials whether it was interrupted or not; with several, on which run ends first, too.

    Args:
        sweep: the sweep, whose trials grow with the search.
        data: its features.
        results: the results that are there, by key.
        case: the values of `folder.CASE` where the configurations are scored on inner folds; by default those of the
            axes.

    Raises:
        RunError: a trial in `sweep.json` is not a combination of the sweep's axes.
    """

    def __init__(
        self, sweep: Sweep, data: SweepData, results: Mapping[str, Result], case: Mapping[str, int] | None = None
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._data, self._results = sweep, data, dict(results)
        definition = sweep.definition
        self._case: dict[str, Any] = dict(case or {})
        self._repeats = list(itertools.product(definition.seeds, inner_of(definition.inner_folds)))
        self._number = definition.number or 0
        self._axes = {
            name: sorted(values) if all(map(_is_number, values)) else list(values)
            for name, values in definition.axes.items()
            if name not in self._case
        }
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.IntDistribution(0, len(values) - 1)
            if self._by_place(name)
            else optuna.distributions.CategoricalDistribution(values)
            for name, values in self._axes.items()
            if len(values) > 1
        }
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(direction="maximize")
        self._begun = 0  # configurations
        self._tried: set[str] = set()  # keys of their trials
        self._waiting: dict[int, list[str]] = {}  # number in the study -> keys of its trials
        self._given: set[str] = set()
        self._queue: deque[Trial] = deque()
        self._next = 0  # the next configuration's number in the sweep
        self._exhausted = False
        there: dict[str, list[Trial]] = {}
        for trial in self._own(definition.scored):
            there.setdefault(trial.axis, []).append(trial)
        for axis, trials in there.items():
            self._next = max(self._next, int(axis.removeprefix(TRIAL)) + 1)
            if trials[0].key not in self._tried:  # sweeps used to hold configurations that repeat another
                self._begin(self._add(self._point_of(trials[0])), trials)

    @property
    def total(self) -> int:
        """The number of runs so far, and of those that further configurations may need."""
        left = 0 if self._exhausted else max(0, self._number - self._begun)
        return len(self._given) + len(self._repeats) * left

    def next(self, begin: bool = True) -> Trial | None:
        """Return the next trial; None when all are under way or done, or no configuration shall begin."""
        while begin and not self._queue and not self._exhausted and self._begun < self._number:
            self._propose()
        return self._queue.popleft() if self._queue else None

    def ended(self, result: Result) -> None:
        """Take the result of a run, and report its configuration to Optuna where it was the last."""
        self._results[result.key] = result
        for number in [number for number, keys in self._waiting.items() if result.key in keys]:
            self._tell_if_whole(number)

    def _propose(self) -> None:
        """Begin the next configuration, or note that none is left."""
        # A sampler of its own for each, so that a resumed search does not repeat the draws of its beginning.
        self._study.sampler = _sampler(self._next)
        for _ in range(PROPOSALS):
            trial = self._study.ask(self._distributions)
            point = {name: values[0] for name, values in self._axes.items()}
            for name, param in trial.params.items():
                point[name] = self._axes[name][param] if self._by_place(name) else param
            if trials := self._new_trials(point):
                self._record(trial.number, trials)
                return
            self._study.tell(trial.number, state=self._states.FAIL)  # which samplers ignore
        left = self._untried()
        if left is None:
            self._exhausted = True
        else:
            self._record(self._add(left[0]), left[1])

    def _untried(self) -> tuple[dict[str, Any], list[Trial]] | None:
        """Return the first new combination from a random one on, with its trials; None if there is none."""
        total = math.prod(map(len, self._axes.values()))
        begin = random.Random(self._next).randrange(total)
        for number in range(begin, begin + total):
            point, index = {}, number % total
            for name, values in self._axes.items():
                index, at = divmod(index, len(values))
                point[name] = values[at]
            if trials := self._new_trials(point):
                return point, trials
        return None

    def _new_trials(self, point: Mapping[str, Any]) -> list[Trial]:
        """Return a combination's trials, one per seed and inner fold; none if it is not valid, or not new."""
        config = config_of(point, self._sweep.definition.adapted)
        if config is None:
            return []
        configs = [(replace(config, seed=seed, **self._case), inner) for seed, inner in self._repeats]
        axis = f"{TRIAL}{self._next}"
        trials = [Trial(axis, one, self._data.key(one, inner), inner) for one, inner in configs]
        return trials if trials[0].key not in self._tried else []

    def _point_of(self, trial: Trial) -> dict[str, Any]:
        """Return the combination that a trial's configuration comes from."""
        for preset in self._axes.get("preset", ["paper"]):
            point = {name: preset if name == "preset" else getattr(trial.config, name) for name in self._axes}
            found = config_of(point, self._sweep.definition.adapted)
            on_axes = all(point[name] in values for name, values in self._axes.items())
            if on_axes and found is not None and self._same(found, trial.config):
                return point
        raise RunError(
            f"{self._sweep.path / 'sweep.json'} contradicts itself: {trial.axis} is no combination of its axes",
            expected=", ".join(f"{name} in {values}" for name, values in self._axes.items()),
            found=str(trial.config),
            next_step="start a new sweep",
        )

    def _same(self, found: TrainConfig, config: TrainConfig) -> bool:
        return replace(found, seed=config.seed, **self._case) == config

    def _own(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials of the search's own training part."""
        return [one for one in trials if all(getattr(one.config, name) == own for name, own in self._case.items())]

    def _by_place(self, name: str) -> bool:
        """Return whether an axis is proposed by the index in its list of values."""
        return _is_number(self._axes[name][0])

    def _add(self, point: Mapping[str, Any]) -> int:
        """Put a combination into the study as one under way; return its number there."""
        import optuna

        params = {
            name: self._axes[name].index(point[name]) if self._by_place(name) else point[name]
            for name in self._distributions
        }
        trial = optuna.trial.create_trial(state=self._states.RUNNING, params=params, distributions=self._distributions)
        self._study.add_trial(trial)
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _record(self, number: int, trials: Sequence[Trial]) -> None:
        """Begin a new configuration, whose trials `sweep.json` holds before any of their runs begins."""
        definition = self._sweep.definition
        definition.trials.extend(trials)
        disk.replace(self._sweep.path / "sweep.json", definition.to_json())
        self._next += 1
        self._begin(number, trials)

    def _begin(self, number: int, trials: Sequence[Trial]) -> None:
        """Queue those trials of a configuration that have no result."""
        self._begun += 1
        self._waiting[number] = [trial.key for trial in trials]
        for trial in trials:
            self._tried.add(trial.key)
            if trial.key not in self._results:
                self._given.add(trial.key)
                self._queue.append(trial)
        self._tell_if_whole(number)

    def _tell_if_whole(self, number: int) -> None:
        """Report a configuration's result to Optuna, once all its runs have ended."""
        if any(key not in self._results for key in self._waiting[number]):
            return
        results = [self._results[key] for key in self._waiting.pop(number)]
        if any(result.run is None for result in results):
            self._study.tell(number, state=self._states.FAIL)
        else:
            select = self._sweep.definition.select
            mean = sum(result.figures[f"val_{select}"] for result in results) / len(results)
            if math.isnan(mean):  # predictions that are all the same correlate with nothing
                self._study.tell(number, state=self._states.FAIL)
            else:
                self._study.tell(number, SELECTS[select] * mean)


def _sampler(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():  # the argument is called experimental before Optuna 5
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
