"""Training and prediction on resident features: one run, from the first epoch to the scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RunError
from ..itin_head import Head, HeadConfig, make
from ..precision import products
from .config import TrainConfig
from .data import Features, Resident
from .metrics import majority_class, score
from .objective import Objective, Selection
from .recurrence import choose, operations
from .splits import Split


@dataclass(frozen=True, eq=False)
class Fit:
    """What came out of one training run."""

    config: TrainConfig
    """The recipe, with the batch size filled in."""
    head: HeadConfig
    """The configuration of the head that was trained."""
    best_epoch: int
    """The epoch that was kept, counted from 1."""
    history: list[dict[str, float]]
    """One row an epoch: epoch, lr, train_loss, train_accuracy, val_loss, val_accuracy, val_weighted_f1, seconds."""
    state_dict: dict[str, Tensor]
    """The head's parameters after the best epoch, on the CPU."""
    metrics: dict[str, dict[str, Any]]
    """`score` of each part that was asked for."""
    probabilities: dict[str, NDArray[np.float64]]
    """(rows of the part, classes) for each of these parts, in the order of the split's rows."""
    seconds: float
    """Wall time of all epochs; of configurations side by side, a run's share."""
    gru: str = "packed"
    """How the GRU was computed."""
    stacked: int = 1
    """How many configurations were trained side by side."""
    precision: str = "float32"
    """Of matrix products while it was trained, one of `config.PRECISIONS`."""


