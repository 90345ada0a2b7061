"""The recipe of one training run. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from ..itin_head.config import HeadConfig
from ..itin_head.heads import HEADS
from ..labels import LABELS

BATCH_SIZE = 64
"""The paper's batch size for MVSA-Single, and ours for every data set that the paper does not name."""

BATCH_SIZES = {"mvsa-multiple": 128}
"""The data sets for which the paper takes another one."""

GRUS = ("auto", "compiled", "fused", "packed", "torch")
"""How the GRU may be computed: the quickest way, steps in C++ (on a CPU), in PyTorch with cells in Triton (on CUDA), in
PyTorch alone, or by `torch.nn.GRU`."""

PRECISIONS = ("float32", "tf32", "bfloat16")
"""Of matrix products: float32; float32 rounded to 10 bits for tensor cores; or to 7. Sums, states, weights and Adam
stay in float32."""

SCHEDULES = ("step", "cosine", "constant")
"""How the learning rate goes on: the paper's steps, half a cosine down to 0, or not at all."""

CLASS_WEIGHTS = ("none", "balanced")
"""Weights of the classes in the loss: all 1, or N / (classes * count) in the training part."""

_SEED_LIMIT = 2**32

DUPLICATES = ("exact", "stripped")
"""What counts as an equal text where duplicates are kept together: the same characters, or the same without retweet
prefixes and URLs. Images are equal byte for byte."""

REPEATS = ("seed", "split_seed", "fold")
"""The fields in which repetitions of one configuration differ."""


class View(NamedTuple):
    """Which of a data set's features a run is made of."""

    keep_special: bool
    """Words with [CLS] and [SEP]."""
    center_crop: bool
    """The context of the image's centre."""


