"""Reads the public detector checkpoints: which family a file is of, what it must hold, and what is wrong with it.

Downloaded pickles are untrusted. PyTorch files are read with `weights_only=True`, `.pkl` files with an unpickler that
admits NumPy arrays and plain containers only.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import WeightsError
from .network import FasterRCNN
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
"""A family's prefixes and ours; all other names are shared."""

_MARKS: dict[Family, str] = {
    "caffe": "roi_heads.box_predictor.attr_linear1.weight",
    "hf": "roi_heads.box_predictor.fc_attr.weight",
    "d2": "roi_heads.attribute_predictor.fc.0.weight",
}
"""A name that only one family has."""

_ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
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
    """True where the anchors are the file's own."""


class _ArraysOnly(pickle.Unpickler):
    """Admits NumPy arrays, NumPy scalars and plain containers."""

    _CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
    _ADMITTED = frozenset(
        [
            *((core, name) for core in _CORE for name in ("_reconstruct", "scalar")),
            *((core.replace("multiarray", "numeric"), "_frombuffer") for core in _CORE),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("collections", "OrderedDict"),
            ("_codecs", "encode"),  # how Python 2 and protocol 2 write an array's bytes
        ]
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        if module == "_codecs":
            return _latin1
        if module == "collections":
            return OrderedDict
        if module == "numpy":
            return getattr(np, name)
        core = np.core if np.lib.NumpyVersion(np.__version__) < "2.0.0" else np._core  # type: ignore[attr-defined]
        return getattr(core.numeric if name == "_frombuffer" else core.multiarray, name)


def _latin1(text: str, encoding: str) -> bytes:
    """The one use of `_codecs.encode` in pickled arrays."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for _codecs.encode with {encoding!r}")
    return text.encode("latin1")


def load_arrays(data: bytes) -> Any:
    """Unpickle NumPy arrays and plain containers; `pickle.UnpicklingError` for anything else."""
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(
    path: Path, *, recipe: Recipe | str | None = None, architecture: Architecture | None = None
) -> Checkpoint:
    """Read and check a detector's weights.

    Args:
        path: a `.pkl` of NumPy arrays, a `.pth`, `.pt` or `.bin` of PyTorch, or a `.safetensors`.
        recipe: one of `RECIPES` or one's own; by default the one of the file's family.
        architecture: the layers' sizes; by default the family's.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or differs in names or shapes.
        ValueError: there is no recipe of that name.
    """
    if isinstance(recipe, str) and recipe not in RECIPES:
        raise ValueError(f"there is no detector recipe {recipe!r}; there are {', '.join(RECIPES)}")
    found = _flat(path, _read(path))
    family = _family(path, found)
    if recipe is None:
        recipe = RECIPES["airsplay" if family == "hf" and path.suffix == ".pkl" else family]
    elif isinstance(recipe, str):
        recipe = RECIPES[recipe]
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
    own_anchors = _ANCHORS in found
    with torch.device("meta"):
        wanted = FasterRCNN(architecture or ARCHITECTURES[family], recipe).state_dict()
    shapes = {_theirs(name, family): tuple(value.shape) for name, value in wanted.items()}
    if not own_anchors:
        del shapes[_ANCHORS]
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
    """The network with a checkpoint's weights."""
    network = FasterRCNN(architecture or ARCHITECTURES[checkpoint.recipe.family], checkpoint.recipe)
    state = dict(checkpoint.state)
    state.setdefault(_ANCHORS, network.anchors)
    network.load_state_dict(state)
    return network


def _ours(name: str, family: Family) -> str:
    for theirs, ours in _NAMES[family]:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


def _theirs(name: str, family: Family) -> str:
    for theirs, ours in _NAMES[family]:
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    return name


def _read(path: Path) -> Any:
    """The file's content, by what its first bytes say it is."""
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file", expected=_DETECTOR, found="nothing", next_step=_HELP)
    with path.open("rb") as file:
        head = file.read(64)
    try:
        if head[:2] == b"PK":
            return torch.load(path, map_location="cpu", weights_only=True)
        if len(head) > 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 100_000_000:
            from safetensors.torch import load_file

            return load_file(path)
        if head[:1] == b"\x80" and path.suffix == ".pkl":
            return load_arrays(path.read_bytes())
        if head[:1] == b"\x80":  # PyTorch's older format
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own classes for a damaged file
        raise WeightsError(
            f"{path}: the file cannot be read",
            expected=f"{_DETECTOR}, whole, holding arrays only",
            found=f"{type(error).__name__}: {_first_line(error)}",
            next_step="download it again; a file that asks for more than arrays is not loaded at all",
        ) from error
    if head.startswith(b"version https://git-lfs"):
        kind = "a Git LFS pointer, which stands for a file that was not fetched"
    elif head.lstrip()[:1] == b"<":
        kind = "a web page"
    else:
        kind = f"{path.stat().st_size} bytes that begin with {head[:8]!r}" if head else "an empty file"
    raise WeightsError(
        f"{path}: not a checkpoint",
        expected=f"{_DETECTOR}, as .pkl, .pth, .bin or .safetensors",
        found=kind,
        next_step=_HELP,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


def _flat(path: Path, content: Any) -> dict[str, Tensor]:
    """Names and tensors, out of `model` where the file wraps them; counters of training are left out."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    elif isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path}: not a checkpoint", expected=_DETECTOR, found=f"a {type(content).__name__}", next_step=_HELP
        )
    flat: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path}: not a state of named arrays",
                expected=_DETECTOR,
                found=f"{name!r} of type {type(value).__name__}",
                next_step=_HELP,
            )
        name = name.removeprefix("module.")
        if not name.endswith(".num_batches_tracked"):
            flat[name] = value
    return flat


def _family(path: Path, found: Mapping[str, Tensor]) -> Family:
    """The family whose attribute head the file has; where that is missing, the one whose names and shapes fit best."""
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
    """Raise with the first names that are missing, unknown, or of another shape."""
    missing = [name for name in shapes if name not in found]
    extra = [name for name in found if name not in shapes]
    other = [name for name in shapes if name in found and tuple(found[name].shape) != shapes[name]]
    if not (missing or extra or other):
        return
    lines = []
    if missing:
        lines.append(f"{len(missing)} missing: {_some(missing)}")
    if extra:
        lines.append(f"{len(extra)} unknown: {_some(extra)}")
    if other:
        lines.append(
            f"{len(other)} of another shape: "
            + _some([f"{name} {tuple(found[name].shape)} instead of {shapes[name]}" for name in other])
        )
    raise WeightsError(
        f"{path}: the {family} checkpoint differs from its architecture",
        expected=f"{len(shapes)} arrays of ResNet-101 C4 with 1600 objects and 400 attributes, in the {family} names",
        found="; ".join(lines),
        next_step=_HELP,
    )


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + (" ..." if len(items) > 3 else "")
