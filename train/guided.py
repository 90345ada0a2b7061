"""A guided search: Optuna proposes configurations from the validation figures of those before."""

from __future__ import annotations

import math
import random
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import disk
from ..errors import RunError
from .axes import Place
from .config import TrainConfig
from .pool import Job
from .presets import with_preset
from .sweep import Result, Sweep
from .sweep_run import Workplace, folder_name

PROPOSALS = 20
"""Proposals of one trial that bring no new configuration, after which the next untried one is taken instead."""

TRIAL = "trial "
"""Begins the axis of a trial's places, its number follows."""


def check_installed() -> None:
    """Raise RunError unless Optuna is installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise RunError(
            "a guided search needs Optuna, which is not installed", next_step="pip install 'itin[optuna]'"
        ) from error


class Guided:
    """The runs of a guided search; it goes for the highest validation accuracy, the mean over the seeds.

    Every trial is another configuration: proposals equal to an earlier one, and those that are no configuration, are
    dropped. The search ends after the asked number of trials, or when the axes hold no further configuration.

    Numbers are proposed by their place in the ordered list of values, so that what lies between two good ones counts as
    near to both.

    Optuna keeps its study in memory alone. What a resumed search needs is in the sweep's folder: the trials in
    `sweep.json`, what they came to in the run folders. A proposal depends on the trial's number, the trials before it
    and those of their results that are there. So a search with one worker gives the same trials whether it was
    interrupted or not; with several, on which run ends first, too.

    Args:
        sweep: the sweep, whose places grow with the trials.
        place: its features.
        results: those that are there, by key.

    Raises:
        RunError: a trial in `sweep.json` is no combination of the sweep's axes.
    """

    def __init__(self, sweep: Sweep, place: Workplace, results: Mapping[str, Result]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._place, self._results = sweep, place, dict(results)
        definition = sweep.definition
        self._seeds = definition.seeds
        self._number = definition.number or 0
        self._axes = {name: _ordered(values) for name, values in definition.axes.items()}
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.IntDistribution(0, len(values) - 1)
            if self._by_place(name)
            else optuna.distributions.CategoricalDistribution(values)
            for name, values in self._axes.items()
            if len(values) > 1
        }
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(direction="maximize")
        self._trials = 0
        self._tried: set[str] = set()  # keys of their runs
        self._waiting: dict[int, list[str]] = {}  # number in the study -> keys of a trial's runs
        self._given: set[str] = set()
        self._jobs: deque[Job] = deque()
        self._next = 0  # the next trial's number in the sweep
        self._exhausted = False
        trials: dict[str, list[tuple[TrainConfig, str]]] = {}
        for one, key in definition.places:
            trials.setdefault(one.axis, []).append((one.config, key))
        for axis, runs in trials.items():
            self._next = max(self._next, int(axis.removeprefix(TRIAL)) + 1)
            if runs[0][1] not in self._tried:  # sweeps used to hold trials that repeat another
                self._begin(self._add(self._point_of(axis, runs[0][0])), runs)

    @property
    def total(self) -> int:
        """The runs of the trials so far, and those that the other trials may need."""
        left = 0 if self._exhausted else max(0, self._number - self._trials)
        return len(self._given) + len(self._seeds) * left

    def next(self) -> Job | None:
        """The next run; None when all trials are under way or done."""
        while not self._jobs and not self._exhausted and self._trials < self._number:
            self._propose()
        return self._jobs.popleft() if self._jobs else None

    def ended(self, result: Result) -> None:
        """A run has ended: so has the trial that waited for it alone."""
        self._results[result.key] = result
        for number in [number for number, keys in self._waiting.items() if result.key in keys]:
            self._tell_if_whole(number)

    def _propose(self) -> None:
        """Begin the next trial, or find that no configuration is left."""
        # A sampler of its own for each trial, so that a resumed search does not repeat the draws of its beginning.
        self._study.sampler = _sampler(self._next)
        for _ in range(PROPOSALS):
            trial = self._study.ask(self._distributions)
            point = {name: values[0] for name, values in self._axes.items()}
            for name, param in trial.params.items():
                point[name] = self._axes[name][param] if self._by_place(name) else param
            if runs := self._new_runs(point):
                self._record(trial.number, runs)
                return
            self._study.tell(trial.number, state=self._states.FAIL)  # which samplers do not look at
        left = self._untried()
        if left is None:
            self._exhausted = True
        else:
            self._record(self._add(left[0]), left[1])

    def _untried(self) -> tuple[dict[str, Any], list[tuple[TrainConfig, str]]] | None:
        """The first new configuration from a random combination on, with its runs; None: there is none."""
        total = math.prod(map(len, self._axes.values()))
        begin = random.Random(self._next).randrange(total)
        for number in range(begin, begin + total):
            point, index = {}, number % total
            for name, values in self._axes.items():
                index, at = divmod(index, len(values))
                point[name] = values[at]
            if runs := self._new_runs(point):
                return point, runs
        return None

    def _new_runs(self, point: Mapping[str, Any]) -> list[tuple[TrainConfig, str]]:
        """A combination's runs, one a seed, with their keys; none if it is no configuration, or not a new one."""
        config = _config_of(point)
        if config is None:
            return []
        configs = [replace(config, seed=seed) for seed in self._seeds]
        runs = [(one, self._place.key(one)) for one in configs]
        return runs if runs[0][1] not in self._tried else []

    def _point_of(self, axis: str, config: TrainConfig) -> dict[str, Any]:
        """The combination that a trial's configuration comes from."""
        for preset in self._axes.get("preset", ["paper"]):
            point = {name: preset if name == "preset" else getattr(config, name) for name in self._axes}
            found = _config_of(point)
            on_axes = all(point[name] in values for name, values in self._axes.items())
            if on_axes and found is not None and replace(found, seed=config.seed) == config:
                return point
        raise RunError(
            f"{self._sweep.path / 'sweep.json'} contradicts itself: {axis} is no combination of its axes",
            expected=", ".join(f"{name} in {values}" for name, values in self._axes.items()),
            found=str(config),
            next_step="start a new sweep",
        )

    def _by_place(self, name: str) -> bool:
        """Whether an axis is proposed by the place in its list of values."""
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

    def _record(self, number: int, runs: Sequence[tuple[TrainConfig, str]]) -> None:
        """Begin a new trial, which `sweep.json` holds before any of its runs begins."""
        definition = self._sweep.definition
        definition.places.extend((Place(f"{TRIAL}{self._next}", config), key) for config, key in runs)
        disk.replace(self._sweep.path / "sweep.json", definition.to_json())
        self._next += 1
        self._begin(number, runs)

    def _begin(self, number: int, runs: Sequence[tuple[TrainConfig, str]]) -> None:
        """Queue those runs of a trial that have no result."""
        self._trials += 1
        self._waiting[number] = [key for _, key in runs]
        for config, key in runs:
            self._tried.add(key)
            if key not in self._results:
                self._given.add(key)
                self._jobs.append(Job(key, folder_name(config, key), config))
        self._tell_if_whole(number)

    def _tell_if_whole(self, number: int) -> None:
        """Tell Optuna what a trial came to, once all its runs have ended."""
        if any(key not in self._results for key in self._waiting[number]):
            return
        results = [self._results[key] for key in self._waiting.pop(number)]
        if any(result.run is None for result in results):
            self._study.tell(number, state=self._states.FAIL)
        else:
            accuracy = sum(result.figures["val_accuracy"] for result in results) / len(results)
            self._study.tell(number, accuracy)


def _sampler(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():  # the argument is called experimental before Optuna 5
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _config_of(point: Mapping[str, Any]) -> TrainConfig | None:
    """A combination's configuration; None where it is none (m = 0 with no-context)."""
    try:
        return TrainConfig(**with_preset(point))
    except ValueError:
        return None


def _ordered(values: Sequence[Any]) -> list[Any]:
    return sorted(values) if all(_is_number(value) for value in values) else list(values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
