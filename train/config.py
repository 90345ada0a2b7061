"""The recipe of one training run. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

from ..fields import option
from ..itin_head.config import HeadConfig, HeadOptions
from ..itin_head.registry import HEADS
from ..targets import LABEL, SIDES, Target
from .lexicons.registry import BY_DEFAULT, count_of, parse_names

BATCH_SIZE = 64
"""The paper's batch size for MVSA-Single, and ours for every data set that the paper does not name."""

BATCH_SIZES = {"mvsa-multiple": 128}
"""The batch sizes of data sets for which the paper uses another one."""

PRECISIONS = ("float32", "tf32", "bfloat16")
"""Precisions of matrix products: float32; float32 rounded to 10 bits for tensor cores; or to 7. Sums, states, weights
and Adam stay in float32."""

SCHEDULES = ("step", "cosine", "constant")
"""Schedules of the learning rate: the paper's steps, half a cosine down to 0, or constant."""

OPTIMIZERS = ("adam", "adamw", "rmsprop")
"""Optimisers: Adam, AdamW with decoupled weight decay, or RMSprop with the constants of Keras (0.9 and 1e-8)."""

CLASS_WEIGHTS = ("none", "balanced")
"""Weights of the classes in the loss: all 1, or N / (classes * count) in the training part."""

LOSSES = ("mse", "huber", "ccc")
"""Losses of a number: the squared error; Huber's, quadratic up to a tenth of the span and linear beyond; or one minus
the concordance correlation of a batch."""

LABEL_FROM = ("joint", "rule", "mean")
"""Where the label comes from: its own output, the label rule over the own labels of text and image, or the mean of the
two."""

SELECTS = {
    "accuracy": 1,
    "weighted_f1": 1,
    "macro_f1": 1,
    "loss": -1,
    "mae": -1,
    "rmse": -1,
    "pearson": 1,
    "spearman": 1,
    "ccc": 1,
}
"""The scores of the validation part that an epoch, a sweep or a search can select by: 1 where more is better."""

CLASS_SCORES = ("accuracy", "weighted_f1", "macro_f1", "loss")
NUMBER_SCORES = ("loss", "mae", "rmse", "pearson", "spearman", "ccc")
"""The scores of each type of target that can be selected by, the default first."""

SCORE_TITLES = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "loss": "loss",
    "mae": "MAE",
    "rmse": "RMSE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "ccc": "CCC",
}
"""The names of the scores for people."""

STEPS = (
    *("lr", "schedule", "warmup", "lr_step", "lr_gamma", "weight_decay", "clip", "label_smoothing", "batch_size"),
    *("epochs", "patience", "target_weights", "optimizer", "ema", "mixup", "ensemble"),
)
"""The fields that a head which is solved for at once does not read: they say how steps are taken."""

PARTNERS = ("none", "linear")
"""What may stand beside trained heads: nothing, or a head that is solved for at once."""

_LAST_SEED = 2**32 - 1

DUPLICATES = ("exact", "stripped")
"""Rules for equal texts where duplicates are kept together: the same characters, or the same without retweet prefixes
and URLs. Images are equal byte for byte."""

REPEATS = ("seed", "split_seed", "fold")
"""The fields in which repetitions of one configuration differ."""

PARTED = ("split_seed", "fold", "train_share")
"""The fields that decide the parts and nothing else."""


