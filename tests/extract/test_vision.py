"""Regions and context of vision models: order, boxes, pooling, and one forward pass for both kinds."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from itin.extract.config import EncoderConfig
from itin.extract.encoders import trunks, vision
from itin.extract.encoders.trunk import VisionInput
from itin.extract.weights.requirement import WeightsRequirement

CPU = torch.device("cpu")


class Pixels:
    """A trunk whose cells are the pixels of the image, doubled, and whose pooled vector is their mean."""

    grid = None
    cell_dim = pooled_dim = 3

    def __init__(self, name: str, device: torch.device, seed: int | None) -> None:
        self.name, self.device = name, device
        self.weights = {"random_init": seed, "sha256": "0" * 64}
        self.preprocessing = {"of": "pixels"}
        self.seen: list[tuple[int, ...]] = []

    @staticmethod
    def needs(name: str) -> WeightsRequirement:
        return WeightsRequirement(name, "nothing", "nowhere", None, "-")

    def prepare(self, image: np.ndarray) -> VisionInput:
        height, width = image.shape[:2]
        tensor = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
        return VisionInput(tensor, (10.0, 20.0, 10.0 + width, 20.0 + height), (10 + width, 20 + height))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(tuple(pixels.shape))
        return 2 * pixels, pixels.mean((2, 3))


@pytest.fixture(autouse=True)
def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunks, "TRUNKS", {"pixels": "nowhere:Pixels"})
    monkeypatch.setattr(trunks, "_class_of", lambda name: Pixels)


def config(**options: Any) -> EncoderConfig:
    return EncoderConfig(regions="pixels", context_encoder="pixels", random_init=0, **options)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), np.uint8)


def test_cells_are_ordered_by_cosine_with_the_pooled_vector_and_boxed_in_the_image() -> None:
    encoder = vision.PatchRegions(config(max_regions=4), CPU)
    one = image(2, 3)
    (found,) = encoder.encode([encoder.prepare(one)])
    cells = 2 * one.reshape(-1, 3).astype(np.float64)
    mean = one.reshape(-1, 3).mean(0)
    cosine = cells @ mean / np.linalg.norm(cells, axis=1) / np.linalg.norm(mean)
    order = np.argsort(-cosine, kind="stable")[:4]
    np.testing.assert_allclose(found["scores"], cosine[order], rtol=1e-5)
    np.testing.assert_array_equal(found["regions"], cells[order])
    corners = np.array([[10 + i % 3, 20 + i // 3, 11 + i % 3, 21 + i // 3] for i in order])
    np.testing.assert_allclose(found["boxes"], corners, rtol=1e-6)


@pytest.mark.parametrize(("size", "grid"), [((7, 7), (3, 3)), ((5, 8), (2, 3)), ((4, 6), (2, 3)), ((2, 2), (3, 3))])
def test_a_grid_pools_the_cells_within_its_boxes(size: tuple[int, int], grid: tuple[int, int]) -> None:
    rows, columns = grid
    encoder = vision.PatchRegions(config(region_grid=f"{rows}x{columns}"), CPU)
    one = image(*size)
    (found,) = encoder.encode([encoder.prepare(one)])
    assert len(found["boxes"]) == rows * columns
    for vector, box in zip(found["regions"], found["boxes"], strict=True):
        x1, y1, x2, y2 = np.round(box - [10, 20, 10, 20]).astype(int)
        np.testing.assert_allclose(box - [10, 20, 10, 20], [x1, y1, x2, y2], atol=1e-5)
        np.testing.assert_allclose(vector, 2 * one[y1:y2, x1:x2].reshape(-1, 3).mean(0), rtol=1e-5)


def test_one_forward_pass_serves_regions_and_context() -> None:
    regions, context = vision.PatchRegions(config(), CPU), vision.PooledContext(config(), CPU)
    assert context.trunk is regions.trunk
    trunk = cast(Any, regions.trunk)
    images = [image(2, 3, 1), image(4, 4, 2), image(2, 3, 3)]
    prepared = [regions.prepare(one) for one in images]
    regions.encode(prepared)
    assert sorted(trunk.seen) == [(1, 3, 4, 4), (2, 3, 2, 3)]
    vectors = [found["context"] for found in context.encode(prepared)]
    assert len(trunk.seen) == 2
    np.testing.assert_allclose(vectors, [one.reshape(-1, 3).mean(0) for one in images], rtol=1e-6)


def test_other_weights_are_another_trunk() -> None:
    regions = vision.PatchRegions(config(), CPU)
    other = EncoderConfig(regions="pixels", context_encoder="pixels", random_init="regions=0,context=1")
    context = vision.PooledContext(other, CPU)
    assert context.trunk is not regions.trunk
    assert (regions.spec.weights["random_init"], context.spec.weights["random_init"]) == (0, 1)


def test_the_grid_is_part_of_the_identity() -> None:
    specs = [vision.PatchRegions(config(region_grid=grid), CPU).spec for grid in (None, "2x2", "2x3")]
    assert [spec.preprocessing["grid"] for spec in specs] == ["cells", [2, 2], [2, 3]]
