"""Readings of the paper by name, and names for configurations. No torch."""

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


@dataclass(frozen=True)
class PresetOptions:
    """The option `preset`, which stands for several options of `TrainConfig`."""

    preset: str = option("paper", choices=PRESETS, group="What is trained")
    """Readings of the paper: its equations, or the architecture of its authors' demo (official)."""


READINGS = tuple(PRESETS["official"])
"""The fields in which presets differ."""


def preset_of(config: TrainConfig) -> str | None:
    """Return the preset whose reading a configuration takes, or None for one of its own."""
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    for name, values in PRESETS.items():
        if all(getattr(config, field) == values.get(field, defaults[field]) for field in READINGS):
            return name
    return None


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of `TrainConfig` with `preset` replaced by the fields it stands for, which others override."""
    rest = dict(values)
    name = rest.pop("preset", "paper")
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return {**PRESETS[name], **rest}


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
    if config.targets != (LABEL,):
        parts.append(config.target)
    parts += ["+".join(config.lexicon_names)] if config.lexicon_names else []
    parts += [f"lexical{config.lexical}"] if head.has_table else []
    return "-".join(parts)
