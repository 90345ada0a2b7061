"""The interface between a sweep and its trainers, `workers` and `one_device`: the setup, the trials, the events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...cache import Store
from ..config import View
from ..protocols.split import Split
from ..protocols.teaching import TargetSplitter
from ..runs.folder import load_run
from ..runs.write import write_run
from .axes import Trial
from .result import Result, write_record

if TYPE_CHECKING:
    from ..features.features import Features
    from ..loop import Fit


class Event(NamedTuple):
    """A message from a run under way: an epoch has ended, or the run has."""

    worker: int
    trial: Trial
    row: dict[str, float]
    """The history's newest row, where an epoch has ended; else empty."""
    result: Result | None = None
    """The result of the run, where it has ended."""


class TrialSource(Protocol):
    """The trials to train; later ones may depend on the results of earlier ones."""

    @property
    def total(self) -> int:
        """The number of runs to train, as far as it is known; runs that are there already do not count."""
        ...

    def next(self, begin: bool = True) -> Trial | None:
        """Return the next trial; None if there is none, or none until one that is under way has ended.

        Args:
            begin: whether to begin a configuration that depends on results. A trainer that takes several trials at once
                first ends those that it has, so that their results count.
        """
        ...

    def ended(self, result: Result) -> None:
        """Take the result of a run."""
        ...


@dataclass(frozen=True)
class Setup:
    """All that is needed to train, except the trials."""

    features: dict[View, Path]
    """The folders of `shared.save_features`."""
    dataset: dict[str, Any]
    """The record of the data set for run folders."""
    stores: dict[View, dict[str, Store]]
    """The stores that the features come from, by kind."""
    runs: Path
    """The folder that run folders are written to."""
    splitter: TargetSplitter
    """The protocol, applied to the samples."""
    device: str = "cpu"
    threads: int = 1
    gru: str = "auto"
    graphs: bool | None = None
    """Whether configurations side by side take their steps as CUDA graphs; None for where they can."""
    precision: str = "float32"
    """The precision of matrix products of configurations side by side."""

    def split_for(self, trial: Trial) -> Split:
        """Return the parts that a trial is trained on."""
        config = trial.config
        return self.splitter.split(config.split_seed, config.fold, config.targets, config.train_share, trial.inner)

    def keep(self, trial: Trial, fit: Fit, features: Features) -> Result:
        """Write the run folder of a trial, or the record of an inner one.

        Raises:
            RunError: it cannot be written.
        """
        config, out = trial.config, self.runs / trial.name
        split, stores = self.split_for(trial), self.stores[config.view]
        if trial.inner is not None:
            return write_record(self.runs.parent, trial, fit, split)
        write_run(fit, features, split, self.dataset, stores, trial.key, device=self.device, out=out)
        return Result.of(load_run(out))
