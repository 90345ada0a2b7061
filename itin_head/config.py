"""The head's configuration. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .heads import HEADS

GATES = ("scalar", "vector")
"""Readings of eq. 8: one value a region, or one a region and dimension."""

ABLATIONS = ("none", "no-align", "no-gate", "no-context", "only-context")
"""The whole head, and the four rows of the paper's Table III."""

_SIZES = ("region_dim", "token_dim", "context_dim", "classes", "d", "k", "hidden")
_COUNTS = ("pooling_heads", "gru_layers", "max_words")
_FLAGS = ("normalize", "self_attention", "fusion_bias", "context_gru", "mask")


@dataclass(frozen=True)
class HeadConfig:
    """Sizes and readings of one head. The defaults are the paper's equations; `train.presets` names other readings.

    Wrong values raise ValueError, and so do values of what the head has not.
    """

    head: str = "itin"
    """Which head, one of `heads.HEADS`."""

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

    normalize: bool = False
    """Whether r_i, u_i and C are divided by their L2 norms, as in the authors' demo."""

    self_attention: bool = False
    """Whether the rows of U attend to one another between eqs. 7 and 8, with projections of their own (the demo)."""

    fusion_bias: bool = True
    """Whether W_o has its bias b_o (eq. 10); the demo has none."""

    pooling_heads: int = 1
    """Outputs of Tran_z (eq. 12): each weighs the regions, and the weights are averaged (the demo has 4)."""

    gru_layers: int = 1
    """Layers of the GRU (eqs. 2-3); a further one reads both directions of the one below (the demo has 2)."""

    gru_dropout: float = 0.0
    """Dropout between these layers, in training (the demo: 0.25)."""

    context_gru: bool = False
    """Whether S (eq. 15) comes from a second GRU of the same form (the demo)."""

    mask: bool = True
    """Whether padding takes part in nothing. Without, each text is filled up with zero vectors to `max_words`, and they
    are read as words (the demo; there they are what BERT makes of [PAD])."""

    max_words: int = 100
    """Words of a text that are read."""

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head: expected one of {', '.join(HEADS)}, got {self.head!r}")
        for name in (*_SIZES, *_COUNTS):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        for name in _FLAGS:
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name}: expected True or False, got {value!r}")
        if (
            isinstance(self.gru_dropout, bool)
            or not isinstance(self.gru_dropout, (int, float))
            or not 0 <= self.gru_dropout < 1
        ):
            raise ValueError(f"gru_dropout: expected a number from 0 to below 1, got {self.gru_dropout!r}")
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
        if self.ablation != "none" and "ablation" not in HEADS[self.head].settings:
            raise ValueError(f"ablation: expected none, for the head {self.head} has no ablations; got {self.ablation}")

    @property
    def inputs(self) -> frozenset[str]:
        """The kinds of feature that the head looks at."""
        without = {"only-context": {"regions"}, "no-context": {"context"}}.get(self.ablation, set())
        return frozenset(HEADS[self.head].inputs) - without

    @property
    def reads(self) -> frozenset[str]:
        """The kinds of feature whose values make a difference to it."""
        return self.inputs if HEADS[self.head].settings else frozenset()

    @property
    def settings(self) -> frozenset[str]:
        """The fields that make a difference to it; the others may have any value."""
        read = set(HEADS[self.head].settings)
        if self.ablation == "only-context":
            read -= {"k", "gate", "normalize", "self_attention", "fusion_bias", "pooling_heads"}
        elif self.ablation == "no-align":
            read -= set() if self.self_attention else {"k"}
        elif self.ablation == "no-gate":
            read -= {"gate"}
        elif self.ablation == "no-context":
            read -= {"lam", "context_gru"}
        if self.gru_layers == 1:
            read -= {"gru_dropout"}
        return frozenset(read)
