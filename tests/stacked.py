"""What tests of heads side by side share."""

from __future__ import annotations

from torch import Tensor

from itin.itin_head import HEADS
from itin.itin_head.side_by_side import SideBySide
from itin.train.config import TrainConfig

BASE = TrainConfig(m=2, d=16, k=8, hidden=8, batch_size=16, epochs=3, lr=5e-3)
TABLE_2 = [{"head": head} for head, spec in HEADS.items() if (spec.inferred or spec.stand_ins) and not spec.solved]


def gradient_of(stack: SideBySide, name: str, j: int) -> Tensor:
    """Head j's gradient of a parameter, by the head's name of it: both directions of a GRU's are one of the stack."""
    both = name.startswith("gru")
    forward = name.removesuffix("_reverse") if both else name
    gradient = stack.get_parameter(forward.replace(".", "/")).grad
    assert gradient is not None
    return gradient[j, int(forward != name)] if both else gradient[j]
