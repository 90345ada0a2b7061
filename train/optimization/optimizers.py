"""The optimisers of a recipe, and their learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..config import TrainConfig

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Optimizer(Protocol):
    """What training needs of an optimiser; `torch.optim.Optimizer` is one."""

    param_groups: list[dict[str, Any]]

    def step(self) -> Any:
        """Update the parameters by their gradients."""


def optimizer(
    parameters: Sequence[Tensor], config: TrainConfig, device: torch.device, capturable: bool = False
) -> Optimizer | None:
    """Return the recipe's optimiser, or None for a head without parameters.

    Args:
        parameters: the parameters to learn.
        config: the recipe.
        device: where they are.
        capturable: whether its steps can be captured in a CUDA graph, on a CUDA device, where the learning rate is a
            tensor.
    """
    if not parameters:
        return None
    captured = capturable and device.type == "cuda"
    rate = torch.tensor(config.lr, device=device) if captured else config.lr
    decay = config.weight_decay
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, 0.9, EPSILON, weight_decay=decay, capturable=captured)
    if device.type == "cpu":
        return FusedAdam(parameters, config.lr, decay, decoupled=config.optimizer == "adamw")
    made = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    fused = device.type == "cuda"
    return made(parameters, lr=rate, betas=BETAS, weight_decay=decay, fused=fused, capturable=captured)


def set_learning_rate(of: Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in of.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # where a captured step reads it
        else:
            group["lr"] = rate


class FusedAdam:
    """Adam or AdamW on a CPU by PyTorch's own fused step, bit by bit as `torch.optim.Adam(fused=True)`.

    That class imports `torch._dynamo` when it is made, and so SymPy and half of PyTorch: 1.1 s of each process that
    trains. One kernel for all parameters is 4.4 times as fast as a few for each on two cores.

    Args:
        parameters: the parameters to learn; those without a gradient are left alone in a step.
        lr: the learning rate.
        weight_decay: added to the gradients, or
        decoupled: AdamW's, taken from the weights.
    """

    def __init__(
        self, parameters: Sequence[Tensor], lr: float, weight_decay: float = 0.0, decoupled: bool = False
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        self._weight_decay, self._decoupled = weight_decay, decoupled
        self._states: dict[Tensor, tuple[Tensor, Tensor, Tensor]] = {}
        """Means of the gradients and of their squares, and the number of steps, of each parameter."""

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by their gradients."""
        from torch.optim.adam import adam
        from torch.optim.adamw import adamw

        learnt = [one for one in self.param_groups[0]["params"] if one.grad is not None]
        for one in learnt:
            if one not in self._states:
                self._states[one] = torch.zeros_like(one), torch.zeros_like(one), torch.zeros(())
        means, squares, steps = ([self._states[one][i] for one in learnt] for i in range(3))
        (adamw if self._decoupled else adam)(
            learnt,
            [one.grad for one in learnt if one.grad is not None],
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.param_groups[0]["lr"],
            weight_decay=self._weight_decay,
            eps=EPSILON,
            maximize=False,
        )
