"""Trials side by side in this process, in stacks as large as memory allows: for a GPU."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch

from ...errors import RunError
from ...itin_head import make
from ...targets import outputs_of
from ..config import TrainConfig
from ..features.features import Features
from ..features.shared import open_features
from ..features.word_table import table_of
from ..loop import Fit, compute_for, train
from ..steps import ComputeOptions, shape_of, stackable
from .axes import Trial
from .result import Result
from .setup import Event, Setup, TrialSource

WRITERS = 4
"""The number of run folders written at a time: a head of d = k = 1024 has 74 MB, and each file is synced."""

STACK_MEMORY_SHARE = 0.7
"""The share of the free memory that a stack may take, by estimate."""


class Stacks:
    """Train trials as `workers.Pool` does, but J at a time on one device.

    Trials of equal shape are trained together. A stack that does not fit into memory is tried again as two halves.

    Args:
        setup: the features and the device.
        limit: the maximum number of configurations in a stack; None for what memory allows.
    """

    def __init__(self, setup: Setup, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1, got {limit}")
        self.setup, self.limit = setup, limit
        self.device = torch.device(setup.device)
        self._features = {view: open_features(folder) for view, folder in setup.features.items()}

    def run(self, trials: TrialSource) -> Iterator[Event]:
        """Yield events until no trial is left."""
        waiting: list[Trial] = []
        while True:
            while (trial := trials.next(begin=not waiting)) is not None:
                waiting.append(trial)
            if not waiting:
                return
            together = self._together(waiting)
            waiting = [trial for trial in waiting if trial not in together]
            yield from self._train(together)

    def _together(self, waiting: Sequence[Trial]) -> list[Trial]:
        """Return the first trial and others of its shape on the same parts, as many as a stack may hold."""
        first = waiting[0].config
        features = self._features[first.view]
        shape = shape_of(first, features.dataset), waiting[0].inner
        same = [trial for trial in waiting if (shape_of(trial.config, features.dataset), trial.inner) == shape]
        most = self.limit if self.limit is not None else stack_limit(first, features, self.device)
        return same[: most if stackable(first) else 1]

    def _train(self, trials: list[Trial]) -> Iterator[Event]:
        configs = [trial.config for trial in trials]
        features = self._features[configs[0].view]
        split = self.setup.split_for(trials[0])
        results: list[Fit | RunError] = []
        try:
            # The test part is not evaluated, as in `workers`.
            compute = ComputeOptions()
            if stackable(configs[0]):
                how = self.setup
                compute = compute_for(configs, features, split, self.device, how.gru, how.graphs, how.precision)
            for j, made in train(configs, features, split, self.device, ("val",), compute):
                if isinstance(made, dict):
                    yield Event(j, trials[j], made)
                else:
                    results.append(made)
        except Exception as error:  # the configurations of other stacks go on
            failed, named = traceback.format_exc(), f"{type(error).__name__}: {error}"
            if not is_out_of_memory(error) or len(trials) == 1:
                for j, trial in enumerate(trials):
                    yield Event(j, trial, {}, Result(trial.key, error=named, traceback=failed))
                return
        else:
            with ThreadPoolExecutor(WRITERS) as pool:
                yield from pool.map(self._keep, range(len(trials)), trials, results, repeat(features))
            return
        # Outside of the handler, which keeps the stack's memory allocated.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(trials) // 2
        yield from self._train(trials[:half])
        yield from self._train(trials[half:])

    def _keep(self, j: int, trial: Trial, made: Fit | RunError, features: Features) -> Event:
        """Write a run folder, or return why there is none."""
        try:
            if isinstance(made, RunError):
                raise made
            result = self.setup.keep(trial, made, features)
        except RunError as error:
            result = Result(trial.key, error=str(error))
        return Event(j, trial, {}, result)


def stack_limit(config: TrainConfig, features: Features, device: torch.device) -> int:
    """Return how many configurations of this shape fit into the device's memory, by estimate; at least 1."""
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(STACK_MEMORY_SHARE * free / estimated_bytes(config, features)))


def estimated_bytes(config: TrainConfig, features: Features) -> int:
    """Return the bytes that one configuration of a stack takes in float32, by estimate."""
    sizes = {**features.dims, "classes": outputs_of([features.column(name).target for name in config.targets])}
    if config.head_config({}).has_table:
        sizes["entries"] = len(table_of(features, np.arange(len(features)), config.max_words))
    with torch.device("meta"):
        members = len(config.members)
        weights = sum(parameter.numel() for parameter in make(config.head_config(sizes)).parameters())
    batch = config.batch_for(features.dataset)
    words = batch * max(1, len(features.tokens) // max(1, len(features)))
    E, d, m = features.tokens.shape[1], config.d, features.regions.shape[1]
    word_floats = 2 * words * (E + 16 * d)  # gates, states and their gradients, in both directions
    region_floats = batch * m * (features.regions.shape[2] + 16 * d)
    # Weights, their gradients, Adam's two, the head that keeps the best epoch, and temporary results.
    floats: int = 6 * weights + word_floats + region_floats
    return 4 * floats * members


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is, or follows from, lack of memory: one in a CUDA graph's capture causes others."""
    if error.__context__ is not None and is_out_of_memory(error.__context__):
        return True
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )
