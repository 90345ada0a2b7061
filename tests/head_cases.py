"""Every head and reading that tests compare, with weights drawn, and the samples that they are given."""

from __future__ import annotations

import itertools

import torch

from itin.itin_head import Head, HeadConfig, make
from itin.targets import Target
from itin.train.presets import PRESETS

from .head_reference import DIMS, redraw, samples_of
from .table2_reference import SYSTEMS

LABEL = Target(classes=("a", "b", "c"))
SIZES = {**DIMS, "max_words": 9, "filters": 2}
OFFICIAL = {name: value for name, value in PRESETS["official"].items() if name in HeadConfig.__dataclass_fields__}
READINGS: dict[str, dict[str, object]] = {
    "paper": {},
    "official": OFFICIAL,
    "normalize": {"normalize": True},
    "self-attention": {"self_attention": True, "gate": "vector"},
    "no fusion bias": {"fusion_bias": False},
    "pooling heads": {"pooling_heads": 3},
    "gru layers": {"gru_layers": 3},
    "context gru": {"context_gru": True},
    "no mask": {"mask": False},
    "one hop": {"hops": 1},
    "filters": {"filters": 3},
    "attention": {"pooling": "attention"},
    "no align": {"ablation": "no-align"},
    "no gate": {"ablation": "no-gate"},
}
CASES = [
    *[("itin", name) for name in READINGS],
    ("itin", "official"),
    *itertools.product(["global-local"], ["paper", "self-attention", "context gru"]),
    *itertools.product(["concat", "text-only"], ["paper", "gru layers", "no mask"]),
    ("image-only", "paper"),
    *[(name, "paper") for name in SYSTEMS],
    *[(name, "no mask") for name in SYSTEMS],
    *itertools.product(["comn", "mvan"], ["one hop"]),
    *itertools.product(["cnn-multi", "dnn-lr"], ["filters"]),
    *itertools.product(["pooled"], ["paper", "attention"]),
    *itertools.product(["itin-plus"], ["paper", "attention", "self-attention", "official", "no align", "no gate"]),
]


def head_of(head: str, reading: str = "paper", lam: float = 0.3, seed: int = 1) -> Head:
    made = make(HeadConfig(head=head, lam=lam, **{**SIZES, **READINGS[reading]})).double()  # type: ignore[arg-type]
    redraw(made, seed)
    for name, buffer in made.named_buffers():  # what `begin` and `scale` would measure
        spread = torch.linspace(0.4, 1.7, buffer.numel(), dtype=torch.float64).view_as(buffer)
        buffer.copy_(spread + 0.1 * seed + len(name) / 9)
    return made.eval()


SAMPLES = samples_of([4, 1, 7, 0, 3], [2, 3, 0, 1, 3])
TEXTS = ["a fine day", "rain", "no sun today", "", "fine"]
