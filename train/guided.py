"""A guided search: Optuna proposes configurations from the validation figures of those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import RunError
from . import disk
from .axes import Place
from .config import TrainConfig
from .pool import Job
from .presets import with_preset
from .sweep import Result, Sweep
from .sweep_run import Workplace, folder_name

INVALID_IN_A_ROW = 1000
"""Proposals that are no configuration (m = 0 with no-context) after which the search ends."""


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

    Optuna's journal in the sweep's folder holds the trials, so that a search that was ended goes on where it was.
    Numbers are proposed by their place in the ordered list of values, so that what lies between two good ones counts as
    near to both. Values that one configuration has are proposed again at times: they are not trained again.

    Args:
        sweep: the sweep, whose places grow with the trials.
        place: its features.
        results: those that are there, by key.
    """

    def __init__(self, sweep: Sweep, place: Workplace, results: Mapping[str, Result]) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._place, self._results = sweep, place, dict(results)
        definition = sweep.definition
        self._seeds = definition.seeds
        self._number = definition.number or 0
        self._axes = {name: _ordered(values) for name, values in definition.axes.items()}
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(sweep.path / "optuna.journal"))),
            study_name="sweep",
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True),
            load_if_exists=True,
        )
        self._waiting: dict[int, list[str]] = {}  # trial -> keys of its runs
        self._given: set[str] = set()
        self._jobs: deque[Job] = deque()
        for trial in self._study.trials:
            if trial.state == self._states.RUNNING:  # the sweep was ended over it
                self._begin(trial.number, trial.params)

    @property
    def total(self) -> int:
        """The runs of the trials so far, and those that the other trials may need."""
        return len(self._given) + len(self._seeds) * max(0, self._number - self._tried())

    def next(self) -> Job | None:
        """The next run; None when all trials are under way or done."""
        invalid = 0
        while not self._jobs and invalid < INVALID_IN_A_ROW and self._tried() < self._number:
            trial = self._study.ask()
            params = {
                name: trial.suggest_int(name, 0, len(values) - 1)
                if _is_number(values[0])
                else trial.suggest_categorical(name, values)
                for name, values in self._axes.items()
                if len(values) > 1
            }
            invalid = 0 if self._begin(trial.number, params) else invalid + 1
        return self._jobs.popleft() if self._jobs else None

    def ended(self, result: Result) -> None:
        """A run has ended: so have the trials that waited for it alone."""
        self._results[result.key] = result
        for number in [number for number, keys in self._waiting.items() if result.key in keys]:
            self._tell_if_whole(number)

    def _tried(self) -> int:
        """How many trials were configurations."""
        return len({place.axis for place, _ in self._sweep.definition.places})

    def _begin(self, number: int, params: Mapping[str, Any]) -> bool:
        """Queue the runs of a trial; False if it is no configuration."""
        trial = f"trial {number}"
        try:
            values = {
                name: values[params[name]] if len(values) > 1 and _is_number(values[0]) else params.get(name, values[0])
                for name, values in self._axes.items()
            }
            config = TrainConfig(**with_preset(values))
        except (KeyError, ValueError):  # no configuration, or a trial that was ended before it had its values
            self._study.tell(number, state=self._states.FAIL)
            return False
        configs = [replace(config, seed=seed) for seed in self._seeds]
        keys = [self._place.key(one) for one in configs]
        places = self._sweep.definition.places
        if not any(place.axis == trial for place, _ in places):
            places.extend((Place(trial, one), key) for one, key in zip(configs, keys, strict=True))
            disk.replace(self._sweep.path / "sweep.json", self._sweep.definition.to_json())
        self._waiting[number] = keys
        for one, key in zip(configs, keys, strict=True):
            if key not in self._results and key not in self._given:
                self._given.add(key)
                self._jobs.append(Job(key, folder_name(one, key), one))
        self._tell_if_whole(number)
        return True

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


def _ordered(values: Sequence[Any]) -> list[Any]:
    return sorted(values) if all(_is_number(value) for value in values) else list(values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