def fit(
    config: TrainConfig,
    features: Features,
    split: Split,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    evaluate: Sequence[str] = ("val", "test"),
    gru: str = "auto",
) -> Fit:
    """Train a head and keep its best epoch.

    The same configuration, features and split on the same machine give the same numbers. Torch's global random state is
    the same afterwards as before.

    Args:
        config: the recipe.
        features: with at least as many regions an image as the recipe looks at.
        split: of these features.
        device: where to train.
        on_epoch: called with the history's newest row after each epoch.
        evaluate: the parts to score at the end, once, with the epoch that was kept.
        gru: how to compute the GRU, one of `config.GRUS`.

    Raises:
        ValueError: the features have fewer regions than the recipe looks at, or a wrong `gru`.
        RunError: the loss is no finite number any more.
    """
    device = torch.device(device)
    batch_size = config.batch_for(features.dataset)
    config = replace(config, batch_size=batch_size)
    recurrence = choose(gru, device, work_of(config, features, split))
    resident = Resident(features, device, config.regions, config.max_words)
    train = torch.from_numpy(split.train)
    majority = majority_class(features.labels[split.train])
    history: list[dict[str, float]] = []
    selection = Selection(config.patience)
    best_state: dict[str, Tensor] = {}
    labels = features.labels[split.train]
    objective = Objective(config, labels, device)
    begun = time.perf_counter()

    with seeded(config.seed, device):
        head = make(config.head_config(features.dims), recurrence).to(device)  # on the CPU: the same on every device
        head.begin(torch.from_numpy(labels))
        optimizer = adam(list(head.parameters()), config, device)
        shuffle = torch.Generator().manual_seed(config.seed)
        for epoch in range(1, config.epochs + 1):
            epoch_begun = time.perf_counter()
            batches = math.ceil(len(train) / batch_size)
            order = train[torch.randperm(len(train), generator=shuffle)]
            loss, accuracy = train_epoch(head, optimizer, objective, resident, order, config, batch_size, epoch)
            val = score(features.labels[split.val], predict(head, resident, split.val, batch_size), majority)
            row = {
                "epoch": epoch,
                "lr": config.lr_at(epoch, batches - 1, batches),
                "train_loss": loss,
                "train_accuracy": accuracy,
                "val_loss": val["loss"],
                "val_accuracy": val["accuracy"],
                "val_weighted_f1": val["weighted_f1"],
                "seconds": time.perf_counter() - epoch_begun,
            }
            where = f"in epoch {epoch} (learning rate {row['lr']:g})"
            check_finite(where, {"training": row["train_loss"], "validation": row["val_loss"]})
            history.append(row)
            if on_epoch is not None:
                on_epoch(row)
            if selection.better(epoch, val["accuracy"], val["loss"]):
                best_state = {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
            if selection.ends(epoch):
                break

    seconds = time.perf_counter() - begun
    head.load_state_dict(best_state)
    probabilities = {part: predict(head, resident, split.rows(part), batch_size) for part in evaluate}
    metrics = {
        part: score(features.labels[split.rows(part)], values, majority) for part, values in probabilities.items()
    }
    check_finite(f"(epoch {selection.epoch} was kept)", {part: scores["loss"] for part, scores in metrics.items()})
    return Fit(config, head.config, selection.epoch, history, best_state, metrics, probabilities, seconds, recurrence)


def work_of(config: TrainConfig, features: Features, split: Split) -> float:
    """Return the floating-point operations of the GRU in a run."""
    words = int(np.diff(features.offsets)[split.train].sum())
    return operations(config, words, features.tokens.shape[1])


def adam(
    parameters: Sequence[Tensor], config: TrainConfig, device: torch.device, capturable: bool = False
) -> torch.optim.Optimizer | None:
    """Return the recipe's optimiser, or None for a head that has nothing to learn.

    Args:
        parameters: what is learned.
        config: the recipe.
        device: where they are.
        capturable: its steps can be captured in a CUDA graph, where it is on such a device: the learning rate is a
            tensor there.
    """
    if not parameters:
        return None
    fused = device.type in ("cpu", "cuda")  # the same formula in one kernel: 4.4 times as fast on two cores
    captured = capturable and device.type == "cuda"
    rate = torch.tensor(config.lr, device=device) if captured else config.lr
    return torch.optim.Adam(parameters, lr=rate, weight_decay=config.weight_decay, fused=fused, capturable=captured)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # where a captured step reads it
        else:
            group["lr"] = rate


@products()
def train_epoch(
    head: Head,
    optimizer: torch.optim.Optimizer | None,
    objective: Objective,
    resident: Resident,
    order: Tensor,
    config: TrainConfig,
    batch_size: int,
    epoch: int,
) -> tuple[float, float]:
    """One pass over the samples in this order; their mean loss and accuracy as they were met."""
    head.train()
    sums = []  # stay on the device: no waiting for it within an epoch
    batches = list(chunks(order, batch_size))
    for number, rows in enumerate(batches):
        batch = resident.batch(rows, packed=True)
        logits = head(*batch[:5]).logits
        loss = objective(logits, batch.labels)
        if optimizer is not None:
            set_rate(optimizer, config.lr_at(epoch, number, len(batches)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if config.clip is not None:
                torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip)
            optimizer.step()
        right = (logits.argmax(1) == batch.labels).sum().to(loss.dtype)
        sums.append(torch.stack([loss.detach() * len(rows), right]))
    total_loss, total_right = torch.stack(sums).cpu().double().sum(0).tolist()
    return total_loss / len(order), total_right / len(order)


@products()
def predict(head: Head, resident: Resident, rows: NDArray[np.int64], batch_size: int) -> NDArray[np.float64]:
    """Return the class probabilities (len(rows), classes) of some samples, in their order."""
    head.eval()
    with torch.inference_mode():
        batches = (resident.batch(some, packed=True) for some in chunks(torch.from_numpy(rows), batch_size))
        logits = [head(*batch[:5]).logits for batch in batches]
        values: NDArray[np.float64] = torch.cat(logits).cpu().double().softmax(1).numpy()
    return values


def chunks(rows: Tensor, size: int) -> Iterator[Tensor]:
    """Yield so many rows after so many."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def check_finite(where: str, losses: dict[str, float]) -> None:
    """Raise RunError for a loss that is no finite number."""
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise RunError(
                f"training broke down {where}",
                expected="a finite loss",
                found=f"{name} loss = {loss}",
                next_step="lower the learning rate (--lr), or check the features for values that are not finite",
            )


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of this device, and give them their old state back in the end."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
