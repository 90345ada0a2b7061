"""Scaled-down detectors for the tests: all parts of the real ones, few channels, small images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itin.extract.frcnn.initial import randomize
from itin.extract.frcnn.network import FasterRCNN
from itin.extract.frcnn.recipe import RECIPES, Architecture, Recipe

from .frcnn_reference import RULES, Net

NAMES = tuple(RECIPES)
SMALL = Architecture(
    blocks=(2, 1, 2, 2),
    stem=8,
    inner=4,
    outer=16,
    rpn_hidden=12,
    classes=20,
    attributes=10,
    embedding=6,
    attribute_hidden=12,
)
SIZES: dict[str, Any] = {"short_side": 150, "long_side": 250, "pre_nms": 400, "post_nms": 40}
HEADS = {
    "hf": ("box_predictor.cls_embedding", "box_predictor.fc_attr", "box_predictor.attr_score"),
    "caffe": ("box_predictor.cls_embed", "box_predictor.attr_linear1", "box_predictor.attr_linear2"),
    "d2": ("attribute_predictor.obj_embed", "attribute_predictor.fc.0", "attribute_predictor.attr_score"),
}
"""The attribute head's names by family, in the order embedding, hidden layer, scores."""


def recipe(name: str, **changes: Any) -> Recipe:
    return replace(RECIPES[name], **(SIZES | changes))


def network(name: str, seed: int = 0, **changes: Any) -> FasterRCNN:
    made = randomize(FasterRCNN(SMALL, recipe(name, **changes)), seed)
    made.proposal_generator.rpn_head.objectness_logits.weight *= 2
    return made


def file_state(made: FasterRCNN) -> dict[str, torch.Tensor]:
    """A network's weights under the names of its family's files."""
    state = {}
    for key, value in made.state_dict().items():
        for ours, theirs in zip(HEADS["hf"], HEADS[made.recipe.family], strict=True):
            if key.startswith(f"roi_heads.{ours}."):
                key = f"roi_heads.{theirs}." + key[len(f"roi_heads.{ours}.") :]
        state[key] = value.clone()
    return state


def reference(made: FasterRCNN, **changes: Any) -> Net:
    name = made.recipe.name
    rules = RULES[name] | {
        "short": SIZES["short_side"],
        "long": SIZES["long_side"],
        "pre_nms": SIZES["pre_nms"],
        "post_nms": SIZES["post_nms"],
    }
    return Net(name, {key: value.numpy() for key, value in file_state(made).items()}, rules | changes)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A colourful picture with edges at several scales, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for step in (4, 16, 50):
        coarse = rng.uniform(0, 85, (height // step + 1, width // step + 1, 3))
        image += np.kron(coarse, np.ones((step, step, 1)))[:height, :width]
    return image.astype(np.uint8)


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path
