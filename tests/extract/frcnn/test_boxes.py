"""Anchors, deltas and suppression against the plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import nms as torchvision_nms

from itin.extract.frcnn.boxes import (
    cell_anchors,
    class_nms,
    clip,
    decode,
    grid_anchors,
    nms,
    overlap_bound,
)
from itin.extract.frcnn.recipe import RECIPES

from ... import frcnn_reference as plain
from ...frcnn_small import NAMES


def boxes_of(seed: int, number: int = 60) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (number, 2))
    return torch.tensor(np.concatenate([low, low + rng.uniform(1, 50, (number, 2))], 1), dtype=torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_anchor_order(name: str) -> None:
    """Caffe: all sizes of the first ratio come first; detectron2: all ratios of the first size."""
    own = cell_anchors(RECIPES[name])
    np.testing.assert_allclose(own.numpy(), plain.anchors(name), atol=1e-4)
    sides = own[:, 2:] - own[:, :2] + (1 if name == "caffe" else 0)
    areas, ratios = (sides[:, 0] * sides[:, 1]).sqrt(), sides[:, 1] / sides[:, 0]
    if name == "caffe":
        assert (areas[:4].diff() > 30).all()
        assert own[1].tolist() == [-84, -40, 99, 55]  # as py-faster-rcnn prints it
        assert torch.allclose((own[:, :2] + own[:, 2:]) / 2, torch.tensor(7.5))
    else:
        assert torch.allclose(areas[:3], torch.tensor(float(RECIPES[name].anchor_sizes[0])))
        assert torch.allclose(ratios[:3], torch.tensor([0.5, 1.0, 2.0]))
        assert torch.allclose(own[:, :2], -own[:, 2:])


def test_grid_goes_row_by_row_with_a_positions_anchors_together() -> None:
    cell = torch.tensor([[-1.0, -2.0, 1.0, 2.0], [0.0, 0.0, 5.0, 5.0]])
    grid = grid_anchors(cell, 2, 3, 16)
    assert grid.shape == (12, 4)
    assert grid[3].tolist() == [16, 0, 21, 5]  # row 0, column 1, second anchor
    assert grid[8].tolist() == [15, 14, 17, 18]  # row 1, column 1, first anchor


@pytest.mark.parametrize("plus_one", [False, True])
def test_deltas_and_clipping(plus_one: bool) -> None:
    boxes = boxes_of(1)
    moves = torch.randn(len(boxes), 4, generator=torch.Generator().manual_seed(0)) * 3
    weights = (10.0, 10.0, 5.0, 0.5)  # the last ones reach the limit of exp
    own = decode(moves, boxes, weights, plus_one)
    wanted = [plain.shift(b, m, weights, plus_one) for b, m in zip(boxes.numpy(), moves.numpy(), strict=True)]
    np.testing.assert_allclose(own.numpy(), wanted, rtol=1e-4, atol=1e-3)
    cut = clip(own, torch.tensor([70.0, 90.0]), plus_one)
    np.testing.assert_allclose(cut.numpy(), [plain.cut(b, (70, 90), plus_one) for b in wanted], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("plus_one", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_suppression_is_the_greedy_one(threshold: float, plus_one: bool) -> None:
    for seed in range(4):
        boxes = boxes_of(seed)
        wanted = plain.suppress(boxes.double().numpy(), threshold, plus_one)
        bound = overlap_bound(threshold, plus_one)
        assert nms(boxes, bound, plus_one).tolist() == wanted
        for most in (1, 3, len(wanted), len(boxes)):
            assert nms(boxes, bound, plus_one, most).tolist() == wanted[:most]
        if not plus_one:
            ranks = torch.arange(len(boxes), 0, -1, dtype=torch.float32)
            assert torchvision_nms(boxes, ranks, threshold).tolist() == wanted


def test_first_boxes_that_suppress_one_another_are_not_all() -> None:
    """Where too few of the best boxes are kept, those after them count."""
    same, apart = torch.tensor([[0.0, 0, 10, 10]]).expand(12, 4), torch.tensor([[20.0, 0, 30, 10], [40, 0, 50, 10]])
    boxes = torch.cat([same, apart, apart + 100])
    assert nms(boxes, 0.5, False, 3).tolist() == [0, 12, 13]
    assert nms(boxes, 0.5, False, 1).tolist() == [0]


@pytest.mark.parametrize("plus_one", [False, True])
def test_suppression_within_classes(plus_one: bool) -> None:
    for seed in range(4):
        boxes = boxes_of(seed, 40)
        classes = torch.randint(0, 5, (40,), generator=torch.Generator().manual_seed(seed))
        classes[7] = 9  # alone in its class
        keep = class_nms(boxes, classes, overlap_bound(0.3, plus_one), plus_one)
        wanted: list[int] = []
        for label in classes.unique().tolist():
            index = [i for i in range(40) if classes[i] == label]
            wanted += [index[i] for i in plain.suppress(boxes[index].double().numpy(), 0.3, plus_one)]
        assert keep.nonzero()[:, 0].tolist() == sorted(wanted)


def test_long_chains_of_suppression_settle() -> None:
    """Each box overlaps its neighbours only, so that the fate of the last one hangs on all before it."""
    x = torch.arange(101, dtype=torch.float32) * 4
    boxes = torch.stack([x, torch.zeros(101), x + 10, torch.full((101,), 10.0)], 1)
    assert nms(boxes, 0.4, False).tolist() == list(range(0, 101, 2))


@pytest.mark.parametrize(("inclusive", "stay"), [(True, [0]), (False, [0, 1])])
def test_equality_with_the_threshold(inclusive: bool, stay: list[int]) -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0]])  # overlap 0.5 exactly
    bound = overlap_bound(0.5, inclusive)
    assert nms(boxes, bound, False).tolist() == stay
    assert class_nms(boxes, torch.zeros(2, dtype=torch.int64), bound, False).nonzero()[:, 0].tolist() == stay


def test_the_bound_repeats_comparisons_in_double_and_single() -> None:
    for threshold in (0.3, 0.5, 0.6, 0.7):
        middle = np.float32(threshold)
        for value in (np.nextafter(middle, np.float32(0)), middle, np.nextafter(middle, np.float32(1))):
            assert (value >= np.float32(overlap_bound(threshold, False))) == (float(value) > threshold)
            assert (value >= np.float32(overlap_bound(threshold, True))) == (value >= middle)


def test_nothing_to_suppress() -> None:
    assert nms(torch.zeros(0, 4), 0.7, True).tolist() == []
    assert class_nms(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0.7, False).shape == (0,)