class View(NamedTuple):
    """The choice among a data set's features that a run is trained on."""

    keep_special: bool
    """Whether the words include [CLS] and [SEP]."""
    center_crop: bool
    """Whether the context is of the image's centre."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(HeadOptions):
    """The paper's recipe, Section IV; `epochs` and the seeds are ours, since it names none.

    Wrong values raise ValueError.
    """

    m: int = option(2, least=0)
    """Regions of an image, the first m by score; 0 leaves the context alone, as the ablation only-context does."""
    keep_special: bool = option(False, switch=True)
    """Keep [CLS] and [SEP] among the words; stores hold them, and they are dropped by default."""
    center_crop: bool = option(False, switch=True)
    """Take V from the centre of the image (resized to 256, cropped to 224), not from all of it (resized to 224x224)."""
    lexicons: str = option("", metavar="NAME[+NAME]")
    """Polarity lexicons that heads read beside the words: vader, afinn, pattern, hashtags and shape, joined by +; or
    none. The head lexicon always reads vader. A comma joins them too, but in a sweep it separates values."""
    target: str = option(LABEL, metavar="NAME[+NAME...]", group="What is learnt")
    """What is learnt: a target of the data set, or several joined by +. Scores and selection go by the
    first."""
    target_weights: str | None = option(None, metavar="W+W...")
    """The weights of the targets' losses, joined by + in the same order; by default 1 each."""
    loss: str = option("mse", choices=LOSSES)
    """The loss of targets that are numbers: the squared error, Huber's or 1 - CCC. Classes have cross-entropy."""
    label_from: str = option("joint", choices=LABEL_FROM)
    """Where the label comes from with --target label+text-label+image-label. joint: its own output; rule: the label
    rule over the text's and the image's; mean: the mean of both. The scores of all three are kept."""
    select: str | None = option(None, choices=SELECTS, metavar="SCORE")
    """The validation score that selects the epoch, and the best of a sweep or search; by default accuracy, for a number
    the loss. Ties go to the lower validation loss."""
    lr: float = option(1e-3, above=0, group="The recipe")
    """Learning rate in the first epochs."""
    optimizer: str = option("adam", choices=OPTIMIZERS)
    """The optimiser: Adam, as in the paper, AdamW or RMSprop."""
    schedule: str = option("step", choices=SCHEDULES)
    """How the learning rate changes. step: multiplied every --lr-step epochs, as in the paper; cosine: down to 0 at the
    end; constant: not at all."""
    warmup: int = option(0, least=0)
    """Epochs in which the learning rate rises to its first value, batch by batch."""
    lr_step: int = option(10, least=1)
    """With the schedule step: epochs between two changes of the learning rate."""
    lr_gamma: float = option(0.1, above=0)
    """With the schedule step: the factor of each change."""
    weight_decay: float = option(1e-5, least=0)
    """Weight decay: an L2 term in the gradient; with adamw, each step shrinks the weights by this times the rate."""
    clip: float | None = option(None, above=0)
    """The largest L2 norm of the whole gradient; a longer one is scaled down to it. By default none is."""
    ema: float = option(0.0, least=0, below=1)
    """Decay of a moving average of the weights, which is validated and kept in their place; at most
    (1 + steps) / (10 + steps). 0 for none."""
    class_weights: str = option("none", choices=CLASS_WEIGHTS)
    """Weights of the classes in the loss. balanced: rare classes count as much as frequent ones."""
    label_smoothing: float = option(0.0, least=0, below=1)
    """The share of a sample's weight in the loss that is spread over all classes."""
    mixup: float = option(0.0, least=0)
    """Mix the fused vectors of two pairs of a batch, and their losses, by a share from Beta(mixup, mixup)."""
    logistic_c: float | None = option(None, above=0)
    """C of the heads linear and lexicon, as in scikit-learn: the larger, the larger the weights may be; by default 0.1,
    0.3, 1, 3, 10, as long as the validation loss falls."""
    batch_size: int | None = option(None, least=1)
    """Samples a batch; by default the paper's for the data set: 128 for mvsa-multiple, else 64."""
    epochs: int = option(30, least=1)
    """Passes over the training part; the best of them on the validation part is kept."""
    patience: int | None = option(None, least=1)
    """Stop after N epochs without improvement; by default never."""
    seed: int = option(0, least=0, most=_LAST_SEED)
    """Fixes the initial weights, the order of the samples, and what is drawn in training; nothing else."""
    ensemble: int = option(1, least=1)
    """Heads that are trained side by side, with seeds from --seed on; their mean probabilities (mean numbers) are what
    is validated, kept and predicted."""
    partner: str = option("none", choices=PARTNERS)
    """A head that is solved for on the same pairs and stands beside the trained ones: what is validated, kept and
    predicted is the mean of both. A head that reads no text, or is solved for itself, never has one."""
    split_seed: int = option(0, least=0, most=_LAST_SEED, group="Data and split")
    """Fixes what is random in the protocol: the 8:1:1 split, the folds, a share of the training part, inner folds."""
    fold: int = option(0, least=0)
    """Which fold is the test part, from 0; of --protocol folds:K alone."""
    train_share: float = option(1.0, above=0, most=1)
    """The share of the training part to train on, of every class alike, drawn by --split-seed; a smaller share is part
    of a larger one. Several shares give a learning curve."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lexicons = (BY_DEFAULT if HEADS[self.head].by_lexicon else ()) + parse_names(self.lexicons)
        object.__setattr__(self, "lexicons", "+".join(parse_names("+".join(lexicons))))
        if not all(self.targets) or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"target: expected names joined by +, each once, got {self.target!r}")
        if self.label_from != "joint" and not {LABEL, *SIDES} <= set(self.targets):
            raise ValueError(
                f"label_from: expected joint without the targets label, text-label and image-label, got "
                f"{self.label_from} with {self.target}"
            )
        if len(self.weights) != len(self.targets):
            raise ValueError(
                f"target_weights: expected {len(self.targets)} numbers joined by +, one for each of {self.target}, got "
                f"{self.target_weights!r}"
            )
        if self.warmup > self.epochs:
            raise ValueError(f"warmup: expected at most epochs = {self.epochs}, got {self.warmup}")
        if self.m == 0 and self.ablation == "no-context":
            raise ValueError("m: 0 leaves no region, and the ablation no-context no context: leave one of them out")
        if self.m == 0 and self.head != "itin" and "regions" in HEADS[self.head].inputs:
            raise ValueError(f"m: expected an integer of at least 1 for the head {self.head}, got 0")
        _ = self.beside  # its own checks

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets, the one that is scored first."""
        return tuple(name.strip() for name in self.target.split("+"))

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each target's loss; raise ValueError for one that is no positive number."""
        if self.target_weights is None:
            return (1.0,) * len(self.targets)
        try:
            weights = tuple(float(weight) for weight in self.target_weights.split("+"))
        except ValueError:
            weights = ()
        if not weights or not all(0 < weight < math.inf for weight in weights):
            raise ValueError(
                f"target_weights: expected numbers above 0 joined by +, such as 1+0.5, got {self.target_weights!r}"
            )
        return weights

    @property
    def members(self) -> tuple[TrainConfig, ...]:
        """The recipe of each head of the ensemble; itself alone where there is none."""
        if self.ensemble == 1 or HEADS[self.head].solved:
            return (self,)
        return tuple(replace(self, ensemble=1, seed=(self.seed + k) % (_LAST_SEED + 1)) for k in range(self.ensemble))

    @property
    def beside(self) -> TrainConfig | None:
        """The recipe of the partner; None without one."""
        if self.partner == "none" or HEADS[self.head].solved or "tokens" not in HEADS[self.head].inputs:
            return None
        return replace(self, head=self.partner, partner="none", ablation="none", ensemble=1)

    @property
    def effective_ablation(self) -> str:
        """The head's ablation: without regions, only the context is left."""
        return "only-context" if self.m == 0 and self.head == "itin" else self.ablation

    @property
    def inputs(self) -> frozenset[str]:
        """The kinds of feature that the head and its partner take as input."""
        return frozenset().union(*(head.inputs for head in self.head_configs()))

    @property
    def optional(self) -> frozenset[str]:
        """The kinds of feature that the head reads too if they are there."""
        return self.head_config({}).optional

    @property
    def lexicon_names(self) -> tuple[str, ...]:
        """The lexicons whose values the head reads; none for a head that reads no text."""
        return parse_names(self.lexicons) if self.head_config({}).reads_text else ()

    @property
    def regions(self) -> int:
        """The number of regions of an image that the head uses."""
        return self.m if "regions" in self.inputs else 0

    @property
    def averages(self) -> bool:
        """Whether head and partner read of a text's words their mean alone."""
        return all(head.averages for head in self.head_configs())

    @property
    def view(self) -> View:
        """The choice among the data set's features that the run is trained on."""
        return View(self.keep_special, self.center_crop)

    def head_config(self, dims: Mapping[str, int]) -> HeadConfig:
        """Return the head's configuration.

        Args:
            dims: `region_dim`, `token_dim`, `context_dim` and `scene_dim` of the features, `classes`, the number of
                outputs, and `entries` of a learned table; what is left out keeps its default.
        """
        own: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(HeadOptions)}
        own |= {"ablation": self.effective_ablation, "lexicon_values": count_of(parse_names(self.lexicons)), **dims}
        return HeadConfig(**own)

    def head_configs(self, dims: Mapping[str, int] | None = None) -> list[HeadConfig]:
        """Return the configurations of the head and of its partner, if it has one; `dims` as for `head_config`."""
        return [recipe.head_config(dims or {}) for recipe in (self, self.beside) if recipe is not None]

    def reads_of(self, dims: Mapping[str, int]) -> frozenset[str]:
        """Return the kinds of feature whose values affect what the head or its partner says."""
        return frozenset().union(*(head.reads for head in self.head_configs(dims)))

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
        return {"head": self.head, "m": self.m, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of a dictionary from `to_dict`; fields that are left out keep their defaults.

        Raises:
            ValueError: a name that is no field, or a wrong value.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        return cls(**values)


INTEGERS_OR_NONE = tuple(one.name for one in fields(TrainConfig) if one.type == "int | None")
"""The fields that are whole numbers or absent, which a table must not make floats of."""


def scores_of(target: Target) -> tuple[str, ...]:
    """Return the names of the scores of a target, its default for selecting first."""
    return NUMBER_SCORES if target.is_number else CLASS_SCORES


def shown_scores(is_number: bool) -> tuple[str, str]:
    """Return the two scores of a target that are shown where there is room for two."""
    return ("mae", "pearson") if is_number else ("accuracy", "weighted_f1")


def select_of(config: TrainConfig, target: Target) -> str:
    """Return the score that a recipe selects by.

    Args:
        config: the recipe.
        target: the first of its targets.

    Raises:
        ValueError: the target does not have the recipe's score.
    """
    there = scores_of(target)
    select = config.select or there[0]
    if select not in there:
        raise ValueError(f"select: expected one of {', '.join(there)} for the target {target.name}, got {select!r}")
    return select
