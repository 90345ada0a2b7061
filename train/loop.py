"""Training from the first epoch to the scores: J >= 1 heads side by side; J = 1 is a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RunError
from ..itin_head import HEADS, HeadConfig
from ..itin_head.gru.choose import choose, operations, side_by_side
from ..targets import LABEL, Target
from .config import TrainConfig, select_of, shown_scores
from .features.features import Features
from .label_rule import decided, has_sides, ways_of
from .optimization.objective import EpochSelection, selected_by
from .protocols.split import Split
from .scoring import Scorer
from .steps import ComputeOptions, Training, check_compute, graphable, predict

if TYPE_CHECKING:
    from .solving import Partnership, Solving


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of one training run."""

    config: TrainConfig
    """The recipe, with its batch size set."""
    head: HeadConfig
    """The configuration of the head that was trained."""
    best_epoch: int
    """The epoch that was kept, counted from 1."""
    history: list[dict[str, float]]
    """The history by epoch: epoch, lr, train_loss, train_accuracy, val_loss, val_accuracy, val_weighted_f1, seconds; of
    a number train_mae, val_mae and val_pearson; and the score that is selected by, where it is another."""
    state_dict: dict[str, Tensor]
    """The head's parameters after the best epoch, on the CPU."""
    metrics: dict[str, dict[str, Any]]
    """The scores of the first target in each part that was asked for; those of others by name in `targets`."""
    predicted: dict[str, dict[str, NDArray[np.float64]]]
    """Of each of these parts, in the order of the split's rows, what is said of each target: class probabilities (rows,
    classes), or numbers (rows,) in units."""
    seconds: float
    """Wall time of all epochs; of configurations side by side, a run's share."""
    gru: str = "packed"
    """The way that the GRU was computed."""
    stacked: int = 1
    """The number of configurations trained side by side."""
    precision: str = "float32"
    """The precision of matrix products in training, one of `config.PRECISIONS`."""
    targets: tuple[Target, ...] = ()
    """The targets in the order of the head's outputs."""
    selected_by: str = ""
    """The rule that chose the epoch, or the solution of a head that is solved for."""
    chosen: dict[str, float] = field(default_factory=dict)
    """C of such a head or of the partner, by target."""
    vocabulary: Mapping[str, Any] | None = None
    """What the run keeps of the head beside its weights."""

    @property
    def probabilities(self) -> dict[str, NDArray[np.float64]]:
        """What is said of the first target in each part, as `predicted`."""
        return {part: said[self.targets[0].name] for part, said in self.predicted.items()}


def fit(
    config: TrainConfig,
    features: Features,
    split: Split,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    evaluate: Sequence[str] = ("val", "test"),
    gru: str = "auto",
    compute: ComputeOptions | None = None,
) -> Fit:
    """Train a head and keep its best epoch.

    The same configuration, features and split on the same machine give the same numbers. Torch's global random state is
    the same afterwards as before.

    Args:
        config: the recipe.
        features: with at least as many regions per image as the recipe uses.
        split: the parts of these features.
        device: where to train.
        on_epoch: called with the history's newest row after each epoch.
        evaluate: the parts to score at the end, once, with the epoch that was kept.
        gru: how to compute the GRU, one of `itin_head.config.GRUS`, where `compute` is left out.
        compute: how to compute the training.

    Raises:
        ValueError: the features have fewer regions than the recipe uses, or a wrong `gru` or `compute`.
        RunError: the loss is no longer finite.
    """
    if compute is None:
        compute = compute_for([config], features, split, device, gru)
    for _, made in train([config], features, split, device, evaluate, compute):
        if isinstance(made, Fit):
            return made
        if isinstance(made, RunError):
            raise made
        if on_epoch is not None:
            on_epoch(made)
    raise AssertionError("unreachable")


