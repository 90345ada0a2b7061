"""The public detector checkpoints: their families, names and shapes, and errors where a file differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...errors import WeightsError
from ...weights_file import UnsoundFile, differences, file_sha256, read_state
from .network import ANCHORS, FasterRCNN
from .recipe import ARCHITECTURES, RECIPES, Architecture, Family, Recipe

_NAMES: dict[Family, tuple[tuple[str, str], ...]] = {
    "hf": (),
    "caffe": (
        ("roi_heads.box_predictor.cls_embed.", "roi_heads.box_predictor.cls_embedding."),
        ("roi_heads.box_predictor.attr_linear1.", "roi_heads.box_predictor.fc_attr."),
        ("roi_heads.box_predictor.attr_linear2.", "roi_heads.box_predictor.attr_score."),
    ),
    "d2": (
        ("roi_heads.attribute_predictor.obj_embed.", "roi_heads.box_predictor.cls_embedding."),
        ("roi_heads.attribute_predictor.fc.0.", "roi_heads.box_predictor.fc_attr."),
        ("roi_heads.attribute_predictor.attr_score.", "roi_heads.box_predictor.attr_score."),
    ),
}
"""Prefixes of a family's names and ours; all other names are shared."""

_MARKS: dict[Family, str] = {
    "caffe": "roi_heads.box_predictor.attr_linear1.weight",
    "hf": "roi_heads.box_predictor.fc_attr.weight",
    "d2": "roi_heads.attribute_predictor.fc.0.weight",
}
"""The name of an array that only this family has."""

_DETECTOR = "a Faster R-CNN (ResNet-101 C4) for Visual Genome: a caffe, airsplay, hf or d2 checkpoint"
_HELP = "itin weights lists the files that are read and where they come from"


@dataclass(frozen=True)
class Checkpoint:
    """A file's weights under our names."""

    path: Path
    sha256: str
    recipe: Recipe
    """The family's recipe, with the file's own mean where it has one."""
    state: dict[str, Tensor]
    own_anchors: bool
    """Whether the anchors are the file's own."""


def read_checkpoint(
    path: Path, *, recipe: Recipe | None = None, architecture: Architecture | None = None
) -> Checkpoint:
    """Read and check a detector's weights.

    Args:
        path: a `.pkl` of NumPy arrays, a `.pth`, `.pt` or `.bin` of PyTorch, or a `.safetensors`.
        recipe: one of `RECIPES` or another; by default that of the file's family.
        architecture: the layers' sizes; by default the family's.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or differs in names or shapes.
    """
    found = _state(path)
    family = _family(path, found)
    if recipe is None:
        recipe = RECIPES["airsplay" if family == "hf" and path.suffix == ".pkl" else family]
    if recipe.family != family:
        raise WeightsError(
            f"{path}: the recipe does not fit the file",
            expected=f"a {recipe.family} checkpoint for the recipe {recipe.name}",
            found=f"a {family} checkpoint",
            next_step="leave the recipe out, or name one of the file's family",
        )
    mean = found.pop("pixel_mean", None)
    found.pop("pixel_std", None)
    if mean is not None and mean.numel() == 3 and recipe == RECIPES[family]:
        recipe = replace(recipe, mean=tuple(round(float(value), 4) for value in mean.flatten()))  # type: ignore[arg-type]
    own_anchors = ANCHORS in found
    with torch.device("meta"):
        wanted = FasterRCNN(architecture or ARCHITECTURES[family], recipe).state_dict()
    shapes = {_theirs(name, family): tuple(value.shape) for name, value in wanted.items()}
    if not own_anchors:
        del shapes[ANCHORS]
    _compare(path, family, shapes, found)
    state = {_ours(name, family): value.to(torch.float32) for name, value in found.items()}
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"{path}: {_theirs(name, family)} holds values that are not finite",
                expected="finite weights",
                found=f"{int((~torch.isfinite(value)).sum())} of {value.numel()} values not finite",
                next_step="download the file again",
            )
    return Checkpoint(path, file_sha256(path), recipe, state, own_anchors)


def load_network(checkpoint: Checkpoint, architecture: Architecture | None = None) -> FasterRCNN:
    """Return the network with a checkpoint's weights."""
    network = FasterRCNN(architecture or ARCHITECTURES[checkpoint.recipe.family], checkpoint.recipe)
    state = dict(checkpoint.state)
    state.setdefault(ANCHORS, network.anchors)
    network.load_state_dict(state)
    return network


def _ours(name: str, family: Family) -> str:
    return _renamed(name, _NAMES[family])


def _theirs(name: str, family: Family) -> str:
    return _renamed(name, ((ours, theirs) for theirs, ours in _NAMES[family]))


def _renamed(name: str, prefixes: Iterable[tuple[str, str]]) -> str:
    return next((new + name[len(old) :] for old, new in prefixes if name.startswith(old)), name)


def _state(path: Path) -> dict[str, Tensor]:
    """Return the file's tensors without counters of training."""
    try:
        state = read_state(path)
    except UnsoundFile as fault:
        raise WeightsError(
            f"{path}: cannot be read as a checkpoint",
            expected=f"{_DETECTOR}, whole, as .pkl, .pth, .bin or .safetensors that holds arrays only",
            found=fault.found,
            next_step=f"{fault.next_step}; {_HELP}",
        ) from fault
    names = ((name.removeprefix("module."), value) for name, value in state.items())
    return {name: value for name, value in names if not name.endswith(".num_batches_tracked")}


def _family(path: Path, found: Mapping[str, Tensor]) -> Family:
    """Return the family whose attribute head the file has; without one, the family whose names and shapes fit best."""
    for family, mark in _MARKS.items():
        if mark in found:
            return family
    for family in _MARKS:
        if any(name.startswith(theirs) for name in found for theirs, _ in _NAMES[family]):
            return family
    if "roi_heads.box_predictor.cls_score.weight" in found and "proposal_generator.rpn_head.conv.weight" in found:
        scores = found.get("proposal_generator.rpn_head.objectness_logits.weight")
        by_scores: dict[int, Family] = {24: "caffe", 15: "d2"}
        return by_scores.get(len(scores) if scores is not None and scores.dim() else 0, "hf")
    names = sorted(found)
    raise WeightsError(
        f"{path}: the weights of another model",
        expected=_DETECTOR,
        found=f"{len(names)} arrays: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}",
        next_step=_HELP,
    )


def _compare(path: Path, family: Family, shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
    """Check names and shapes; the error has the first names that are missing, unknown, or of another shape."""
    different = differences(shapes, {name: tuple(value.shape) for name, value in found.items()})
    if different is None:
        return
    raise WeightsError(
        f"{path}: the {family} checkpoint differs from its architecture",
        expected=f"{len(shapes)} arrays of ResNet-101 C4 with 1600 objects and 400 attributes, in the {family} names",
        found=different,
        next_step=_HELP,
    )
