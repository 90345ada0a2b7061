"""The whole detector against the plain reference, and against itself in other batches and chunks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from itin.extract.frcnn.detector import Detector
from itin.extract.frcnn.network import ConvNorm
from itin.extract.frcnn.preprocess import prepare
from itin.extract.frcnn.selection import RegionSelection

from ... import frcnn_reference as plain
from ...frcnn_small import NAMES, network, picture, recipe, reference

Results = list[dict[str, np.ndarray]]
CPU = torch.device("cpu")
IDS = ("objects", "attributes")


def detector(name: str, selection: RegionSelection | None = None, **options: Any) -> Detector:
    changes = options.pop("changes", {})
    return Detector(network(name, **changes), selection or RegionSelection(max_regions=12), device=CPU, **options)


def same(one: Results, two: Results) -> None:
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for key in first:
            if key in IDS:
                np.testing.assert_array_equal(first[key], second[key])
            else:
                np.testing.assert_allclose(first[key], second[key], rtol=2e-4, atol=2e-4 * np.abs(second[key]).max())


@pytest.mark.parametrize(
    ("name", "rule", "least", "most"),
    [
        ("caffe", "original", 5, 30),
        ("airsplay", "hf", 12, 12),
        ("hf", "original", 10, 12),
        ("hf", "hf", 36, 36),
        ("d2", "original", 20, 36),
    ],
)
def test_equals_the_reference(name: str, rule: Any, least: int, most: int) -> None:
    made = network(name)
    net = reference(made)
    image = picture(77, 110, 3)
    own = Detector(made, RegionSelection(rule, most, least), device=CPU)([prepare(image, made.recipe)])[0]
    wanted = plain.detect(net, image, rule, least, most)
    del wanted["rows"]
    wanted["boxes"] = np.array([plain.cut(box, image.shape[:2], False) for box in wanted["boxes"]])
    assert len(own["scores"]) == len(wanted["scores"]) > 0
    same([own], [wanted])
    assert {key: value.dtype for key, value in own.items()} == {
        key: np.dtype(np.int32 if key in IDS else np.float32) for key in own
    }


@pytest.mark.parametrize("name", ["caffe", "d2"])
def test_batches_and_chunks_change_nothing(name: str) -> None:
    changes = {"short_side": 100, "long_side": 160}
    used = recipe(name, **changes)
    sides = [(60, 90), (90, 60), (75, 75), (40, 100), (60, 90)]
    images = [prepare(picture(*side, seed), used) for seed, side in enumerate(sides)]
    single = detector(name, changes=changes)
    alone = [single([image])[0] for image in images]
    together = detector(name, batch_size=7, waste=1.0, chunk=13, changes=changes)
    assert len(list(together.groups([image.size for image in images]))) == 1
    same(together(images), alone)
    single.batch_size = 3
    same(single(images[::-1])[::-1], alone)


@pytest.mark.parametrize("name", ["caffe", "d2"])
def test_more_regions_than_are_pooled_together(name: str) -> None:
    changes = {"post_nms": 400, "rpn_nms": 0.95}
    used = recipe(name, **changes)
    images = [prepare(picture(60, 90, seed), used) for seed in range(2)]
    whole, parts = (detector(name, chunk=chunk, changes=changes) for chunk in (1000, 24))
    with torch.inference_mode():
        assert sum(whole.predict(images)[1].counts) > 400
    same(parts(images), whole(images))


def test_regions_go_by_descending_score() -> None:
    for name in NAMES:
        used = recipe(name)
        found = detector(name)([prepare(picture(80, 100, 5), used)])[0]
        assert 10 <= len(found["scores"]) <= 12
        assert (np.diff(found["scores"]) <= 0).all()


def test_boxes_lie_in_the_original_image() -> None:
    for name in NAMES:
        found = detector(name)([prepare(picture(301, 173, 6), recipe(name))])[0]
        boxes = found["boxes"]
        assert (boxes >= 0).all()
        assert boxes[:, 2].max() <= 173
        assert boxes[:, 3].max() <= 301
        assert boxes[:, 3].max() > 173  # pixels of the original, not of the smaller input
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_groups_hold_like_images() -> None:
    sizes = [(600, 800), (800, 600), (600, 820), (600, 1000), (802, 600), (600, 800)]
    made = detector("hf", batch_size=4, waste=0.1)
    assert list(made.groups(sizes)) == [[1, 4], [0, 5, 2], [3]]
    exact = detector("hf", batch_size=4)
    assert list(exact.groups(sizes)) == [[1], [4], [0, 5], [2], [3]]
    assert list(detector("hf", batch_size=2, waste=1.0).groups([(9, 9)] * 5)) == [[0, 1], [2, 3], [4]]
    assert list(exact.groups([])) == []
    assert exact([]) == []


def test_an_image_without_proposals_has_no_regions() -> None:
    made = detector("caffe", changes={"min_side": 1e4})
    found = made([prepare(picture(60, 90), made.recipe)])[0]
    assert found["regions"].shape == (0, 128)
    assert found["boxes"].shape == (0, 4)
    assert all(len(values) == 0 for values in found.values())


def test_strips_and_large_images_stay_bounded() -> None:
    made = detector("caffe")
    images = [prepare(picture(2, 700), made.recipe), prepare(picture(1500, 40), made.recipe)]
    assert all(max(image.size) <= 250 for image in images)
    assert all(np.isfinite(values).all() for found in made(images) for values in found.values())


def test_a_batch_too_large_for_the_memory_is_halved_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used = recipe("hf")
    images = [prepare(picture(60, 90, seed), used) for seed in range(5)]
    made = detector("hf", batch_size=4, chunk=64)
    wanted = detector("hf")(images)
    whole = made.predict

    def small(batch: Any) -> Any:
        if len(batch) > 1:
            raise torch.cuda.OutOfMemoryError("no room")
        return whole(batch)

    monkeypatch.setattr(made, "predict", small)
    with caplog.at_level(logging.WARNING):
        same(made(images), wanted)
    assert (made.batch_size, made.chunk) == (1, 16)
    assert "continuing with 2 images a batch and 32 regions a chunk" in caplog.records[0].message

    def none(batch: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(made, "predict", none)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        made(images)


def test_memory_that_runs_out_while_regions_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """That happens in a thread, beside the next batch."""
    images = [prepare(picture(60, 90, seed), recipe("hf")) for seed in range(5)]
    made = detector("hf", batch_size=2, chunk=64)
    whole = made._finish

    def finish(features: Any, predictions: Any, made_at: Any) -> Any:
        if len(predictions.counts) > 1:
            raise torch.cuda.OutOfMemoryError("no room")
        return whole(features, predictions, made_at)

    monkeypatch.setattr(made, "_finish", finish)
    same(made(images), detector("hf")(images))
    assert made.batch_size == 1


def test_lower_precision_stays_near() -> None:
    image = prepare(picture(80, 100, 5), recipe("hf"))
    exact = detector("hf")
    lower = detector("hf", compute_dtype=torch.bfloat16)
    with torch.inference_mode():
        features, _ = exact.predict([image])
        near, predicted = lower.predict([image])
    assert near.dtype == predicted.proposals.dtype == predicted.logits.dtype == torch.float32
    assert torch.cosine_similarity(features.mean(0), near.mean(0), 0) > 0.99
    assert np.isfinite(lower([image])[0]["regions"]).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 2, 1), (1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 1, 2)], ids=str
)
@pytest.mark.parametrize("added", [False, True])
def test_convolutions_with_all_that_follows_in_one_kernel(kernel: int, stride: int, dilation: int, added: bool) -> None:
    torch.manual_seed(0)
    cin = 3 if kernel == 7 else 64
    layer = ConvNorm(cin, 128, kernel, stride, kernel // 2 * dilation, dilation)
    layer.weight.copy_(torch.randn(layer.weight.shape) / (cin * kernel**2) ** 0.5)
    layer.norm.bias.copy_(torch.randn(128))
    layer.norm.weight.fill_(1.5)
    layer.fold()
    x = torch.randn(2, cin, 38, 50)
    exact = layer(x)
    shortcut = torch.randn_like(exact) if added else torch.zeros_like(exact)
    layer.to("cuda", torch.bfloat16).to(memory_format=torch.channels_last)

    def low(values: torch.Tensor) -> torch.Tensor:
        return values.to("cuda", torch.bfloat16, memory_format=torch.channels_last)

    found = layer.relu(low(x), low(shortcut) if added else None).float().cpu()
    wanted = (exact + shortcut).relu()
    assert 1e-4 < (found - wanted).norm() / wanted.norm() < 1e-2


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"chunk": 0}])
def test_sizes_must_be_positive(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="batch_size and chunk must be at least 1"):
        detector("hf", **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_cuda_equals_the_cpu(name: str) -> None:
    used = recipe(name)
    images = [prepare(picture(60 + seed, 90, seed), used) for seed in range(4)]
    on_cuda = Detector(network(name), RegionSelection(max_regions=12), device=torch.device("cuda"), batch_size=4)
    same(on_cuda(images), detector(name)(images))
