"""Selection against the plain reference: both rules, every family, ties, few boxes and none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from itin.extract.frcnn import selection as module
from itin.extract.frcnn.recipe import Recipe
from itin.extract.frcnn.selection import (
    Predictions,
    RegionSelection,
    SelectedRegions,
    attribute_probabilities,
    object_probabilities,
    select,
)

from ... import frcnn_reference as plain
from ...frcnn_small import NAMES, recipe

CLASSES, ATTRIBUTES = 12, 7
SIZE, ORIGINAL, BACK = (120.0, 160.0), (60.0, 96.0), (0.6, 0.5)


def predictions(used: Recipe, counts: list[int], seed: int = 0, spread: float = 2.0) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    number = sum(counts)
    low = torch.rand(number, 2, generator=generator) * torch.tensor([110.0, 80.0])
    boxes = torch.cat([low, low + 8 + torch.rand(number, 2, generator=generator) * 38], 1)
    columns = CLASSES + (used.background == "first")
    scale = torch.tensor(used.box_weights).repeat(columns)
    return Predictions(
        logits=torch.randn(number, CLASSES + 1, generator=generator) * spread,
        deltas=torch.randn(number, 4 * columns, generator=generator) * 0.15 * scale,
        attributes=torch.randn(number, ATTRIBUTES + (used.attribute_background != "none"), generator=generator),
        proposals=boxes,
        images=torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)),
        counts=counts,
        sizes=torch.tensor([SIZE] * len(counts)),
        originals=torch.tensor([ORIGINAL] * len(counts)),
        to_original=torch.tensor([BACK] * len(counts)),
    )


def wanted(p: Predictions, used: Recipe, rule: str, least: int, most: int) -> list[list[tuple[int, float]]]:
    """The reference's rows and scores of each image."""
    found, start = [], 0
    for count in p.counts:
        rows = range(start, start + count)
        objects = np.array([plain.object_probabilities(used.name, p.logits[i].double().numpy()) for i in rows])
        boxes = np.array([[seen(p, used, i, label)[0] for label in range(CLASSES)] for i in rows])
        kept = plain.select(used.name, rule, objects.reshape(-1, CLASSES), boxes, least, most) if count else []
        found.append([(start + i, score) for i, score in kept])
        start += count
    return found


