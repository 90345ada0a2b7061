"""Poolers against the plain reference and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align, roi_pool

from itin.extract.frcnn.pooling import AlignPooler, MaxPooler, spread

from ... import frcnn_reference as plain


def rois(seed: int, number: int, height: int, width: int) -> torch.Tensor:
    """Boxes in an image of `height` x `width`, some at its borders and some without size."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (number, 2, 2)), 1) * (width, height)
    corners[:3] = [[[0, 0], [width, height]], [[width, height], [width, height]], [[7.99, 8], [8, 8.01]]]
    return torch.tensor(corners.reshape(-1, 4), dtype=torch.float32)


@pytest.mark.parametrize(("height", "width"), [(9, 13), (38, 57), (2, 63), (50, 84)])
def test_max_pooler_equals_roi_pool_exactly(height: int, width: int) -> None:
    features = torch.rand(2, 5, height, width, generator=torch.Generator().manual_seed(0))
    boxes = rois(1, 60, height * 16 - 8, width * 16 - 8)
    images = torch.arange(len(boxes)) % 2
    own = MaxPooler(features, [(height, width)] * 2, 14)(boxes, images)
    wanted = roi_pool(features, torch.cat([images[:, None].float(), boxes], 1), 14, 1 / 16)
    assert torch.equal(own, wanted)
    assert own.is_contiguous(memory_format=torch.channels_last)


def test_distinct_bins_are_few_and_all_there() -> None:
    features = torch.rand(2, 3, 38, 57, generator=torch.Generator().manual_seed(0))
    boxes = rois(5, 80, 600, 900)
    images = torch.arange(80) // 40
    pooler = MaxPooler(features, [(38, 57)] * 2, 14)
    distinct, index = pooler.bins(boxes, images)
    values = pooler.values(distinct)
    assert torch.equal(index.unique(), torch.arange(len(values)))
    assert len(values) < 0.8 * index.numel()
    assert torch.equal(spread(values, index), pooler(boxes, images))


def test_max_pooler_equals_the_reference() -> None:
    features = torch.rand(1, 3, 11, 17, generator=torch.Generator().manual_seed(0))
    boxes = rois(2, 20, 170, 265)
    own = MaxPooler(features, [(11, 17)], 14)(boxes, torch.zeros(20, dtype=torch.int64))
    wanted = [plain.roi_pool(features[0].numpy(), box) for box in boxes.double().numpy()]
    np.testing.assert_array_equal(own.numpy(), np.array(wanted, np.float32))


def test_align_pooler_equals_the_reference_and_torchvision() -> None:
    features = torch.rand(2, 3, 11, 17, generator=torch.Generator().manual_seed(0))
    boxes = rois(3, 12, 170, 265)
    images = torch.arange(12) // 6
    own = AlignPooler(features, [(11, 17)] * 2, 14)(boxes, images)
    together = torch.cat([images[:, None].float(), boxes], 1)
    torch.testing.assert_close(own, roi_align(features, together, 14, 1 / 16, 2, True))
    for i in range(12):
        wanted = plain.roi_align(features[images[i]].double().numpy(), boxes[i].double().numpy())
        np.testing.assert_allclose(own[i].numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("pooler", [MaxPooler, AlignPooler])
def test_nothing_outside_an_images_own_part_is_read(pooler: type[MaxPooler] | type[AlignPooler]) -> None:
    features = torch.rand(2, 4, 20, 24, generator=torch.Generator().manual_seed(0))
    alone = pooler(features[:1, :, :9, :13].clone(), [(9, 13)], 14)
    boxes = rois(4, 30, 9 * 16 - 3, 13 * 16 - 3)
    numbers = torch.zeros(30, dtype=torch.int64)
    wanted = alone(boxes, numbers)
    features[0, :, 9:] = 1e6
    features[0, :, :, 13:] = 1e6
    torch.testing.assert_close(pooler(features, [(9, 13), (20, 24)], 14)(boxes, numbers), wanted)


@pytest.mark.parametrize("pooler", [MaxPooler, AlignPooler])
def test_no_regions(pooler: type[MaxPooler] | type[AlignPooler]) -> None:
    made = pooler(torch.rand(1, 4, 5, 6), [(5, 6)], 14)
    assert made(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).shape == (0, 4, 14, 14)
