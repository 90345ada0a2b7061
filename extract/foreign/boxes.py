"""Boxes of regions in pixels of the data set's images, whatever image they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .record import Record

ROUNDING = 1e-3
"""Tolerance above 1 of a box's share of its image."""

SHAPE = 0.02
"""Tolerance between the aspect ratios of the features' image and the data set's, beside rounding to pixels."""


def are_shares(record: Record) -> bool:
    """Return whether boxes are shares of width and height: in pixels, all would lie within the image's first pixel."""
    boxes = record.arrays["boxes"]
    return bool(
        boxes.size
        and boxes.min() >= 0
        and 0 < boxes.max() <= 1 + ROUNDING
        and (record.width * record.height > 1 or not record.width)
    )


def other_image(record: Record, sample: Mapping[Any, Any]) -> str | None:
    """Return why the features' image cannot be the sample's at another size; None if it can."""
    width, height = sample["width"], sample["height"]
    if not record.width:
        boxes = record.arrays["boxes"]
        reach = boxes.max(0)[2:] if boxes.size else np.zeros(2)
        if (reach <= np.array([width, height]) * (1 + SHAPE) + 1).all():
            return None
        return f"has boxes up to {reach[0]:g}x{reach[1]:g} pixels, the data set's image has {width}x{height}"
    wide, high = record.width * height, record.height * width
    slack = max(record.width, record.height, width, height)  # half a pixel at either size
    if abs(wide - high) <= max(SHAPE * max(wide, high), slack):
        return None
    return (
        f"was made from an image of {record.width}x{record.height} pixels, the data set's has"
        f" {sample['width']}x{sample['height']}"
    )


def is_scaled(record: Record, sample: Mapping[Any, Any]) -> bool:
    """Return whether the features were made from another size of the sample's image."""
    return bool(record.width) and (record.width, record.height) != (sample["width"], sample["height"])


def in_pixels(record: Record, sample: Mapping[Any, Any]) -> np.ndarray:
    """Return the boxes (k, 4) in pixels of the data set's image."""
    size = (record.width, record.height)
    if are_shares(record):
        size = (1, 1)
    elif not record.width:
        size = (sample["width"], sample["height"])
    factors = np.array([sample["width"] / size[0], sample["height"] / size[1]] * 2, np.float32)
    boxes: np.ndarray = record.arrays["boxes"] * factors
    return boxes
