"""Readings and recipes by name, and names for configurations. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..fields import kind_of, option
from ..itin_head.registry import HEADS
from ..labels import listed
from ..targets import LABEL
from .config import TrainConfig
from .lexicons.registry import BY_DEFAULT, EXTRA, is_installed, parse_names

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "official": {
        "keep_special": True,
        "mask": False,
        "center_crop": True,
        "gru_layers": 2,
        "gru_dropout": 0.25,
        "context_gru": True,
        "normalize": True,
        "self_attention": True,
        "fusion_bias": False,
        "pooling_heads": 4,
    },
    "original": {},
    "best": {
        "head": "pooled",
        "lexicons": "vader+afinn+pattern+hashtags+shape",
        "scene": True,
        "ensemble": 2,
        "partner": "linear",
        "dropout": 0.5,
        **{"lexical": 32, "word_dropout": 0.3, "select": "loss"},
        **{"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.1, "schedule": "cosine", "ema": 0.99},
        **{"label_smoothing": 0.05, "batch_size": 128, "epochs": 20},
    },
}
"""Fields of `TrainConfig` by preset. `paper`: the equations, with the default of each field that they leave open.
`official`: the architecture of the authors' demo (https://github.com/zhutong0219/ITIN), where it differs from them.
`original`: those of `BY_HEAD` alone. `best`: what was worth it on real data, docs/accuracy.md; with its head unless
another is named, and of its lexicons and the scene what is there (`fitted`)."""


ORIGINAL: dict[str, dict[str, Any]] = {
    "multisentinet": {
        **{"d": 128, "hidden": 128, "optimizer": "rmsprop", "schedule": "constant", "weight_decay": 0.0},
        **{"batch_size": 32, "epochs": 100, "patience": 5, "select": "loss"},
    },
    "comn": {
        **{"d": 100, "k": 100, "schedule": "constant", "weight_decay": 0.0},
        **{"batch_size": 128, "epochs": 100, "patience": 10},
    },
    "mvan": {"hidden": 512},
    "cnn-multi": {"dropout": 0.5},
    "dnn-lr": {"dropout": 0.5},
}
"""Fields of the preset `original` by head: what is known of the sizes and the recipe of the head's own authors. Other
fields, and other heads, keep the paper's."""

BY_HEAD: dict[str, dict[str, dict[str, Any]]] = {"original": ORIGINAL, "best": {"itin-plus": {"m": 4, "k": 128}}}
"""Further fields of a preset by head."""


class Range(NamedTuple):
    """The numbers that a search may choose from."""

    low: float
    high: float
    log: bool = False
    """Whether their logarithms are spread evenly."""

    def values(self, whole: bool = False) -> tuple[float, ...]:
        """Return `STEPS` numbers from low to high, of two digits; integers where they are `whole`."""
        ends = [math.log(end) if self.log else end for end in (self.low, self.high)]
        found = [ends[0] + (ends[1] - ends[0]) * step / (STEPS - 1) for step in range(STEPS)]
        numbers = [float(f"{math.exp(one) if self.log else one:.2g}") for one in found]
        return tuple(dict.fromkeys(round(one) if whole else one for one in numbers))


STEPS = 9
"""The numbers of a range that a search tells apart."""

SPACES: dict[str, dict[str, Range]] = {
    "best": {
        "lr": Range(5e-4, 8e-3, log=True),
        "weight_decay": Range(0.01, 0.5, log=True),
        "dropout": Range(0.2, 0.7),
        "hidden": Range(32, 256, log=True),
        "label_smoothing": Range(0.0, 0.15),
    }
}
"""What a guided search chooses among, by preset and field, where the command names no axis."""

_AS_IT_IS: Mapping[str, Mapping[str, Any]] = {}

NAMES = tuple(PRESETS)
"""The names of all presets."""

SCENE = "--scene-encoder efficientnet-lite0-stages"
"""The option of `itin extract` for a scene that needs no hub."""

# Of a whole recipe, what may be another and it is still called so:
_FREE = ("head", "lexicons", "scene")


@dataclass(frozen=True, repr=False, eq=False)
class PresetOptions:
    """The option `preset`, which stands for several options of `TrainConfig`."""

    preset: str = option("paper", choices=NAMES, group="What is trained")
    """Readings of the paper: its equations, or the architecture of its authors' demo (official). original: the sizes
    and the recipe of the authors of another head, as far as they are known. best: what was worth it on real data."""


READINGS = tuple(PRESETS["official"])
"""The fields in which readings differ."""


