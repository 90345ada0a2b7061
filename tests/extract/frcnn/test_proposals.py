"""Proposals against the plain reference, for every family, in batches of unequal images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itin.extract.frcnn.boxes import cell_anchors
from itin.extract.frcnn.proposals import propose

from ...frcnn_small import NAMES, network, recipe, reference

EXTENTS = [(6, 9), (9, 6), (3, 4)]
SIZES = [(93, 142), (142, 93), (40, 60)]
SCALES = [1.4, 0.8, 3.0]


def heads(name: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and deltas of a padded batch, as the head would give them, and rubbish outside the images."""
    used = recipe(name)
    generator = torch.Generator().manual_seed(seed)
    channels = used.anchors * (2 if used.rpn_score == "softmax" else 1)
    logits = torch.randn(3, channels, 10, 10, generator=generator) * 2
    deltas = torch.randn(3, used.anchors * 4, 10, 10, generator=generator) * 0.4
    for i, (h, w) in enumerate(EXTENTS):
        logits[i, :, h:] = logits[i, :, :, w:] = 1e3
    return logits, deltas


def flat(name: str, logits: torch.Tensor, deltas: torch.Tensor, image: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's order of one image's scores and deltas."""
    h, w = EXTENTS[image]
    own = logits[image, :, :h, :w].double()
    if name == "caffe":
        own = own.unflatten(0, (2, -1)).softmax(0)[1]
    moves = deltas[image, :, :h, :w].double().unflatten(0, (-1, 4)).permute(2, 3, 0, 1)
    return own.permute(1, 2, 0).flatten().numpy(), moves.reshape(-1, 4).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_reference(name: str) -> None:
    used = recipe(name)
    plain = reference(network(name))
    logits, deltas = heads(name)
    found = propose(logits, deltas, cell_anchors(used), used, EXTENTS, SIZES, SCALES)
    for i, own in enumerate(found):
        scores, moves = flat(name, logits, deltas, i)
        wanted = plain.proposals(scores, moves, plain.grid(*EXTENTS[i]), SIZES[i], SCALES[i])
        assert own.shape == wanted.shape
        np.testing.assert_allclose(own.numpy(), wanted, rtol=1e-4, atol=1e-3)
    assert len(found[0]) == used.post_nms


def test_equal_scores_keep_the_anchors_order() -> None:
    """Of two equal anchors only the first stays, and the second position's follow the first's."""
    used = recipe("hf")
    anchors = torch.tensor([[x, x, x + 6, x + 6] for x in (-3.0, 4.0, 11.0)]).repeat(4, 1)
    found = propose(torch.zeros(1, 12, 9, 6), torch.zeros(1, 48, 9, 6), anchors, used, EXTENTS[1:2], SIZES[1:2], [1.0])
    assert found[0][:6, 0].tolist() == [0, 4, 11, 13, 20, 27]


def test_small_proposals_go_first_in_caffe_and_only_empty_ones_in_hf() -> None:
    """With nothing but 10-pixel boxes: Caffe's least side is 16 pixels of the original image, so it finds none."""
    anchors = torch.tensor([[-5.0, -5.0, 5.0, 5.0]]).repeat(12, 1)
    for name, wanted in (("caffe", 0), ("hf", 40)):
        used = recipe(name, pre_nms=1000)
        logits = torch.zeros(1, 24 if name == "caffe" else 12, 9, 6)
        found = propose(logits, torch.zeros(1, 48, 9, 6), anchors, used, EXTENTS[1:2], SIZES[1:2], [1.0])
        assert len(found[0]) == wanted
    caffe = recipe("caffe", pre_nms=1000)
    logits = torch.zeros(1, 24, 9, 6)
    found = propose(logits, torch.zeros(1, 48, 9, 6), anchors, caffe, EXTENTS[1:2], SIZES[1:2], [0.5])
    assert len(found[0]) == 40  # 16 pixels of an original twice as large are 8 here; those cut at two borders are less
