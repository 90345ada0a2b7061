"""The fused Adam of the CPU is PyTorch's, and training does not load what PyTorch's class would."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from itin.train.optimization.optimizers import FusedAdam, set_learning_rate


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_bit_by_bit_those_of_torch(decoupled: bool, decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(7, 5), (3,), (64, 33), ()]
    ours = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    theirs = [one.detach().clone().requires_grad_() for one in ours]
    made = FusedAdam(ours, 1e-2, decay, decoupled)
    plain = (torch.optim.AdamW if decoupled else torch.optim.Adam)(theirs, lr=1e-2, weight_decay=decay, fused=True)
    for number in range(30):
        if number == 10:
            set_learning_rate(made, 1e-3)
            set_learning_rate(plain, 1e-3)
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(one.shape, generator=generator)
            without = i == 1 and number % 3 == 0  # of a parameter that a batch does not use
            one.grad = other.grad = None if without else gradient
        made.step()
        plain.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)


def test_training_on_a_cpu_does_not_load_the_compiler_of_torch() -> None:
    code = (
        "import sys, torch; from itin.train.optimization.optimizers import FusedAdam; "
        "p = torch.ones(2, requires_grad=True); a = FusedAdam([p], 0.1); p.sum().backward(); a.step(); "
        "print(round(p[1].item(), 6), 'torch._dynamo' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "0.9 False\n"
