"""The head's configuration. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

GATES = ("scalar", "vector")
"""Readings of eq. 8: one value a region, or one a region and dimension."""

ABLATIONS = ("none", "no-align", "no-gate", "no-context", "only-context")
"""The whole head, and the four rows of the paper's Table III."""

_SIZES = ("region_dim", "token_dim", "context_dim", "classes", "d", "k", "hidden")


@dataclass(frozen=True)
class HeadConfig:
    """Sizes and readings of one `ITINHead`. Wrong values raise ValueError."""

    region_dim: int = 2048
    """Length of a region feature f_i."""

    token_dim: int = 768
    """Length of a word feature x_i."""

    context_dim: int = 512
    """Length of the visual context V."""

    classes: int = 3
    """Number of classes, the rows of W_f."""

    d: int = 1024
    """Length of r_i, w_i and all that is made from them."""

    k: int = 1024
    """Length of the projections in eq. 5; its root scales the softmax of eq. 6."""

    hidden: int = 64
    """Length of F1, F2 and F (eqs. 16-18)."""

    lam: float = 0.2
    """λ of eq. 18, the share of the visual context: F = λ F1 + (1 - λ) F2."""

    gate: str = "scalar"
    """Eq. 8 read as the sigmoid of the inner product r_i · u_i (`scalar`) or of r_i * u_i elementwise (`vector`)."""

    ablation: str = "none"
    """What is left out. `no-align`: u_i is the plain mean of the words; `no-gate`: g = 1; `no-context`: F = MLP(C);
    `only-context`: F1 = MLP(V), F2 = MLP(S), no regions."""

    def __post_init__(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if (
            isinstance(self.lam, bool)
            or not isinstance(self.lam, (int, float))
            or not (math.isfinite(self.lam) and 0 <= self.lam <= 1)
        ):
            raise ValueError(f"lam: expected a number from 0 to 1, got {self.lam!r}")
        if self.gate not in GATES:
            raise ValueError(f"gate: expected one of {', '.join(GATES)}, got {self.gate!r}")
        if self.ablation not in ABLATIONS:
            raise ValueError(f"ablation: expected one of {', '.join(ABLATIONS)}, got {self.ablation!r}")