def seen(p: Predictions, used: Recipe, row: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    size = (int(SIZE[0]), int(SIZE[1]))
    proposal, deltas = p.proposals[row].double().numpy(), p.deltas[row].double().numpy()
    return plain.outgoing(used.name, proposal, deltas, label, size, used.box_weights, BACK)


def check(p: Predictions, used: Recipe, rule: str, chosen: SelectedRegions, least: int, most: int) -> None:
    rows = wanted(p, used, rule, least, most)
    assert chosen.counts == [len(own) for own in rows]
    flat = [pair for own in rows for pair in own]
    assert chosen.rows.tolist() == [row for row, _ in flat]
    np.testing.assert_allclose(chosen.scores.numpy(), [score for _, score in flat], rtol=1e-5, atol=1e-7)
    for k, (row, _) in enumerate(flat):
        objects = plain.object_probabilities(used.name, p.logits[row].double().numpy())
        attributes = plain.attribute_probabilities(used.name, p.attributes[row].double().numpy())
        assert chosen.objects[k] == objects.argmax()
        assert chosen.attributes[k] == attributes.argmax()
        assert chosen.object_scores[k].item() == pytest.approx(objects.max(), rel=1e-5)
        assert chosen.attribute_scores[k].item() == pytest.approx(attributes.max(), rel=1e-5)
        box = plain.cut(seen(p, used, row, int(objects.argmax()))[1], ORIGINAL, False)
        np.testing.assert_allclose(chosen.boxes[k].numpy(), box, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rule", ["original", "hf"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("least", "most"), [(0, 100), (10, 14), (30, 60)])
def test_equals_the_reference(name: str, rule: Any, least: int, most: int) -> None:
    used = recipe(name)
    p = predictions(used, [40, 0, 25, 1, 6], most, 0.5 if most == 60 else 2.0)
    check(p, used, rule, select(p, used, RegionSelection(rule, most, least)), least, most)


@pytest.mark.parametrize("name", NAMES)
def test_all_three_ways_to_the_class_scores_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores above the threshold, the best scores, and all scores."""
    used = recipe(name)
    p = predictions(used, [40, 30], 2, 0.7)
    selection = RegionSelection(max_regions=35, min_regions=30)
    ways = [select(p, used, selection)]
    monkeypatch.setattr(module, "BEST", 100)
    ways.append(select(p, used, selection))
    monkeypatch.setattr(module, "BEST", 1)  # never enough
    ways.append(select(p, used, selection))
    check(p, used, "original", ways[0], 30, 35)
    for other in ways[1:]:
        assert other.rows.tolist() == ways[0].rows.tolist()
        assert torch.equal(other.scores, ways[0].scores)


def test_rows_go_by_score_where_the_original_keeps_proposal_order() -> None:
    """Within the limits the original leaves the proposals' order, so that its first rows are not the best."""
    used = recipe("caffe")
    p = predictions(used, [40], 3, 1.2)
    chosen = select(p, used, RegionSelection(max_regions=36))
    assert 10 < chosen.counts[0] < 36
    assert (chosen.scores.diff() <= 0).all()
    assert chosen.rows.tolist() != sorted(chosen.rows.tolist())
    assert (chosen.scores >= 0.2).all()


@pytest.mark.parametrize("rule", ["original", "hf"])
@pytest.mark.parametrize("name", ["caffe", "hf"])
def test_ties_go_by_proposal_index(name: str, rule: Any) -> None:
    """Equal logits for distant boxes: the order is the proposals'; for equal boxes: the first one stays."""
    used = recipe(name)
    p = predictions(used, [24], 4)
    x = torch.arange(12).repeat(2) * 13.0
    boxes = torch.stack([x, torch.zeros(24), x + 8, torch.full((24,), 20.0)], 1)  # proposal 12 + i lies upon i
    p = replace(p, logits=p.logits[:1].expand(24, -1), deltas=torch.zeros_like(p.deltas), proposals=boxes)
    chosen = select(p, used, RegionSelection(rule, 20, 1))
    assert chosen.rows[:12].tolist() == list(range(12))
    assert chosen.counts == [12]


def test_the_best_class_may_be_suppressed_and_the_second_decide() -> None:
    used = recipe("caffe")
    p = predictions(used, [2], 5)
    logits = torch.full((2, CLASSES + 1), -20.0)
    logits[0, 3], logits[1, 3], logits[1, 5] = 5.0, 4.0, 3.5
    boxes = torch.tensor([[0.0, 0.0, 50.0, 50.0], [1.0, 0.0, 51.0, 50.0]])
    chosen = select(replace(p, logits=logits, proposals=boxes), used, RegionSelection(max_regions=5, min_regions=0))
    assert chosen.rows.tolist() == [0, 1]
    assert chosen.objects.tolist() == [2, 2]  # without the background, which comes first
    assert chosen.object_scores[1].item() == pytest.approx(1 / (1 + np.exp(-0.5)), rel=1e-5)
    assert chosen.scores[1].item() == pytest.approx(1 / (1 + np.exp(0.5)), rel=1e-5)


def test_equal_scores_in_all_classes() -> None:
    """Weights that say nothing still give a result: far more equal scores than are looked at together."""
    used = recipe("hf", output_boxes="proposals")
    p = predictions(used, [60, 3], 6)
    wide = replace(p, logits=torch.zeros(63, 501), deltas=torch.zeros(63, 2000))
    chosen = select(wide, used, RegionSelection(max_regions=20))
    assert chosen.counts == [10, 3]
    assert torch.allclose(chosen.scores, torch.tensor(1 / 501))
    kept = [i for i in chosen.rows.tolist() if i < 60]
    first = plain.suppress(p.proposals[:60].double().numpy(), 0.3, False)
    assert kept == first[:10]


def test_hf_takes_the_last_threshold_where_none_gives_enough() -> None:
    used = recipe("hf", output_boxes="proposals")
    p = predictions(used, [8], 7)
    chosen = select(p, used, RegionSelection("hf", 36))
    assert RegionSelection("hf", 36).least == 36
    order = p.logits.softmax(1)[:, :-1].amax(1).argsort(descending=True, stable=True)
    keep = plain.suppress(p.proposals[order].double().numpy(), 0.7, False)
    assert chosen.rows.tolist() == order[keep].tolist()


def test_no_proposals_at_all() -> None:
    used = recipe("d2")
    for rule in ("original", "hf"):
        chosen = select(predictions(used, [0, 0]), used, replace(RegionSelection(), rule=rule))
        assert chosen.counts == [0, 0]
        assert chosen.boxes.shape == (0, 4)
        assert len(chosen.scores) == len(chosen.objects) == len(chosen.attributes) == 0


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_leave_the_background_out(name: str) -> None:
    used = recipe(name)
    p = predictions(used, [5])
    objects, attributes = object_probabilities(p.logits, used), attribute_probabilities(p.attributes, used)
    assert objects.shape == (5, CLASSES)
    assert attributes.shape == (5, ATTRIBUTES)
    assert (objects.sum(1) < 1).all()
    total = attributes.sum(1)
    assert (total < 1).all() if name == "caffe" else torch.allclose(total, torch.ones(5))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="the selection is 'original' or 'hf', got 'best'"):
        RegionSelection("best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_regions must be at least 1, got 0"):
        RegionSelection(max_regions=0)
    with pytest.raises(ValueError, match="min_regions must lie between 0 and max_regions, got 40"):
        RegionSelection(min_regions=40)
    with pytest.raises(ValueError, match="agnostic_nms needs at least one threshold"):
        RegionSelection(agnostic_nms=())
    assert RegionSelection(max_regions=5).least == 5
    assert RegionSelection().least == 10


def test_what_decides_a_number_is_said() -> None:
    assert RegionSelection().as_dict() == {
        "rule": "original",
        "max_regions": 36,
        "min_regions": 10,
        "threshold": 0.2,
        "class_nms": 0.3,
    }
    assert RegionSelection("hf", 20).as_dict() == {
        "rule": "hf",
        "max_regions": 20,
        "min_regions": 20,
        "agnostic_nms": (0.5, 0.6, 0.7),
    }
