"""Any vision model of transformers, by its name on the hub or a folder, as a trunk; timm's through their wrapper.

What differs between families is measured once, when a model is loaded: a black image tells how many tokens there are,
and those that are not patches must be accounted for.
"""

from __future__ import annotations

import inspect
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ...errors import WeightsError
from ...weights_file import cause_of
from ..weights.requirement import WeightsRequirement
from .contract import state_sha256
from .image_processor import ImageProcessor
from .pretrained import load_model, load_part, loading_error, locate, model_needs
from .trunk import VisionInput

_NORMS = {
    **dict.fromkeys(("clip_vision_model", "metaclip_2_vision_model", "chinese_clip_vision_model"), "post_layernorm"),
    **dict.fromkeys(("convnext", "convnextv2"), "layernorm"),
}
"""Family -> the norm through which its pooled vector goes, and its `last_hidden_state` does not: cells go through it
too, so that both lie in one space."""

_BOOKKEEPING = {
    *("transformers_version", "dtype", "torch_dtype", "architectures", "_name_or_path", "model_type", "problem_type"),
    *(
        "id2label",
        "label2id",
        "initializer_range",
        "initializer_factor",
        "pretrained_cfg",
        "label_names",
        "num_classes",
    ),
    *("out_features", "out_indices", "_out_features", "_out_indices", "stage_names"),
}
"""Entries of a configuration that change no number of the trunk."""

_PROBES = ((224, 224), (250, 330))
"""Heights and widths of the images that are run at load; the second one only if the processor keeps sizes."""


