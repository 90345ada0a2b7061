"""What trains the trials of a sweep is given, and what it reports; `workers` and `one_device` are the two ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..config import TrainConfig, View
from ..protocols.protocol import Splitter
from ..protocols.split import Split
from ..runs.folder import load_run
from ..runs.write import write_run
from .axes import Trial
from .folder import Result

if TYPE_CHECKING:
    from ..features.features import Features
    from ..loop import Fit


class Event(NamedTuple):
    """A message from a run under way: an epoch has ended, or all of it."""

    worker: int
    trial: Trial
    row: dict[str, float]
    """The history's newest row, where an epoch has ended; else empty."""
    result: Result | None = None
    """What became of the run, where it has ended."""


class Source(Protocol):
    """The trials to train; which come later may depend on the results of those before."""

    @property
    def total(self) -> int:
        """How many runs there are to be, those that are there already not counted, as far as is known."""
        ...

    def next(self) -> Trial | None:
        """Return the next trial; None if there is none, or none until one that is under way has ended."""
        ...

    def ended(self, result: Result) -> None:
        """Take the result of a run."""
        ...


@dataclass(frozen=True)
class StoreFacts:
    """What a run folder records of a store; unlike the store itself it can be sent to another process."""

    path: Path
    fingerprint: str
    identity: dict[str, Any]
    untrained: bool
    options: dict[str, Any] | None
    tokenizer_file: Path | None

    @classmethod
    def of(cls, store: Any) -> StoreFacts:
        """Return the facts of an `itin.cache.Store`."""
        return cls(store.path, store.fingerprint, store.identity, store.untrained, store.options, store.tokenizer_file)


@dataclass(frozen=True)
class Setup:
    """All that is needed to train beside the trials."""

    features: dict[View, Path]
    """Folders of `shared.save_features`."""
    dataset: dict[str, Any]
    """What run folders record of the data set."""
    stores: dict[View, dict[str, StoreFacts]]
    """Where the features come from, by kind."""
    runs: Path
    """The folder that run folders are written to."""
    splitter: Splitter
    """The protocol, applied to the samples."""
    device: str = "cpu"
    threads: int = 1
    gru: str = "auto"
    graphs: bool = False
    """Whether configurations side by side take their steps as CUDA graphs."""
    precision: str = "float32"
    """Of matrix products of configurations side by side."""

    def split_for(self, config: TrainConfig) -> Split:
        """Return the parts that a configuration is trained on."""
        return self.splitter.split(config.split_seed, config.fold)

    def keep(self, trial: Trial, fit: Fit, features: Features) -> Result:
        """Write the run folder of a trial.

        Raises:
            RunError: it cannot be written.
        """
        config, out = trial.config, self.runs / trial.name
        split, stores = self.split_for(config), self.stores[config.view]
        write_run(fit, features, split, self.dataset, stores, trial.key, device=self.device, out=out)
        return Result.of(load_run(out))