@dataclass(frozen=True)
class TrainConfig:
    """The paper's recipe, Section IV; `epochs` and the seeds are ours, since it names none.

    Wrong values raise ValueError. The fields that `HeadConfig` has too are explained there.
    """

    head: str = HeadConfig.head
    """Which head, one of `itin_head.HEADS`."""

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

    normalize: bool = HeadConfig.normalize
    """Divide r_i, u_i and C by their L2 norms."""

    self_attention: bool = HeadConfig.self_attention
    """Let the rows of U attend to one another after eq. 7."""

    fusion_bias: bool = HeadConfig.fusion_bias
    """W_o with its bias b_o, eq. 10."""

    pooling_heads: int = HeadConfig.pooling_heads
    """Outputs of Tran_z, eq. 12."""

    gru_layers: int = HeadConfig.gru_layers
    """Layers of the GRU."""

    gru_dropout: float = HeadConfig.gru_dropout
    """Dropout between them."""

    context_gru: bool = HeadConfig.context_gru
    """A second GRU for S, eq. 15."""

    mask: bool = HeadConfig.mask
    """Padding takes part in nothing; without, texts are filled up to `max_words` with zero vectors."""

    max_words: int = HeadConfig.max_words
    """Words of a text that are read."""

    keep_special: bool = False
    """Keep [CLS] and [SEP] among the words; they are in the stores, and dropped by default."""

    center_crop: bool = False
    """Take V from the centre of the image (resized to 256, cropped to 224), not from all of it (resized to 224x224)."""

    lr: float = 1e-3
    """Learning rate of Adam in the first epochs."""

    schedule: str = "step"
    """`step`: divided every so many epochs, as in the paper; `cosine`: down to 0 at the end; `constant`."""

    warmup: int = 0
    """Epochs in which the learning rate rises to `lr`, batch by batch."""

    lr_step: int = 10
    """Epochs after which the schedule `step` changes the learning rate, again and again."""

    lr_gamma: float = 0.1
    """What it is multiplied by then."""

    weight_decay: float = 1e-5
    """Adam's weight decay, as an L2 term in the gradient."""

    clip: float | None = None
    """The most that the L2 norm of the whole gradient may be; None: any."""

    class_weights: str = "none"
    """`none`, or `balanced`: rare classes count as much as frequent ones."""

    label_smoothing: float = 0.0
    """The share of a sample's weight in the loss that is spread over all classes."""

    batch_size: int | None = None
    """Samples a batch; None takes the paper's for the data set: 128 for `mvsa-multiple`, else 64."""

    epochs: int = 30
    """Passes over the training part; the best of them on the validation part is kept."""

    patience: int | None = None
    """Early stopping: end after so many epochs without a better one; None: all epochs."""

    seed: int = 0
    """Fixes the initial weights and the order of the samples, and nothing else."""

    split_seed: int = 0
    """Fixes what is random in the protocol: the 8:1:1 split, the folds."""

    fold: int = 0
    """Which fold is the test part, from 0; of the protocol `folds:K` alone."""

    def __post_init__(self) -> None:
        for name, least in (("m", 0), ("lr_step", 1), ("epochs", 1), ("warmup", 0), ("fold", 0)):
            if not _is_int(value := getattr(self, name)) or value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
        for name in ("batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and (not _is_int(value) or value < 1):
                raise ValueError(f"{name}: expected an integer of at least 1 or None, got {value!r}")
        for name in ("seed", "split_seed"):
            if not _is_int(value := getattr(self, name)) or not 0 <= value < _SEED_LIMIT:
                raise ValueError(f"{name}: expected an integer from 0 to {_SEED_LIMIT - 1}, got {value!r}")
        for name in ("lr", "lr_gamma"):
            if not _is_number(value := getattr(self, name)) or value <= 0:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}")
        if self.clip is not None and (not _is_number(self.clip) or self.clip <= 0):
            raise ValueError(f"clip: expected a number above 0 or None, got {self.clip!r}")
        if not _is_number(self.weight_decay) or self.weight_decay < 0:
            raise ValueError(f"weight_decay: expected a number of at least 0, got {self.weight_decay!r}")
        if not _is_number(self.label_smoothing) or not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a number from 0 to below 1, got {self.label_smoothing!r}")
        for name, choices in (("schedule", SCHEDULES), ("class_weights", CLASS_WEIGHTS)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        for name in ("keep_special", "center_crop"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name}: expected True or False, got {value!r}")
        if self.warmup > self.epochs:
            raise ValueError(f"warmup: expected at most epochs = {self.epochs}, got {self.warmup}")
        if self.m == 0 and self.ablation == "no-context":
            raise ValueError(
                "m = 0 leaves no region and ablation no-context no context: expected one of them, got none"
            )
        HeadConfig(**{name: getattr(self, name) for name in _SHARED})
        if self.m == 0 and self.head != "itin" and "regions" in HEADS[self.head].inputs:
            raise ValueError(f"m: expected an integer of at least 1 for the head {self.head}, got 0")

    @property
    def effective_ablation(self) -> str:
        """The head's ablation: without regions there is only the context left."""
        return "only-context" if self.m == 0 and self.head == "itin" else self.ablation

    @property
    def inputs(self) -> frozenset[str]:
        """The kinds of feature that the head looks at."""
        return self.head_config({}).inputs

    @property
    def regions(self) -> int:
        """How many regions of an image the head looks at."""
        return self.m if "regions" in self.inputs else 0

    @property
    def view(self) -> View:
        """Which of the data set's features the run is made of."""
        return View(self.keep_special, self.center_crop)

    def head_config(self, dims: Mapping[str, int]) -> HeadConfig:
        """Return the head's configuration.

        Args:
            dims: `region_dim`, `token_dim` and `context_dim` of the features; what is left out keeps its default.
        """
        own: dict[str, Any] = {name: getattr(self, name) for name in _SHARED}
        own |= {"ablation": self.effective_ablation, "classes": len(LABELS), **dims}
        return HeadConfig(**own)

    def batch_for(self, dataset: str) -> int:
        """Return the batch size for a data set of this name."""
        return self.batch_size if self.batch_size is not None else BATCH_SIZES.get(dataset, BATCH_SIZE)

    def lr_at(self, epoch: int, batch: int = 0, batches: int = 1) -> float:
        """Return the learning rate of a batch; the first epoch is 1, its first batch 0."""
        done = epoch - 1 + batch / batches
        rising = min(1.0, (done + 1 / batches) / self.warmup) if self.warmup else 1.0
        if rising < 1 or self.schedule == "constant":
            return self.lr * rising
        if self.schedule == "cosine":
            share = (done - self.warmup) / (self.epochs - self.warmup) if self.epochs > self.warmup else 0.0
            return self.lr * (1 + math.cos(math.pi * max(share, 0.0))) / 2
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


_SHARED = tuple(
    field.name for field in fields(HeadConfig) if field.name in {field.name for field in fields(TrainConfig)}
)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
