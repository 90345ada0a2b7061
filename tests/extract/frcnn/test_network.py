"""The layers against the plain reference, stage by stage, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itin.extract.frcnn.initial import randomize
from itin.extract.frcnn.network import Backbone, FasterRCNN
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES, Architecture

from ...frcnn_small import NAMES, SMALL, network, reference

SIZE = (93, 142)


def image(seed: int = 0, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(seed)) * 64


def close(own: torch.Tensor, wanted: np.ndarray, tolerance: float = 1e-4) -> None:
    scale = float(np.abs(wanted).max())
    assert scale > 0
    np.testing.assert_allclose(own.numpy(), wanted, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_backbone_and_proposal_head(name: str, folded: bool) -> None:
    made = network(name)
    plain = reference(made)
    if folded:
        made.fold()
        assert not [key for key in made.state_dict() if "norm" in key]
    maps, extents = made.backbone(image()[None], [SIZE])
    wanted = plain.backbone(image().double().numpy())
    assert extents == [wanted.shape[1:]]
    close(maps[0], wanted)
    logits, deltas = made.proposal_generator.rpn_head(maps)
    from itin.extract.frcnn.proposals import anchor_scores

    scores, moves = plain.rpn(wanted)
    close(anchor_scores(logits, made.recipe).flatten(), scores)
    close(deltas.permute(0, 2, 3, 1).reshape(-1, 4), moves)


@pytest.mark.parametrize("name", NAMES)
def test_second_stage(name: str) -> None:
    made = network(name)
    plain = reference(made)
    pooled = torch.rand(5, 64, 14, 14, generator=torch.Generator().manual_seed(1)) * 3
    features = made.roi_heads.res5(pooled).mean((2, 3))
    stride, dilation = (2, 1) if name == "d2" else (1, 2)
    wanted = [plain.stage(p, "roi_heads.res5", stride, dilation).mean((1, 2)) for p in pooled.double().numpy()]
    close(features, np.array(wanted))
    logits, deltas, attributes = made.roi_heads.box_predictor(features)
    heads = [plain.heads(row) for row in wanted]
    for own, index in ((logits, 0), (deltas, 1), (attributes, 2)):
        close(own, np.array([head[index] for head in heads]))


@pytest.mark.parametrize("pool", ["ceil", "pad"])
@pytest.mark.parametrize("side", range(32, 48))
def test_extents_are_the_sizes_that_the_layers_give(pool: str, side: int) -> None:
    backbone = Backbone(Architecture(blocks=(1, 1, 1, 1), stem=2, inner=1, outer=2), pool)
    with torch.no_grad():
        maps, extents = backbone(torch.zeros(1, 3, side, 40), [(side, 40)])
    assert extents == [tuple(maps.shape[2:])]


@pytest.mark.parametrize("name", ["hf", "d2"])
def test_padding_never_reaches_an_image(name: str) -> None:
    """Images of every size class share a batch; each one's part equals the image alone."""
    made = network(name).fold()
    sizes = [(93, 142), (142, 93), (96, 96), (64, 143), (143, 64), (33, 35), (144, 144)]
    batch = torch.zeros(len(sizes), 3, 150, 151)
    for i, (h, w) in enumerate(sizes):
        batch[i, :, :h, :w] = image(i, (h, w))
    maps, extents = made.backbone(batch, sizes)
    head = made.proposal_generator.rpn_head(maps)
    for i, (h, w) in enumerate(sizes):
        alone, own = made.backbone(image(i, (h, w))[None], [(h, w)])
        assert extents[i] == own[0] == tuple(alone.shape[2:])
        y, x = extents[i]
        torch.testing.assert_close(maps[i, :, :y, :x], alone[0], rtol=1e-5, atol=1e-5)
        for together, single in zip(head, made.proposal_generator.rpn_head(alone), strict=True):
            torch.testing.assert_close(together[i, :, :y, :x], single[0], rtol=1e-5, atol=1e-5)


def test_the_public_architecture() -> None:
    """Names and shapes of the 262 MB files."""
    with torch.device("meta"):
        states = {name: FasterRCNN(ARCHITECTURES[r.family], r).state_dict() for name, r in RECIPES.items()}
    shapes = {name: {key: tuple(value.shape) for key, value in state.items()} for name, state in states.items()}
    hf = shapes["hf"]
    assert hf == shapes["airsplay"]
    assert hf["backbone.stem.conv1.weight"] == (64, 3, 7, 7)
    assert hf["backbone.res4.22.conv3.norm.running_var"] == (1024,)
    assert "backbone.res4.23.conv1.weight" not in hf
    assert hf["roi_heads.res5.2.conv2.weight"] == (512, 512, 3, 3)
    assert hf["proposal_generator.rpn_head.conv.weight"] == (512, 1024, 3, 3)
    assert hf["proposal_generator.rpn_head.objectness_logits.weight"] == (12, 512, 1, 1)
    assert hf["proposal_generator.anchor_generator.cell_anchors.0"] == (12, 4)
    assert hf["roi_heads.box_predictor.cls_score.weight"] == (1601, 2048)
    assert hf["roi_heads.box_predictor.bbox_pred.weight"] == (6400, 2048)
    assert hf["roi_heads.box_predictor.cls_embedding.weight"] == (1601, 256)
    assert hf["roi_heads.box_predictor.fc_attr.weight"] == (512, 2304)
    assert hf["roi_heads.box_predictor.attr_score.weight"] == (401, 512)
    assert shapes["caffe"]["proposal_generator.rpn_head.objectness_logits.weight"] == (24, 512, 1, 1)
    assert shapes["caffe"]["roi_heads.box_predictor.bbox_pred.weight"] == (6404, 2048)
    assert shapes["d2"]["proposal_generator.rpn_head.conv.weight"] == (1024, 1024, 3, 3)
    assert shapes["d2"]["proposal_generator.rpn_head.objectness_logits.weight"] == (15, 1024, 1, 1)
    assert shapes["d2"]["roi_heads.box_predictor.attr_score.weight"] == (400, 512)
    number = sum(int(np.prod(shape)) for shape in hf.values())
    assert number * 4 == pytest.approx(262e6, rel=0.02)


def test_a_seed_means_the_same_weights() -> None:
    first, second, other = (randomize(FasterRCNN(SMALL, RECIPES["hf"]), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    key = "roi_heads.res5.0.conv2.weight"
    assert not torch.equal(first[key], other[key])


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="four stages and positive sizes are needed"):
        Architecture(blocks=(3, 0, 23, 3))
    with pytest.raises(ValueError, match="0 < short_side <= long_side is needed, got 9 and 8"):
        type(RECIPES["hf"])(name="x", family="hf", short_side=9, long_side=8)
    with pytest.raises(ValueError, match="rpn_nms must lie between 0 and 1"):
        type(RECIPES["hf"])(name="x", family="hf", short_side=8, long_side=8, rpn_nms=1.0)
    with pytest.raises(ValueError, match="pre_nms, post_nms and pooled must be positive"):
        type(RECIPES["hf"])(name="x", family="hf", short_side=8, long_side=8, post_nms=0)