def preset_of(config: TrainConfig | Mapping[str, Any]) -> str | None:
    """Return the preset that a configuration takes, or None for a reading of its own.

    A whole recipe (`original`, `best`) is still called so where some of its fields are changed, as long as more of them
    are the recipe's than are the defaults; of `paper` and `official` the readings alone count.

    Args:
        config: a configuration, or its fields by name.
    """
    values = config.to_dict() if isinstance(config, TrainConfig) else config
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    for preset in ("original", "best"):
        own = {name: value for name, value in _fields_of(preset, values["head"]).items() if name not in _FREE}
        taken = sum(values.get(name, defaults[name]) == value for name, value in own.items())
        if taken > sum(values.get(name, defaults[name]) == defaults[name] for name in own):
            return preset
    for preset in ("paper", "official"):
        if all(values[name] == PRESETS[preset].get(name, defaults[name]) for name in READINGS):
            return preset
    return None


def with_preset(values: Mapping[str, Any], adapted: Mapping[str, Mapping[str, Any]] = _AS_IT_IS) -> dict[str, Any]:
    """Return fields of `TrainConfig` with `preset` replaced by the fields it stands for, which others override.

    Args:
        values: fields of `TrainConfig`, and `preset`.
        adapted: by preset, the fields that it has another way here (`fitted`).
    """
    rest = dict(values)
    name = rest.pop("preset", "paper")
    if name not in NAMES:
        raise ValueError(f"preset: expected one of {', '.join(NAMES)}, got {name!r}")
    own = _fields_of(name, rest.get("head", PRESETS[name].get("head", TrainConfig.head)))
    return {**own, **adapted.get(name, {}), **rest}


def fitted(values: Mapping[str, Any], scene: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Leave out of a preset what the stores or the installation do not have.

    Args:
        values: fields of `TrainConfig` and `preset`; those that are named themselves are kept.
        scene: whether the data set has features of the scene.

    Returns:
        The fields that the preset has another way then; and what was left out, a line each.
    """
    name = values.get("preset", "paper")
    given = with_preset({"preset": name})
    own: dict[str, Any] = {}
    said: list[str] = []
    lexicons = parse_names(given.get("lexicons", ""))
    if "lexicons" not in values and (gone := [one for one in lexicons if not is_installed(one)]):
        own["lexicons"] = "+".join(one for one in lexicons if one not in gone)
        said.append(f"the preset {name} without the lexicons {listed(gone)}: pip install '{EXTRA}' adds them")
    heads = values.get("head", given.get("head", TrainConfig.head))  # in a sweep several
    reading = any("scene" in HEADS[one].settings for one in ((heads,) if isinstance(heads, str) else heads))
    if "scene" not in values and given.get("scene") and not scene and reading:
        own["scene"] = None
        said.append(f"the preset {name} without the scene: itin extract {SCENE} adds it")
    return {field: value for field, value in own.items() if field not in values}, said


def space_of(values: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the values by field that a preset lets a guided search choose from, but for fields that are named.

    Args:
        values: names of fields that are named, and the `preset`.
    """
    kinds = {field.name: kind_of(field) for field in fields(TrainConfig)}
    space = SPACES.get(values.get("preset", "paper"), {})
    return {name: own.values(kinds[name] == "int") for name, own in space.items() if name not in values}


def _fields_of(preset: str, head: str) -> dict[str, Any]:
    return {**PRESETS[preset], **BY_HEAD.get(preset, {}).get(head, {})}


def short_name(config: TrainConfig) -> str:
    """Return a short name that tells configurations apart, such as `m2-lam0.2-no-gate` or `concat-m2`."""
    head = config.head_config({})
    by_default = [BY_DEFAULT] if HEADS[config.head].by_lexicon else []
    parts = []
    if config.head != "itin":
        parts.append(config.head)
    if (preset := preset_of(config)) != "paper" and config.head != "majority":
        parts.append(preset or "own")
    if config.head == "itin" or "regions" in config.inputs:
        parts.append(f"m{config.m}")
    if config.head == "itin" or "lam" in head.settings:
        parts.append(f"lam{config.lam:g}")
    if head.ablation != "none":
        parts.append(head.ablation)
    if config.ensemble > 1 and preset != "best":
        parts.append(f"ensemble{config.ensemble}")
    if config.beside is not None and (preset != "best" or config.partner != PRESETS["best"].get("partner")):
        parts.append(f"partner-{config.partner}")
    if config.targets != (LABEL,):
        parts.append(config.target)
    own = config.lexicon_names not in ((), *by_default)
    if own and (preset != "best" or config.lexicons != PRESETS["best"]["lexicons"]):
        parts.append("+".join(config.lexicon_names))
    if config.train_share < 1:
        parts.append(f"share{config.train_share:g}")
    if head.has_table and (preset != "best" or config.lexical != PRESETS["best"]["lexical"]):
        parts.append(f"lexical{config.lexical}")
    return "-".join(parts)