def train(
    configs: Sequence[TrainConfig],
    features: Features,
    split: Split,
    device: str | torch.device = "cpu",
    evaluate: Sequence[str] = ("val", "test"),
    compute: ComputeOptions | None = None,
) -> Iterator[tuple[int, dict[str, float] | Fit | RunError]]:
    """Train J heads at once and keep the best epoch of each.

    Each result is that of `fit` but for rounding: each head has its own seed, hence its own initial weights and its own
    order of the samples.

    Args:
        configs: J recipes of one `shape_of`, each `stackable` where J > 1.
        features: as for `fit`.
        split: as for `fit`.
        device: where to train.
        evaluate: the parts to score at the end.
        compute: how to compute the training.

    Yields:
        After each epoch the number of a configuration and its history's newest row; after the last one its result, or
        the error that ended it, which does not affect the others.

    Raises:
        ValueError: configurations that cannot be trained side by side.
    """
    training = training_of(configs, features, split, device, compute or ComputeOptions())
    configs, J = training.configs, len(configs)
    scorers = [Scorer(features.column(one.name), split.train, configs[0].loss) for one in training.targets]
    first = scorers[0]
    select = select_of(configs[0], first.target)
    histories: list[list[dict[str, float]]] = [[] for _ in configs]
    selections = [EpochSelection(select, config.patience) for config in configs]
    ended: set[int] = set()
    broken: dict[int, RunError] = {}
    begun = time.perf_counter()
    for epoch in range(1, configs[0].epochs + 1):
        epoch_begun = time.perf_counter()
        loss, right = training.epoch(epoch)
        said = decided(training.predicted(split.val), configs[0].label_from)
        for j, config in enumerate(configs):
            if j in broken or j in ended:
                continue
            scores = first(split.val, said[first.target.name][j])
            shown = shown_scores(first.target.is_number)
            row = {
                "epoch": epoch,
                "lr": 0.0 if HEADS[config.head].solved else config.lr_at(epoch, training.batches - 1, training.batches),
                "train_loss": loss[j],
                f"train_{shown[0]}": right[j],
                "val_loss": scores["loss"],
                **{f"val_{name}": as_float(scores[name]) for name in dict.fromkeys((*shown, select)) if name != "loss"},
                "seconds": (time.perf_counter() - epoch_begun) / J,
            }
            where = f"in epoch {epoch} (learning rate {row['lr']:g})"
            if error := breakdown(where, {"training": row["train_loss"], "validation": row["val_loss"]}):
                broken[j] = error
                continue
            histories[j].append(row)
            yield j, row
            if selections[j].better(epoch, scores):
                training.keep(j)
            if selections[j].ends(epoch):
                ended.add(j)
        if len(ended) + len(broken) == J:
            break

    seconds = (time.perf_counter() - begun) / J
    for j, (config, head) in enumerate(zip(configs, training.heads, strict=True)):
        if j in broken:
            yield j, broken[j]
            continue
        own = training.resident.narrow(config.regions)  # the figures are those of the head alone
        each = {part: predict(head, own, split.rows(part), training.batch_size, training.targets) for part in evaluate}
        metrics = {
            part: scores_by_target(scorers, split.rows(part), said, config.label_from) for part, said in each.items()
        }
        kept = f"(epoch {selections[j].epoch} was kept)"
        yield (
            j,
            breakdown(kept, {part: scores["loss"] for part, scores in metrics.items()})
            or Fit(
                config,
                head.config,
                selections[j].epoch,
                histories[j],
                {name: value.detach().cpu().clone() for name, value in head.state_dict().items()},
                metrics,
                {part: decided(said, config.label_from) for part, said in each.items()},
                seconds,
                gru=training.compute.recurrence,
                stacked=J,
                precision=training.compute.precision,
                targets=tuple(training.targets),
                selected_by=training.selected_by or selected_by(select),
                chosen=dict(training.chosen),
                vocabulary=head.vocabulary,
            ),
        )


