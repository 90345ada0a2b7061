"""The preparation of images that belongs to a model, and where its result lies in the original image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from ...errors import WeightsError
from .pretrained import load_part, locate

Rectangle = tuple[float, float, float, float]

FILES = ("preprocessor_config.json", "processor_config.json")
"""Files with the settings of an image processor; timm's stand in config.json."""

_SILENT = {
    *("image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "default_to_square"),
    *("return_tensors", "data_format", "input_data_format", "disable_grouping", "device", "do_convert_rgb"),
}
"""Settings that change no number of an RGB image."""


@dataclass(frozen=True)
class Geometry:
    """How an image is resized, and which middle part of that is taken."""

    shortest: int | None = None
    """Length to which the shortest side is resized, keeping the aspect."""
    stretched: tuple[int, int] | None = None
    """Height and width to which the image is resized without keeping the aspect."""
    crop: tuple[int, int] | None = None
    """Height and width of the middle part; None: all."""
    half: Callable[[float], int] = math.floor
    """How half an odd margin is rounded."""

    def seen(self, height: int, width: int) -> Rectangle:
        """Return x1, y1, x2, y2 of what the result shows of an image of this size, in the image's pixels."""
        if self.crop is None:
            return 0.0, 0.0, float(width), float(height)
        rows, columns = self.stretched or (height, width)
        if self.stretched is None and self.shortest is not None:
            short, long = sorted((height, width))
            sides = self.shortest, int(self.shortest * long / short)
            rows, columns = sides if height <= width else sides[::-1]
        top, left = self.half((rows - self.crop[0]) / 2), self.half((columns - self.crop[1]) / 2)
        y, x = height / rows, width / columns
        return left * x, top * y, (left + self.crop[1]) * x, (top + self.crop[0]) * y


class ImageProcessor:
    """The library's image processor of a model, on Pillow where it has that form.

    Args:
        name: the model's name or folder.
        config: the configuration of the model, or of its vision tower.
        untrained: whether the weights are random: a model without settings is then given those of a ViT.

    Attributes:
        identity: what changes a number: the settings, and the library that resizes.
        patched: whether it cuts patches of the native aspect (NaFlex).

    Raises:
        WeightsError: there is none, or boxes cannot follow what it does.
    """

    def __init__(self, name: str, config: Any, untrained: bool) -> None:
        self._processor = processor = load_processor(name, config, untrained)
        timm = getattr(processor, "data_config", None)
        settings = _plain(timm) if timm is not None else settings_of(processor)
        fast = type(processor).__name__.endswith("Fast")  # before transformers 5
        backend = getattr(processor, "backend", "torchvision" if fast else "pil")
        self.identity: dict[str, Any] = {"processor": settings, "backend": "pil" if timm is not None else backend}
        self.patched = "max_num_patches" in settings
        self._options = {} if timm is not None else {"input_data_format": "channels_last"}
        self._geometry = _timm_geometry(timm) if timm is not None else _geometry(settings)
        if not self.patched:
            self._check(name)

    def __call__(self, image: np.ndarray) -> tuple[torch.Tensor, Rectangle]:
        """Return the model's input of an image, (H, W, 3) uint8 RGB, and what it shows of it.

        The input is (3, height, width), or (rows, columns, values) of cut patches; float32.
        """
        if self.identity["backend"] != "pil":
            image = np.require(image, requirements="W")  # PyTorch warns of arrays that cannot be written
        given = self._processor(images=image, return_tensors="pt", **self._options)
        pixels: torch.Tensor = given["pixel_values"][0]
        if self.patched:
            rows, columns = given["spatial_shapes"][0].tolist()
            pixels = pixels[: rows * columns].view(rows, columns, -1)
        return pixels.float(), self._geometry.seen(*image.shape[:2])

    def _check(self, name: str) -> None:
        """Compare where `Geometry` puts the pixels with where they come from: they are coloured by their position."""
        for height, width in ((140, 200), (200, 140)):
            black, white, ramp = (np.zeros((height, width, 3), np.uint8) for _ in range(3))
            white[:] = 255
            ramp[..., 0], ramp[..., 1] = np.arange(width), np.arange(height)[:, None]
            low, high, found = (self(image)[0][:2].double() for image in (black, white, ramp))
            place = (found - low) / (high - low) * 255 + 0.5  # x and y of what each pixel shows
            x1, y1, x2, y2 = self._geometry.seen(height, width)
            x = x1 + (torch.arange(place.shape[2]) + 0.5) / place.shape[2] * (x2 - x1)
            y = y1 + (torch.arange(place.shape[1]) + 0.5) / place.shape[1] * (y2 - y1)
            off = max(float((place[0] - x).abs().mean()), float((place[1] - y[:, None]).abs().mean()))
            if not off < 2:
                raise WeightsError(
                    f"the image processor of {name} ({type(self._processor).__name__}) does more than resize and crop",
                    expected="pixels where its size and crop put them, so that boxes can be told",
                    found=f"pixels that are {off:.1f} pixels away on average, in an image of {width} x {height}",
                    next_step="choose another model, or its plain image processor",
                )


def load_processor(name: str, config: Any, untrained: bool) -> Any:
    """Return the library's image processor of a model, on Pillow where it has that form; see `ImageProcessor`."""

    def lacking() -> bool:
        return config.model_type != "timm_wrapper" and not any(locate(name, file) for file in FILES)

    if untrained and lacking():
        side = getattr(config, "image_size", None)
        return transformers.ViTImageProcessor(**({"size": {"height": side, "width": side}} if _is_int(side) else {}))
    options: dict[str, Any] = {"use_fast": False}
    if int(transformers.__version__.split(".")[0]) >= 5:
        options["backend"] = "pil"
    try:
        return load_part(transformers.AutoImageProcessor, name, "image processor", **options)
    except WeightsError as error:
        if "does not have a slow version" in str(error):  # DINOv3's, before transformers 5
            return load_part(transformers.AutoImageProcessor, name, "image processor", use_fast=True)
        if not lacking():
            raise
        raise WeightsError(
            f"{name} holds no settings of an image processor",
            expected=f"{FILES[0]} beside its config.json: size, crop, mean and deviation",
            next_step=f"put the {FILES[0]} of the model that it was made from into its folder",
        ) from error


def settings_of(processor: Any) -> dict[str, Any]:
    """Return what changes a number, without what is off."""
    known = {key: value for key, value in processor.to_dict().items() if not key.startswith("_") and key not in _SILENT}
    known = {key: _plain(value) for key, value in known.items()}
    off = {
        *(("size", "resample", "crop_pct") if not known.get("do_resize", True) else ()),
        *(("crop_size",) if not known.get("do_center_crop") else ()),
        *(("rescale_factor",) if not known.get("do_rescale", True) else ()),
        *(("image_mean", "image_std") if not known.get("do_normalize", True) else ()),
    }
    return {key: value for key, value in known.items() if value not in (None, False) and key not in off}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; the sizes that are not given are left out."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if _is_int(value) else value  # Pillow's filters are enumerations


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _geometry(settings: dict[str, Any]) -> Geometry:
    size, crop = settings.get("size", {}), settings.get("crop_size")
    shortest = size.get("shortest_edge")
    if "crop_pct" in settings and shortest:  # ConvNeXt's
        if shortest < 384:
            return Geometry(shortest=int(shortest / settings["crop_pct"]), crop=(shortest, shortest))
        return Geometry(stretched=(shortest, shortest))
    stretched = (size["height"], size["width"]) if {"height", "width"} <= size.keys() else None
    return Geometry(shortest, stretched, (crop["height"], crop["width"]) if crop else None)


def _timm_geometry(settings: dict[str, Any]) -> Geometry:
    height, width = settings["input_size"][-2:]
    scaled = math.floor(height / settings["crop_pct"]), math.floor(width / settings["crop_pct"])
    if settings["crop_mode"] == "squash":
        return Geometry(stretched=scaled, crop=(height, width), half=round)
    return Geometry(shortest=scaled[0], crop=(height, width), half=round)
