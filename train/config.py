"""The recipe of one training run. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..itin_head.config import HeadConfig
from ..labels import LABELS

BATCH_SIZE = 64
"""The paper's batch size for MVSA-Single, and ours for every data set that the paper does not name."""

BATCH_SIZES = {"mvsa-multiple": 128}
"""The data sets for which the paper takes another one."""

GRUS = ("auto", "compiled", "packed", "torch")
"""How the GRU may be computed: the quickest way, steps in C++, steps in PyTorch, or `torch.nn.GRU`."""

_SEED_LIMIT = 2**32


@dataclass(frozen=True)
class TrainConfig:
    """The paper's recipe, Section IV; `epochs`, `seed` and `split_seed` are ours, since it names none.

    Wrong values raise ValueError.
    """

    m: int = 2
    """Regions of an image, the first m by score; 0 leaves no region and builds `only-context`."""

    lam: float = HeadConfig.lam
    """λ of eq. 18, from 0 (text alone beside the interaction) to 1 (visual context alone)."""

    gate: str = HeadConfig.gate
    """Reading of eq. 8: `scalar` or `vector`."""

    ablation: str = HeadConfig.ablation
    """What is left out: `none`, `no-align`, `no-gate`, `no-context` or `only-context`."""

    d: int = HeadConfig.d
    """Hidden size."""

    k: int = HeadConfig.k
    """Size of the projections in eq. 5."""

    hidden: int = HeadConfig.hidden
    """Size of the fused representation, eqs. 16-18."""

    lr: float = 1e-3
    """Learning rate of Adam in the first epochs."""

    lr_step: int = 10
    """Epochs after which the learning rate changes, again and again."""

    lr_gamma: float = 0.1
    """What the learning rate is multiplied by then."""

    weight_decay: float = 1e-5
    """Adam's weight decay, as an L2 term in the gradient."""

    batch_size: int | None = None
    """Samples a batch; None takes the paper's for the data set: 128 for `mvsa-multiple`, else 64."""

    epochs: int = 30
    """Passes over the training part; the best of them on the validation part is kept."""

    seed: int = 0
    """Fixes the initial weights and the order of the samples, and nothing else."""

    split_seed: int = 0
    """Fixes the random 8:1:1 split."""

    keep_special: bool = False
    """Keep [CLS] and [SEP] among the words; they are in the stores, and dropped by default."""

    def __post_init__(self) -> None:
        for name, least in (("m", 0), ("lr_step", 1), ("epochs", 1)):
            if not _is_int(value := getattr(self, name)) or value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
        if self.batch_size is not None and (not _is_int(self.batch_size) or self.batch_size < 1):
            raise ValueError(f"batch_size: expected an integer of at least 1 or None, got {self.batch_size!r}")
        for name in ("seed", "split_seed"):
            if not _is_int(value := getattr(self, name)) or not 0 <= value < _SEED_LIMIT:
                raise ValueError(f"{name}: expected an integer from 0 to {_SEED_LIMIT - 1}, got {value!r}")
        for name in ("lr", "lr_gamma"):
            if not _is_number(value := getattr(self, name)) or value <= 0:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}")
        if not _is_number(self.weight_decay) or self.weight_decay < 0:
            raise ValueError(f"weight_decay: expected a number of at least 0, got {self.weight_decay!r}")
        if not isinstance(self.keep_special, bool):
            raise ValueError(f"keep_special: expected True or False, got {self.keep_special!r}")
        if self.m == 0 and self.ablation == "no-context":
            raise ValueError(
                "m = 0 leaves no region and ablation no-context no context: expected one of them, got none"
            )
        replace(self.head({}), ablation=self.ablation)  # checks the fields that it shares with HeadConfig

    @property
    def effective_ablation(self) -> str:
        """The head's ablation: without regions there is only the context left."""
        return "only-context" if self.m == 0 else self.ablation

    @property
    def regions(self) -> int:
        """How many regions of an image the head looks at."""
        return 0 if self.effective_ablation == "only-context" else self.m

    def head(self, dims: Mapping[str, int]) -> HeadConfig:
        """Return the head's configuration.

        Args:
            dims: `region_dim`, `token_dim` and `context_dim` of the features; what is left out keeps its default.
        """
        return HeadConfig(
            **dims,
            classes=len(LABELS),
            d=self.d,
            k=self.k,
            hidden=self.hidden,
            lam=self.lam,
            gate=self.gate,
            ablation=self.effective_ablation,
        )

    def batch_for(self, dataset: str) -> int:
        """Return the batch size for a data set of this name."""
        return self.batch_size if self.batch_size is not None else BATCH_SIZES.get(dataset, BATCH_SIZE)

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch; the first epoch is 1."""
        return self.lr * self.lr_gamma ** ((epoch - 1) // self.lr_step)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as they stand in `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration that `to_dict` gave; fields that are left out keep their defaults.

        Raises:
            ValueError: a name that is no field, or a wrong value.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        return cls(**values)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