def training_of(
    configs: Sequence[TrainConfig],
    features: Features,
    split: Split,
    device: str | torch.device,
    compute: ComputeOptions,
) -> Training | Solving | Partnership:
    """Return the training of some configurations: in steps, with a partner or without, or of a head solved for."""
    first, partner = configs[0], configs[0].beside
    if HEADS[first.head].solved:
        if len(configs) > 1:
            raise ValueError(f"configs: expected one of the head {first.head}, got {len(configs)}")
        check_compute(first, compute)
        from .solving import Solving  # scikit-learn takes a second to import

        return Solving(first, features, split)
    trained = Training(configs, features, split, device, compute)
    if partner is None:
        return trained
    from .solving import Partnership, Solving

    return Partnership(trained, Solving(partner, features, split))


def scores_by_target(
    scorers: Sequence[Scorer],
    rows: NDArray[np.int64],
    predicted: Mapping[str, NDArray[np.float64]],
    label_from: str = "joint",
) -> dict[str, Any]:
    """Return the scores of the first target, and those of the others that some rows have a value for in `targets`.

    Where the label could come from the own labels of text and image too, `label_from` holds its scores by each way.

    Args:
        scorers: of each target.
        rows: (n,) samples; each has a value for the first target.
        predicted: what the head's own outputs say of them, by target.
        label_from: the recipe's.
    """
    first, *others = scorers
    ways: dict[str, Any] = {}
    if has_sides([one.target for one in scorers]):
        (label,) = (one for one in scorers if one.target.name == LABEL)
        each = ways_of(predicted)
        if label.column.known[rows].any():
            ways = {"label_from": {way: label(rows, chances) for way, chances in each.items()}}
    predicted = decided(predicted, label_from)
    scores = first(rows, predicted[first.target.name])
    further = {one.target.name: one(rows, predicted[one.target.name]) for one in others if one.column.known[rows].any()}
    return {**scores, "targets": further, **ways} if others else scores


def as_float(value: float | None) -> float:
    """Return a score as a number, NaN for an undefined one."""
    return math.nan if value is None else float(value)


def compute_for(
    configs: Sequence[TrainConfig],
    features: Features,
    split: Split,
    device: str | torch.device,
    gru: str,
    graphs: bool | None = None,
    precision: str = "float32",
    say: Callable[[str], None] | None = None,
) -> ComputeOptions:
    """Return how configurations are computed, alone or side by side.

    Args:
        configs: as for `train`.
        features: as for `fit`.
        split: as for `fit`.
        device: where to train.
        gru: how to compute the GRU, one of `itin_head.config.GRUS`.
        graphs: whether steps are CUDA graphs; None for where they can be, unless cuDNN is to compute the GRU.
        precision: the precision of matrix products, one of `config.PRECISIONS`.
        say: called with one line that says why the fastest way is not available.
    """
    where, alone = torch.device(device), sum(len(config.members) for config in configs) == 1
    if graphs is None:
        graphs = gru != "torch" and graphable(configs[0], where)
    compute, told = ComputeOptions(graphs, precision=precision), {} if say is None else {"say": say}
    if alone and compute.plain:
        return replace(compute, recurrence=choose(gru, where, work_of(configs[0], features, split), **told))
    return replace(compute, recurrence=side_by_side(gru, where, **told))


def work_of(config: TrainConfig, features: Features, split: Split) -> float:
    """Return the floating-point operations of the GRU in a run; 0 where the head has none."""
    if "gru_layers" not in config.head_config({}).settings:
        return 0.0
    words = int(np.diff(features.offsets)[split.train].sum())
    return operations(config.d, words, features.tokens.shape[1], config.epochs)


def breakdown(where: str, losses: dict[str, float]) -> RunError | None:
    """Return the error for a loss that is not finite; None where all are."""
    for name, loss in losses.items():
        if not math.isfinite(loss):
            return RunError(
                f"training broke down {where}",
                expected="a finite loss",
                found=f"{name} loss = {loss}",
                next_step="lower the learning rate (--lr), or check the features for values that are not finite",
            )
    return None
