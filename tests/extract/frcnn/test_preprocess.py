"""Resizing and channel order against the plain reference, and against what OpenCV and Pillow do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from itin.extract.frcnn.preprocess import MIN_SIDE, prepare, resized_size
from itin.extract.frcnn.recipe import BUA_MEAN, RECIPES

from ... import frcnn_reference as plain
from ...frcnn_small import NAMES, picture, recipe


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sides", [(101, 157), (160, 91), (300, 311), (60, 400)])
def test_equals_the_reference(name: str, sides: tuple[int, int]) -> None:
    image = picture(*sides)
    own = prepare(image, recipe(name, short_side=90, long_side=140))
    pixels, scale, back = plain.prepare(image, plain.RULES[name] | {"short": 90, "long": 140})
    assert own.size == (max(pixels.shape[1], MIN_SIDE), max(pixels.shape[2], MIN_SIDE))
    if own.size == pixels.shape[1:]:
        np.testing.assert_allclose(
            own.pixels.numpy(), pixels, atol=5e-3 if name == "hf" else 1e-4
        )  # hf: float32 places
        assert own.to_original == pytest.approx(back, rel=1e-12)
    assert own.scale == pytest.approx(scale, rel=1e-12)
    assert own.original == sides


@pytest.mark.parametrize("name", NAMES)
def test_channels_are_blue_green_red(name: str) -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, :] = (200, 100, 50)  # red, green, blue
    own = prepare(image, recipe(name))
    mean = np.array(RECIPES[name].mean)
    assert mean[0] < mean[1] < mean[2]  # blue is the darkest of the means
    values = own.pixels[:, 3, 4].numpy() + mean
    np.testing.assert_allclose(values, (50, 100, 200), atol=1e-4)


def test_channels_can_be_turned_to_repeat_a_port_that_reads_rgb() -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, :] = (200, 100, 50)
    own = prepare(image, recipe("hf", channels="RGB"))
    np.testing.assert_allclose(own.pixels[:, 0, 0].numpy() + np.array(BUA_MEAN), (200, 100, 50), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "sides", "wanted"),
    [
        ("hf", (400, 600), (800, 1200)),
        ("hf", (600, 400), (1200, 800)),
        ("hf", (300, 600), (667, 1333)),  # the long side binds
        ("airsplay", (480, 640), (600, 800)),
        ("airsplay", (375, 500), (600, 800)),
        ("caffe", (333, 500), (600, 901)),
        ("caffe", (300, 500), (600, 1000)),
        ("caffe", (299, 500), (598, 1000)),
        ("d2", (1536, 2048), (600, 800)),
    ],
)
def test_sizes_of_the_public_recipes(name: str, sides: tuple[int, int], wanted: tuple[int, int]) -> None:
    height, width, scale = resized_size(*sides, RECIPES[name])
    assert (height, width) == wanted
    assert scale == pytest.approx(wanted[0] / sides[0], rel=2e-3)


def test_opencv_takes_its_step_from_the_scale_not_from_the_sizes() -> None:
    """100 pixels at 0.9055 become 91; OpenCV's step stays 1 / 0.9055 rather than 100 / 91."""
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :, 0] = np.arange(100, dtype=np.uint8)
    base = recipe("caffe", short_side=1, long_side=1)
    steps = {}
    for resize in ("cv2", "float"):
        changed = replace(base, resize=resize, short_side=91, long_side=91)
        steps[resize] = prepare(image, changed).pixels[2, 50, 45].item() + changed.mean[2]
    assert steps["cv2"] == pytest.approx(45.5 * 100 / 91 - 0.5, abs=1e-3)  # here both agree: the scale is 0.91
    odd = replace(base, short_side=600, long_side=1000)
    wide = np.zeros((401, 333, 3), np.uint8)
    wide[:, :, 0] = (np.arange(401) % 256)[:, None]
    own = prepare(wide, odd)
    scale = 600 / 333
    assert own.size == (round(401 * scale), 600)
    at = (300 + 0.5) / scale - 0.5
    assert own.pixels[2, 300, 10].item() + odd.mean[2] == pytest.approx(at, abs=1e-3)
    assert own.to_original == (1 / scale, 1 / scale)


def test_a_strip_of_an_image_keeps_a_least_side() -> None:
    own = prepare(picture(3, 900), RECIPES["caffe"])
    assert own.size == (MIN_SIDE, 1000)
    assert own.to_original == pytest.approx((900 / 1000, 3 / MIN_SIDE))
    assert torch.isfinite(own.pixels).all()


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_anything_but_rgb_bytes_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"shape \(H, W, 3\) and dtype uint8 is needed"):
        prepare(image, RECIPES["hf"])
