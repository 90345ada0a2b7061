"""Training of J configurations side by side: the loop of `loop.fit`, J times at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import RunError
from ..itin_head import make
from ..itin_head.side_by_side import SideBySide
from ..itin_head.stacked import StackedHead, by_flags
from ..precision import products
from .config import PRECISIONS, TrainConfig
from .data import Features, Resident
from .graphs import GraphSteps
from .loop import Fit, adam, check_finite, chunks, predict, seeded, set_rate
from .metrics import majority_class, score
from .objective import Objective, Selection, clip_side_by_side
from .precision import lowered
from .splits import Split

MAY_DIFFER = ("m", "lam", "seed")
"""The fields in which configurations of any head that are trained side by side may differ."""

FLAGS = ("gate", "ablation")
"""Further ones, for ITIN as the equations have it."""


@dataclass(frozen=True)
class How:
    """How configurations side by side are computed; what they come to stays the same but for rounding."""

    graphs: bool = False
    """Take the steps of the training as CUDA graphs (`graphs.GraphSteps`); on a CPU, in their shapes."""
    recurrence: str = "packed"
    """`packed` or `fused`, as for `itin_head.gru.bigru`."""
    precision: str = "float32"
    """Of matrix products, one of `config.PRECISIONS`; figures of the kept epochs are always those of float32."""


def stackable(config: TrainConfig) -> bool:
    """Whether a configuration can be trained beside others: without dropout, which each head would draw for itself."""
    return not (config.gru_layers > 1 and config.gru_dropout and "tokens" in config.inputs)


def check_how(config: TrainConfig, how: How) -> None:
    """Raise ValueError for a configuration that cannot be trained in this way."""
    if how.precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {how.precision!r}")
    if how != How() and not stackable(config):
        raise ValueError(
            f"gru_dropout: CUDA graphs and other precisions than float32 expected none, got {config.gru_dropout}"
        )
    if how.graphs and not config.mask:
        raise ValueError("mask: CUDA graphs expected True, got False")


def shape_of(config: TrainConfig, dataset: str) -> tuple[Any, ...]:
    """What configurations must share to be trained side by side."""
    config = replace(config, batch_size=config.batch_for(dataset))
    free = MAY_DIFFER + FLAGS * by_flags(config.head_config({})) if stackable(config) else ()
    return tuple(getattr(config, field.name) for field in fields(config) if field.name not in free)


def fit_stacked(
    configs: Sequence[TrainConfig],
    features: Features,
    split: Split,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    evaluate: Sequence[str] = ("val", "test"),
    how: How | None = None,
) -> list[Fit | RunError]:
    """Train J heads at once and keep the best epoch of each.

    Each result is that of `loop.fit` but for rounding: each head has its own seed, so its own first weights and its own
    order of the samples.

    Args:
        configs: J recipes of one `shape_of`, each `stackable`.
        features: as for `loop.fit`.
        split: as for `loop.fit`.
        device: where to train.
        on_epoch: called with the number of the configuration and its history's newest row.
        evaluate: the parts to score at the end.
        how: how to compute them.

    Returns:
        What came out of each, or why it broke down; the others are not touched by that.

    Raises:
        ValueError: configurations that cannot be trained side by side.
    """
    training = train_stacked(configs, features, split, device, evaluate, how)
    while True:
        try:
            j, row = next(training)
        except StopIteration as ended:
            results: list[Fit | RunError] = ended.value
            return results
        if on_epoch is not None:
            on_epoch(j, row)


def fit_one(
    config: TrainConfig,
    features: Features,
    split: Split,
    device: str | torch.device,
    on_epoch: Callable[[dict[str, float]], None],
    how: How,
) -> Fit:
    """`loop.fit` as a stack of one, computed as configurations side by side may be.

    Raises:
        ValueError: it is not `stackable`.
        RunError: as of `loop.fit`.
    """
    (result,) = fit_stacked([config], features, split, device, lambda _, row: on_epoch(row), how=how)
    if isinstance(result, RunError):
        raise result
    return result


def train_stacked(
    configs: Sequence[TrainConfig],
    features: Features,
    split: Split,
    device: str | torch.device,
    evaluate: Sequence[str],
    how: How | None = None,
) -> Generator[tuple[int, dict[str, float]], None, list[Fit | RunError]]:
    """`fit_stacked` epoch by epoch: yields a configuration's number and its history's newest row."""
    device, how = torch.device(device), how or How()
    if len({shape_of(config, features.dataset) for config in configs}) != 1 or not stackable(configs[0]):
        raise ValueError(f"configs: expected some that differ in {', '.join(MAY_DIFFER + FLAGS)} alone, got others")
    check_how(configs[0], how)
    batch_size = configs[0].batch_for(features.dataset)
    configs = [replace(config, batch_size=batch_size) for config in configs]
    J = len(configs)
    regions = torch.tensor([config.regions for config in configs])
    resident = Resident(features, device, int(regions.max()), configs[0].max_words)
    looked_at = torch.arange(resident.m, device=device) < regions.to(device)[:, None, None]  # (J, 1, m)
    majority = majority_class(features.labels[split.train])
    train, val = torch.from_numpy(split.train), torch.from_numpy(split.val)
    begun = time.perf_counter()

    heads = []
    for config in configs:
        with seeded(config.seed, device):
            heads.append(make(config.head_config(features.dims)).to(device))
            heads[-1].begin(torch.from_numpy(features.labels[split.train]))
    stack = (StackedHead if by_flags(heads[0].config) else SideBySide)(heads, how.recurrence)
    logits_of = lowered(stack, how.precision, device)
    optimizer = adam(list(stack.parameters()), configs[0], device, capturable=how.graphs)
    objective = Objective(configs[0], features.labels[split.train], device)
    histories: list[list[dict[str, float]]] = [[] for _ in configs]
    selections = [Selection(config.patience) for config in configs]
    ended: set[int] = set()
    broken: dict[int, RunError] = {}

    def look_at(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (J, B, classes) and labels (J, B) of samples (J, B)."""
        batch = resident.batch(rows, packed=True)
        mask = batch.region_mask & looked_at if batch.region_mask is not None else None
        return logits_of(batch.regions, batch.tokens, batch.context, mask), batch.labels

    sums = torch.zeros(2, J, device=device)

    def step(logits: Tensor, labels: Tensor) -> None:
        """Learn from a batch of each, and add up its loss and hits."""
        losses = objective.side_by_side(logits, labels)
        if optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # no shared weight: each has its own gradient
            if configs[0].clip is not None:
                clip_side_by_side(list(stack.parameters()), configs[0].clip)
            optimizer.step()
        right = (logits.argmax(-1) == labels).sum(1)
        sums.add_(torch.stack([losses.detach() * labels.shape[1], right.to(losses.dtype)]))

    def orders() -> Iterator[Tensor]:
        """The samples (J, N) of each epoch, each in the order of its own seed."""
        shuffles = [torch.Generator().manual_seed(config.seed) for config in configs]
        for _ in range(configs[0].epochs):
            yield torch.stack([train[torch.randperm(len(train), generator=shuffle)] for shuffle in shuffles])

    static = None
    if how.graphs:
        to_come = (rows.T for order in orders() for rows in chunks(order.T, batch_size))
        static = GraphSteps(resident, logits_of, looked_at, step, to_come)
    batches = math.ceil(len(train) / batch_size)
    for epoch, order in enumerate(orders(), 1):
        epoch_begun = time.perf_counter()
        sums.zero_()
        with products(tf32=how.precision != "float32"):  # what autocast leaves in float32 needs no more
            for number, rows in enumerate(chunks(order.T, batch_size)):
                if optimizer is not None:
                    set_rate(optimizer, configs[0].lr_at(epoch, number, batches))
                if static is not None:
                    static(rows.T)
                else:
                    step(*look_at(rows.T))
            loss, accuracy = (sums.cpu().double() / len(train)).tolist()
            with torch.inference_mode():
                parts = [look_at(rows.expand(J, -1))[0] for rows in chunks(val, batch_size)]
                probabilities = torch.cat(parts, 1).cpu().double().softmax(-1).numpy()

        for j, config in enumerate(configs):
            if j in broken or j in ended:
                continue
            scores = score(features.labels[split.val], probabilities[j], majority)
            row = {
                "epoch": epoch,
                "lr": config.lr_at(epoch, batches - 1, batches),
                "train_loss": loss[j],
                "train_accuracy": accuracy[j],
                "val_loss": scores["loss"],
                "val_accuracy": scores["accuracy"],
                "val_weighted_f1": scores["weighted_f1"],
                "seconds": (time.perf_counter() - epoch_begun) / J,
            }
            where = f"in epoch {epoch} (learning rate {row['lr']:g})"
            try:
                check_finite(where, {"training": row["train_loss"], "validation": row["val_loss"]})
            except RunError as error:
                broken[j] = error
                continue
            histories[j].append(row)
            yield j, row
            if selections[j].better(epoch, scores["accuracy"], scores["loss"]):
                heads[j].load_state_dict(stack.state_of(j))  # on the device, where there is room for it already
            if selections[j].ends(epoch):
                ended.add(j)
        if len(ended) + len(broken) == J:
            break

    seconds = (time.perf_counter() - begun) / J
    results: list[Fit | RunError] = []
    for j, (config, head) in enumerate(zip(configs, heads, strict=True)):
        if j in broken:
            results.append(broken[j])
            continue
        own = resident.narrow(config.regions)  # the figures are those of the head alone, as they are computed again
        predicted = {part: predict(head, own, split.rows(part), batch_size) for part in evaluate}
        metrics = {part: score(features.labels[split.rows(part)], each, majority) for part, each in predicted.items()}
        try:
            check_finite(
                f"(epoch {selections[j].epoch} was kept)", {part: each["loss"] for part, each in metrics.items()}
            )
        except RunError as error:
            results.append(error)
            continue
        results.append(
            Fit(
                config,
                head.config,
                selections[j].epoch,
                histories[j],
                {name: value.detach().cpu().clone() for name, value in head.state_dict().items()},
                metrics,
                predicted,
                seconds,
                gru=how.recurrence,
                stacked=J,
                precision=how.precision,
            )
        )
    return results
