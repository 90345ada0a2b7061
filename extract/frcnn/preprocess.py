"""Preprocessing of a decoded image: resized, in the weights' channel order, mean subtracted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .recipe import Recipe

MIN_SIDE = 32
"""Least side of a resized image in pixels, so that a very narrow image still has features."""


@dataclass(frozen=True)
class PreparedImage:
    """One image ready for the network."""

    pixels: Tensor
    """(3, h, w) float32, in the recipe's channel order, mean subtracted."""
    original: tuple[int, int]
    """Height and width of the decoded image."""
    scale: float
    """Resized over original side, before rounding to whole pixels."""
    to_original: tuple[float, float]
    """Factors for x and y from the resized to the original image."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the resized image."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])


def resized_size(height: int, width: int, recipe: Recipe) -> tuple[int, int, float]:
    """Return height, width and scale of the resized image: the recipe's short side unless the long side binds."""
    short, long = min(height, width), max(height, width)
    scale = recipe.short_side / short
    if recipe.resize == "cv2":
        if round(scale * long) > recipe.long_side:
            scale = recipe.long_side / long
        sides = round(height * scale), round(width * scale)  # to even on a tie, as OpenCV
    else:
        h, w = (recipe.short_side, scale * width) if height < width else (scale * height, recipe.short_side)
        if max(h, w) > recipe.long_side:
            shrink = recipe.long_side / max(h, w)
            h, w, scale = h * shrink, w * shrink, scale * shrink
        sides = int(h + 0.5), int(w + 0.5)
    return max(sides[0], MIN_SIDE), max(sides[1], MIN_SIDE), scale


def prepare(image: np.ndarray, recipe: Recipe) -> PreparedImage:
    """Resize one image and subtract the mean.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image of shape (H, W, 3) and dtype uint8 is needed, got {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    h, w, scale = resized_size(height, width, recipe)
    by_scale = recipe.resize == "cv2" and (h, w) == (round(height * scale), round(width * scale))
    if recipe.resize == "pil":
        shrunk = np.array(Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(shrunk).permute(2, 0, 1).to(torch.float32)
    elif recipe.resize == "cv2":
        # OpenCV's step is 1 / scale where it is given a scale, not the quotient of the rounded sizes.
        steps = (1 / scale, 1 / scale) if by_scale else (height / h, width / w)
        pixels = torch.from_numpy(_bilinear(image, (h, w), steps)).permute(2, 0, 1)
    else:
        whole = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32)
        pixels = F.interpolate(whole[None], (h, w), mode="bilinear", align_corners=False)[0]
    if recipe.channels == "BGR":
        pixels = pixels.flip(0)
    pixels = pixels - torch.tensor(recipe.mean)[:, None, None]
    to_original = (1 / scale, 1 / scale) if by_scale else (width / w, height / h)
    return PreparedImage(pixels.contiguous(), (height, width), scale, to_original)


def _bilinear(image: np.ndarray, size: tuple[int, int], steps: tuple[float, float]) -> np.ndarray:
    """Sample bilinearly, (H, W, 3) uint8 -> (h, w, 3) float32; positions in float64, pixel centres at halves."""
    for axis, (side, step) in enumerate(zip(size, steps, strict=True)):
        last = image.shape[axis] - 1
        place = np.clip((np.arange(side) + 0.5) * step - 0.5, 0, last)
        low = np.floor(place).astype(np.int64)
        share = (place - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        first = image.take(low, axis).astype(np.float32)
        second = image.take(np.minimum(low + 1, last), axis).astype(np.float32)
        image = first + (second - first) * share
    return image
