"""Readings and recipes by name, and names for configurations. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..fields import option
from ..targets import LABEL
from .config import TrainConfig

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
}
"""Fields of `TrainConfig` by preset. `paper`: the equations, with the default of each field that they leave open.
`official`: the architecture of the authors' demo (https://github.com/zhutong0219/ITIN), where it differs from them."""


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

NAMES = (*PRESETS, "original")
"""The names of all presets."""


@dataclass(frozen=True)
class PresetOptions:
    """The option `preset`, which stands for several options of `TrainConfig`."""

    preset: str = option("paper", choices=NAMES, group="What is trained")
    """Readings of the paper: its equations, or the architecture of its authors' demo (official). original: the sizes
    and the recipe of the authors of another head, as far as they are known."""


READINGS = tuple(PRESETS["official"])
"""The fields in which readings differ."""


def preset_of(config: TrainConfig | Mapping[str, Any]) -> str | None:
    """Return the preset whose reading a configuration takes, or None for one of its own.

    Args:
        config: a configuration, or its fields by name.
    """
    values = config.to_dict() if isinstance(config, TrainConfig) else config
    own = ORIGINAL.get(values["head"])
    if own and all(values[name] == value for name, value in own.items()):
        return "original"
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    for preset, reading in PRESETS.items():
        if all(values[name] == reading.get(name, defaults[name]) for name in READINGS):
            return preset
    return None


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of `TrainConfig` with `preset` replaced by the fields it stands for, which others override."""
    rest = dict(values)
    name = rest.pop("preset", "paper")
    if name not in NAMES:
        raise ValueError(f"preset: expected one of {', '.join(NAMES)}, got {name!r}")
    own = ORIGINAL.get(rest.get("head", TrainConfig.head), {}) if name == "original" else PRESETS[name]
    return {**own, **rest}


def short_name(config: TrainConfig) -> str:
    """Return a short name that tells configurations apart, such as `m2-lam0.2-no-gate` or `concat-m2`."""
    head = config.head_config({})
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
    if config.ensemble > 1:
        parts.append(f"ensemble{config.ensemble}")
    if config.targets != (LABEL,):
        parts.append(config.target)
    parts += ["+".join(config.lexicon_names)] if config.lexicon_names else []
    parts += [f"lexical{config.lexical}"] if head.has_table else []
    return "-".join(parts)