class TransformersVision:
    """A vision model whose cells are its patches, or the cells of its last feature map.

    Args:
        name: its name on the hub, or a folder.
        device: where it runs.
        seed: seed of random weights; None: trained ones.

    Raises:
        WeightsError: it cannot be loaded, lacks parts, is not a vision model, or has tokens that are not accounted for.
    """

    grid = None

    def __init__(self, name: str, device: torch.device, seed: int | None) -> None:
        self._title = name
        self.name = Path(name).name if Path(name).is_dir() else name
        self.device = device
        config = _configuration(name, untrained=seed is not None)
        self._processor = ImageProcessor(name, config, untrained=seed is not None)
        model, self.weights = _load(name, config, seed)
        self._model = model.to(device)
        norm = _NORMS.get(config.model_type)
        self._norm = getattr(_inner(model), norm) if norm else None
        self._timm = getattr(model, "timm_model", None)
        self._stride = _stride(config, self._timm)
        self._ends = "even"
        """Where cells end that do not fill the input: `floor`, before its rest; `ceil`, beyond it; `even`, with it."""
        self._prefix: int | None = None
        self._options: dict[str, Any] = {}
        self._pooled = "pooler_output"
        self._probe(config)
        self.preprocessing: dict[str, Any] = {
            "model": config.model_type,
            "config": _differing(config),
            **self._processor.identity,
            "prefix": self._prefix,
            "cells": "last_hidden_state" + (f", {norm}" if self._norm is not None else ""),
            "pooled": self._pooled,
            **self._options,
        }

    @staticmethod
    def needs(name: str) -> WeightsRequirement:
        """Return the weights that it needs."""
        return model_needs(name, "vision model")

    def prepare(self, image: np.ndarray) -> VisionInput:
        """Return the input of an image, (H, W, 3) uint8 RGB, as the model's own image processor makes it."""
        pixels, (x1, y1, x2, y2) = self._processor(image)
        if self._stride is not None and self._ends != "even":
            rows, columns = self._extent(pixels.shape[1], pixels.shape[2], self._ends)
            x2 = x1 + (x2 - x1) * columns * self._stride / pixels.shape[2]
            y2 = y1 + (y2 - y1) * rows * self._stride / pixels.shape[1]
        return VisionInput(pixels, (x1, y1, x2, y2), (image.shape[1], image.shape[0]))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cells (B, D, rows, columns) and pooled vectors (B, P).

        Args:
            pixels: (B, 3, height, width), or patches (B, rows, columns, values) of a model that takes those.
        """
        hidden, pooled = self._run(pixels)
        if hidden.dim() == 3:
            rows, columns = pixels.shape[1:3]
            if not self._processor.patched:
                rows, columns = self._extent(pixels.shape[2], pixels.shape[3], self._ends)
            tokens = hidden[:, self._prefix or 0 :]
            cells = (tokens if self._norm is None else self._norm(tokens)).transpose(1, 2).unflatten(2, (rows, columns))
        else:
            cells = hidden
            if self._norm is not None:
                cells = self._norm(cells.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self._pooled == "first token":
            return cells, hidden[:, 0]
        return cells, cells.mean((2, 3)) if pooled is None else pooled

    def _run(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the tokens (B, N, D) or the map (B, D, rows, columns), and the library's pooled vector if any."""
        options = self._options
        if self._processor.patched:  # those of one shape come together, so that none is padded
            number, rows, columns, _ = pixels.shape
            mask = torch.ones((number, rows * columns), dtype=torch.int32, device=pixels.device)
            options = {"pixel_attention_mask": mask, "spatial_shapes": torch.tensor([[rows, columns]] * number)}
            pixels = pixels.flatten(1, 2)
        output = self._model(pixel_values=pixels, **options)
        hidden, pooled = output.last_hidden_state, getattr(output, "pooler_output", None)
        if hidden.dim() == 4 and getattr(self._timm, "output_fmt", "NCHW") == "NHWC":
            hidden = hidden.permute(0, 3, 1, 2)
        return hidden, None if pooled is None else pooled.flatten(1)

    @torch.inference_mode()
    def _probe(self, config: Any) -> None:
        """Run black images, and find what there is: prefix, stride, where cells end, sizes."""
        accepted = inspect.signature(self._model.forward).parameters
        inputs = {
            one.shape: one[None] for one, _ in (self._processor(np.zeros((*size, 3), np.uint8)) for size in _PROBES)
        }
        side: Any = getattr(config, "image_size", None)
        learned = tuple(side) if isinstance(side, list | tuple) else (side, side)
        if "interpolate_pos_encoding" in accepted and any(shape[1:] != learned for shape in inputs):
            self._options = {"interpolate_pos_encoding": True}
        for pixels in inputs.values():
            try:
                hidden, pooled = self._run(pixels.to(self.device))
            except Exception as error:  # the library and its parts raise any exception
                shown = " x ".join(map(str, pixels.shape[1:]))
                raise loading_error(
                    self._title, "model", f"it cannot take an image of {shown}: {cause_of(error)}"
                ) from error
            if hidden.dim() == 3:
                self._account(config, hidden.shape[1], pixels)
            elif hidden.dim() == 4:
                self._measure(hidden, pixels)
            else:
                raise self._refusal(f"a last_hidden_state of shape {tuple(hidden.shape)}")
        if pooled is None:
            self._pooled = "first token" if self._prefix else "mean of the cells"
        self.cell_dim = hidden.shape[2] if hidden.dim() == 3 else hidden.shape[1]
        self.pooled_dim = self.cell_dim if pooled is None else pooled.shape[1]

    def _account(self, config: Any, tokens: int, pixels: torch.Tensor) -> None:
        """Find the number of tokens before the patches, and how the grid is rounded."""
        extra = int(getattr(config, "num_register_tokens", 0) or 0)
        allowed = {0, 1, 1 + extra} if self._timm is None else {int(getattr(self._timm, "num_prefix_tokens", 0))}
        if any(name.endswith("distillation_token") for name, _ in self._model.named_parameters()):
            allowed.add(2)
        allowed &= allowed if self._prefix is None else {self._prefix}
        if self._processor.patched:
            grids = {"even": tuple(pixels.shape[1:3])}
        elif self._stride is None:
            raise self._refusal(f"{tokens} tokens, and a config.json without patch_size")
        else:
            grids = {ends: self._extent(pixels.shape[2], pixels.shape[3], ends) for ends in ("floor", "ceil")}
        for ends, (rows, columns) in grids.items():
            if tokens - rows * columns in allowed:
                self._prefix, self._ends = tokens - rows * columns, ends
                return
        rows, columns = next(iter(grids.values()))
        given = " or ".join(str(rows * columns + more) for more in sorted(allowed))
        raise self._refusal(f"{tokens} tokens where {rows} x {columns} patches make {given}")

    def _measure(self, hidden: torch.Tensor, pixels: torch.Tensor) -> None:
        """Find the stride of a map, and whether it leaves the input's rest out."""
        (rows, columns), (height, width) = hidden.shape[2:], pixels.shape[2:]
        self._stride = 2 ** round(math.log2(height / rows))
        self._ends = "floor" if (rows, columns) == self._extent(height, width, "floor") else "even"

    def _extent(self, height: int, width: int, ends: str) -> tuple[int, int]:
        """Return rows and columns of an input's cells."""
        stride = self._stride or 1
        return (height // stride, width // stride) if ends == "floor" else (-(-height // stride), -(-width // stride))

    def _refusal(self, found: str) -> WeightsError:
        return WeightsError(
            f"the tokens of {self._title} ({type(self._model).__name__}) cannot be accounted for",
            expected="a grid of patches, with no other token before it than a class token and registers",
            found=found,
            next_step="choose another model",
        )


def _configuration(name: str, untrained: bool) -> Any:
    """Return the configuration of a model, or of its vision tower."""
    if untrained and locate(name, "config.json") is None:
        raise WeightsError(
            f"--random-init needs to know the architecture of {name}",
            expected="a folder with config.json, or a model whose config.json is in the Hugging Face cache",
            next_step="name a folder that holds the model's config.json",
        )
    try:
        config = load_part(transformers.AutoConfig, name, "configuration", download=not untrained)
    except WeightsError as error:
        if isinstance(error.__cause__, ImportError) and find_spec("timm") is None:
            raise _lacks_timm(name) from error
        raise
    if config.model_type == "timm_wrapper" and find_spec("timm") is None:
        raise _lacks_timm(name)
    return getattr(config, "vision_config", None) or config


def _lacks_timm(name: str) -> WeightsError:
    return WeightsError(
        f"{name} is a model of timm, which is not installed",
        expected="timm beside transformers, which wraps its models",
        next_step="pip install timm",
    )


def _load(name: str, config: Any, seed: int | None) -> tuple[Any, dict[str, Any]]:
    if seed is None:
        model = load_model(name, spare=("pooler.dense.",), config=config)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                model = transformers.AutoModel.from_config(config).float().eval().requires_grad_(False)
            except Exception as error:  # an unknown type or impossible sizes
                raise loading_error(name, "model", cause_of(error)) from error
    if model.main_input_name != "pixel_values":
        raise WeightsError(
            f"{name} is not a vision model",
            expected="a model that takes pixel_values alone",
            found=f"{type(model).__name__}, which takes {model.main_input_name}",
            next_step="choose a vision model",
        )
    if hasattr(getattr(model, "pooler", None), "dense"):  # ViT's, which most checkpoints do not hold
        model.pooler = None
    origin: dict[str, Any] = {"file": name} if seed is None else {"random_init": seed}
    return model, {**origin, "sha256": state_sha256(_inner(model))}


def _inner(model: Any) -> Any:
    """Return the module with a model's parts: some towers wrap it, before transformers 5."""
    return getattr(model, "vision_model", model)


def _stride(config: Any, timm: Any) -> int | None:
    """Return the pixels between two neighbouring tokens, by the configuration; None: not known."""
    if timm is not None:
        stages = getattr(timm, "feature_info", None) or [{}]
        reduction = stages[-1].get("reduction")
        return None if reduction is None else int(reduction)
    depths = getattr(config, "depths", None)
    patch = getattr(config, "patch_size", None) or (4 if depths else None)
    if isinstance(patch, list | tuple):
        patch = patch[0] if len(set(patch)) == 1 else None
    return None if patch is None else patch * 2 ** (len(depths or [0]) - 1)


def _differing(config: Any) -> dict[str, Any]:
    """Return what a configuration sets apart from its family's defaults."""
    usual = type(config)().to_dict()
    return {
        key: value
        for key, value in config.to_dict().items()
        if key not in _BOOKKEEPING and not (key in usual and value == usual[key])
    }
