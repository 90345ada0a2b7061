"""J heads trained side by side on features in memory: their weights, their optimiser, and the steps of an epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ..device import matmul_precision
from ..itin_head import HEADS, Head, make
from ..itin_head.ensemble import Ensemble
from ..itin_head.outputs import class_logits, cut, predicted, prior
from ..itin_head.side_by_side import SideBySide, SingleHead
from ..targets import Target
from .config import PRECISIONS, TrainConfig
from .features.batches import ABSENT, ResidentFeatures
from .features.features import Features, TargetColumn
from .features.word_table import table_of
from .lexicons.values import joined
from .optimization.objective import Objective, clip_side_by_side
from .optimization.optimizers import optimizer, set_learning_rate
from .protocols.split import Split

if TYPE_CHECKING:
    from .cuda_graphs import GraphSteps

MAY_DIFFER = ("m", "lam", "seed")
"""The fields in which configurations that are trained side by side may differ."""


@dataclass(frozen=True)
class ComputeOptions:
    """The way that training is computed; results are the same but for rounding."""

    graphs: bool = False
    """Take training steps as CUDA graphs (`cuda_graphs.GraphSteps`); on a CPU, in their shapes but without graphs."""
    recurrence: str = "packed"
    """The way that the GRU is computed, one of `recurrence.RECURRENCES`; side by side `packed` or `fused`."""
    precision: str = "float32"
    """The precision of matrix products, one of `config.PRECISIONS`; figures of kept epochs are always in float32."""

    @property
    def plain(self) -> bool:
        """Whether every head can be trained in this way."""
        return not self.graphs and self.precision == "float32"


def stackable(config: TrainConfig) -> bool:
    """Return whether a configuration can be trained beside others: whether it is in steps."""
    return not HEADS[config.head].solved


def graphable(config: TrainConfig, device: torch.device) -> bool:
    """Return whether training steps of a configuration are CUDA graphs there by default.

    Dropout draws other masks in a graph than without; so it is left to those who ask for graphs.
    """
    drawn = config.head_config({}).dropout_fields
    return device.type == "cuda" and stackable(config) and config.mask and not config.mixup and not drawn


def check_compute(config: TrainConfig, compute: ComputeOptions) -> None:
    """Raise ValueError for a configuration that cannot be trained in this way."""
    if compute.precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {compute.precision!r}")
    if not compute.plain and HEADS[config.head].solved:
        raise ValueError(
            f"head: expected one that is trained in steps with CUDA graphs or a precision other than float32, got "
            f"{config.head}"
        )
    if compute.graphs and config.mixup:
        raise ValueError(f"mixup: expected 0 with CUDA graphs, got {config.mixup:g}")
    if compute.graphs and not config.mask:
        raise ValueError("mask: expected True with CUDA graphs, got False")


def shape_of(config: TrainConfig, dataset: str) -> tuple[Any, ...]:
    """Return what configurations must share to be trained side by side."""
    config = replace(config, batch_size=config.batch_for(dataset), ablation=config.effective_ablation)
    free = MAY_DIFFER if stackable(config) else ()
    return tuple(getattr(config, field.name) for field in fields(config) if field.name not in free)


def taught_by(column: TargetColumn, rows: NDArray[np.int64]) -> TargetColumn:
    """Return a target with the values of some rows; raise ValueError if none of them has one."""
    own = column.take(rows)
    if not own.taught.any():
        raise ValueError(f"target: no pair of the training part has a value for {column.target.name}")
    return own


class Training:
    """J heads with their optimiser, on features in memory: the steps of an epoch, and the weights that are kept.

    Where the recipes are of ensembles of K, J is that of ensembles, and there are J * K heads side by side.

    Args:
        configs: J recipes of one `shape_of`; where J > 1 or `compute` is not plain, each `stackable`.
        features: with at least as many regions per image as the recipes use.
        split: the parts of these features.
        device: where to train.
        compute: how to compute the training.

    Raises:
        ValueError: configurations that cannot be trained side by side or in this way, or too few regions.
    """

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        features: Features,
        split: Split,
        device: str | torch.device,
        compute: ComputeOptions,
    ) -> None:
        first, J = configs[0], sum(len(config.members) for config in configs)
        if len({shape_of(config, features.dataset) for config in configs}) != 1 or (
            len(configs) > 1 and not stackable(first)
        ):
            raise ValueError(
                f"configs: expected configurations that differ only in {', '.join(MAY_DIFFER)}, got others"
            )
        check_compute(first, compute)
        device = torch.device(device)
        if J > 1 and compute.recurrence not in ("packed", "fused"):
            compute = replace(compute, recurrence="packed")
        self.compute = compute
        self.batch_size = first.batch_for(features.dataset)
        self.configs = [replace(config, batch_size=self.batch_size) for config in configs]
        self._members = [member for config in self.configs for member in config.members]
        regions = torch.tensor([member.regions for member in self._members])
        table = table_of(features, split.train, first.max_words) if first.head_config({}).has_table else None
        lexicons, most = first.lexicon_names, int(regions.max())
        uses = first.head_config(features.dims).uses
        self.resident = ResidentFeatures(
            features, device, most, first.max_words, first.targets, first.averages, lexicons, table, uses
        )
        if compute.graphs and not self.resident.held:
            warnings.warn("Steps are no CUDA graphs, slower: the device cannot hold the features", stacklevel=2)
            self.compute = compute = replace(compute, graphs=False)
        self.region_limit_mask = torch.arange(self.resident.m, device=device) < regions.to(device)[:, None, None]
        """(J, 1, m) bool: the regions that each head uses."""
        self.batches = math.ceil(len(split.train) / self.batch_size)
        self._samples = torch.from_numpy(split.train)
        taught = [taught_by(features.column(name), split.train) for name in first.targets]
        self.targets = [column.target for column in taught]
        """The targets, the one that is scored first."""
        constant = torch.cat([prior(one.target, torch.from_numpy(one.values[one.known])) for one in taught])
        sizes = {**features.dims, "classes": len(constant), "entries": 0 if table is None else len(table)}
        self._randomness = [IsolatedRNG(member.seed, device) for member in self._members]
        self._kept: list[Head] = []
        for member, own in zip(self._members, self._randomness, strict=True):
            with own():
                head = make(member.head_config(sizes), compute.recurrence)  # on the CPU: the same everywhere
                self._kept.append(head.to(device))
                self._kept[-1].begin(constant)
                if head.extra is not None:
                    known = torch.from_numpy(joined(features.lexicons, lexicons, len(features))[split.train])
                    head.extra.begin(known, None if table is None else torch.from_numpy(table))
                with torch.no_grad():
                    narrow = self.resident.narrow(member.regions)
                    self._kept[-1].scale(narrow.batch(rows).inputs for rows in chunks(self._samples, self.batch_size))
        K = J // len(configs)
        self.heads = self._kept if K == 1 else [Ensemble(self._kept[i : i + K], self.targets) for i in range(0, J, K)]
        """The head of each configuration, with the weights that were kept."""
        draws = bool(first.head_config({}).dropout_fields)
        generators = [own.generator(device) for own in self._randomness] if draws else []
        self._stack = self._stacked(generators)
        # What is validated and kept: the weights themselves, or their moving average.
        self._averaged = self._stacked() if first.ema else self._stack
        self._average = list(self._averaged.parameters())
        self._steps = 0
        self._shares = torch.ones(J, 1, 1, device=device)  # of each batch in what it is mixed to
        self._mixing = [np.random.default_rng(member.seed) for member in self._members]
        self._clip = clip_grad_norm_ if isinstance(self._stack, SingleHead) else clip_side_by_side
        self._parameters = list(self._stack.parameters())
        self._optimizer = optimizer(self._parameters, first, device, capturable=compute.graphs)
        self._objective = Objective(first, taught, device)
        self._scored = int(taught[0].known.sum())
        # Sums of float32 numbers are exact in float64, whatever their order; Apple's devices have none.
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(2, J, device=device, dtype=wide)
        self.selected_by, self.chosen = "", dict[str, float]()  # of `solving.Solving` alone
        self._orders = self._shuffled()
        self._static: GraphSteps | None = None
        if compute.graphs:
            from .cuda_graphs import GraphSteps

            to_come = (rows.T for order in self._shuffled() for rows in chunks(order.T, self.batch_size))
            self._static = GraphSteps(
                self.resident, self._logits, self.region_limit_mask, self._step, to_come, generators
            )

    def epoch(self, number: int) -> tuple[list[float], list[float]]:
        """Pass over the training part once.

        Args:
            number: the epoch, from 1.

        Returns:
            The running mean loss of each head, and the running mean of its first target: the accuracy, or for a number
            the mean absolute error in units.
        """
        self._stack.train()
        self._sums.zero_()
        order = next(self._orders)
        with self._randomness[0](), matmul_precision(tf32=self.compute.precision != "float32"):
            for batch, rows in enumerate(chunks(order.T, self.batch_size)):
                if self._optimizer is not None:
                    set_learning_rate(self._optimizer, self.configs[0].lr_at(number, batch, self.batches))
                if mixup := self.configs[0].mixup:
                    shares = [[[own.beta(mixup, mixup)]] for own in self._mixing]
                    self._shares = torch.tensor(shares, dtype=torch.float32, device=self.resident.device)
                if self._static is not None:
                    self._static(rows.T)
                else:
                    self._step(*self._forward(rows.T))
                self._follow()
        loss, right = self._sums.cpu().double().view(2, len(self.configs), -1).mean(2)
        first = self.targets[0]
        if first.is_number:
            right = right * (first.bounds[1] - first.bounds[0]) / 2
        return (loss / len(self._samples)).tolist(), (right / self._scored).tolist()

    def predicted(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return what the heads as they are now say of some samples, by target.

        Returns:
            Class probabilities (J, rows, classes), or numbers (J, rows) in units, before `label_rule.decided`.
        """
        self._averaged.eval()
        J = len(self._members)
        with torch.inference_mode(), matmul_precision(tf32=self.compute.precision != "float32"):
            samples = torch.from_numpy(rows)
            order = self.resident.by_length(samples)
            some = chunks(samples[order], self.batch_size)
            parts = [self._forward(part.expand(J, -1), self._averaged)[0] for part in some]
            said = predicted(torch.cat(parts, 1)[:, order.argsort()], self.targets)
        ensembles = (len(self.configs), -1)
        return {name: each.reshape(*ensembles, *each.shape[1:]).mean(1) for name, each in said.items()}

    def keep(self, j: int) -> None:
        """Copy the present weights of configuration j into `heads`, on the device."""
        K = len(self._members) // len(self.configs)
        for i in range(j * K, (j + 1) * K):
            self._kept[i].load_state_dict(self._averaged.state_of(i))

    def _stacked(self, generators: Sequence[torch.Generator] = ()) -> SingleHead | SideBySide:
        """Return copies of the heads, to be computed together."""
        if len(self._kept) == 1 and not self.compute.graphs:
            return SingleHead(self._kept[0], *generators)
        return SideBySide(self._kept, self.compute.recurrence, generators or None)

    def _follow(self) -> None:
        """Move the average towards the weights after a step."""
        self._steps += 1
        if self._averaged is not self._stack and self._average:
            decay = min(self.configs[0].ema, (1 + self._steps) / (10 + self._steps))
            with torch.no_grad():
                for kept, now in zip(self._average, self._parameters, strict=True):
                    kept.lerp_(now, 1 - decay)

    def _forward(self, rows: Tensor, stack: SingleHead | SideBySide | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the logits (J, B, outputs), in training further ones behind them, and each target's values (J, B)."""
        batch = self.resident.batch(rows)
        mask = batch.region_mask & self.region_limit_mask if batch.region_mask is not None else None
        return self._logits(batch.regions, batch.words, batch.context, mask, batch.extras, stack=stack), batch.targets

    def _logits(self, *batch: Any, stack: SingleHead | SideBySide | None = None) -> Tensor:
        """Compute logits (J, B, outputs) in float32, by products in bfloat16 where that is the precision."""
        logits: Tensor
        stack = stack or self._stack
        if self.compute.precision == "bfloat16":
            # Copies of the weights are not kept from one step to the next: a CUDA graph would read stale ones.
            with torch.autocast(self.resident.device.type, torch.bfloat16, cache_enabled=False):
                logits = stack(*batch).float()
        else:
            logits = stack(*batch)
        return logits

    def _step(self, logits: Tensor, targets: tuple[Tensor, ...]) -> None:
        """Update each head on its batch, and add up the loss and what is right of the first target."""
        losses = self._objective(logits, targets) if not self.configs[0].mixup else self._mixed(logits, targets)
        if self._optimizer is not None:
            for parameter in self._parameters:
                parameter.grad = None
            losses.sum().backward()  # type: ignore[no-untyped-call]  # no shared weight: each has its own gradient
            if self.configs[0].clip is not None:
                self._clip(self._parameters, self.configs[0].clip)
            self._optimizer.step()
        first, own = next(cut(logits.detach(), self.targets))
        if first.is_number:
            right = (own[..., 0] - targets[0]).abs().nan_to_num().sum(1)
        else:
            true = targets[0]
            if true.ndim == 3:  # shares, of which more than half agree on the value
                true = torch.where(true.amax(-1) > 0.5, true.argmax(-1), ABSENT)
            right = (class_logits(first, own).argmax(-1) == true).sum(1)
        self._sums.add_(torch.stack([losses.detach() * targets[0].shape[1], right.to(losses.dtype)]))

    def _mixed(self, logits: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        """Return the loss (J,) of pairs mixed with the one before them in their batch, by one share a batch.

        Manifold mixup (Verma et al., 2019) of the fused vector: the last layer is linear, so that its outputs can be
        mixed in its place.
        """
        mixed = self._shares * logits + (1 - self._shares) * logits.roll(1, 1)
        share, others = self._shares.flatten(), tuple(values.roll(1, 1) for values in targets)
        return share * self._objective(mixed, targets) + (1 - share) * self._objective(mixed, others)

    def _shuffled(self) -> Iterator[Tensor]:
        """Yield the samples (J, N) of each epoch, each in the order of its own seed."""
        shuffles = [torch.Generator().manual_seed(member.seed) for member in self._members]
        for _ in range(self.configs[0].epochs):
            yield torch.stack(
                [self._samples[torch.randperm(len(self._samples), generator=shuffle)] for shuffle in shuffles]
            )


@matmul_precision()
def predict(
    head: Head, resident: ResidentFeatures, rows: NDArray[np.int64], batch_size: int, targets: Sequence[Target]
) -> dict[str, NDArray[np.float64]]:
    """Return what a head says of some samples, in their order, by target: `outputs.predicted`.

    Args:
        head: the head.
        resident: the features.
        rows: (N,) samples.
        batch_size: samples that are computed together.
        targets: the head's targets, in the order of its outputs.
    """
    head.eval()
    with torch.inference_mode():
        samples = torch.from_numpy(rows)
        order = resident.by_length(samples)
        batches = (resident.batch(some) for some in chunks(samples[order], batch_size))
        logits = [head(*batch.inputs).logits for batch in batches]
        return predicted(torch.cat(logits)[order.argsort()], targets)


def chunks(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Return an iterator over consecutive chunks of at most `size` rows."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


class IsolatedRNG:
    """Torch's random generators of the CPU and of a device for one run; the global ones are not affected.

    Args:
        seed: their seed.
        device: a CPU or CUDA device.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda = [device] if device.type == "cuda" else []
        self._states: list[Tensor] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Make torch draw from them, from where the last context ended."""
        with torch.random.fork_rng(devices=self._cuda):
            if self._states:
                torch.set_rng_state(self._states[0])
                for device, state in zip(self._cuda, self._states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            else:
                torch.default_generator.manual_seed(self._seed)
                for device in self._cuda:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(self._seed)
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._cuda)]

    def generator(self, device: torch.device) -> torch.Generator:
        """Return a generator of a device that goes on from where the last context ended."""
        made = torch.Generator(device).manual_seed(self._seed)
        if device.type in ("cpu", "cuda"):
            made.set_state(self._states[len(self._cuda)])
        return made
