"""Our detector against the one made of detectron2's parts, on the same files: the same regions, boxes and ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2", reason="detectron2 is not installed; docs/detector.md says how to install it")

from itin.extract.config import EncoderConfig
from itin.extract.encoders.vg_frcnn import VGFasterRCNN
from itin.extract.frcnn.initial import randomize
from itin.extract.frcnn.network import FasterRCNN
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES

from ...frcnn_small import file_state, network, picture, save
from .test_encoder import CPU, detector, real_photos

pytestmark = [
    pytest.mark.detectron2,
    pytest.mark.filterwarnings("ignore"),  # detectron2 and its dependencies warn of what they use themselves
]

Arrays = dict[str, np.ndarray]


def compare(ours: list[Arrays], theirs: list[Arrays], what: str) -> None:
    """Equal ids and order, boxes to 1e-3 pixel, features to 1e-4 of their largest value."""
    kept, box, feature, score = [], 0.0, 0.0, 0.0
    for one, two in zip(ours, theirs, strict=True):
        assert list(one) == list(two)
        assert [one[name].dtype for name in one] == [two[name].dtype for name in two]
        for name in ("objects", "attributes"):
            np.testing.assert_array_equal(one[name], two[name])
        kept.append(len(one["scores"]))
        assert kept[-1] > 0
        box = max(box, float(np.abs(one["boxes"] - two["boxes"]).max()))
        feature = max(feature, float(np.abs(one["regions"] - two["regions"]).max() / np.abs(two["regions"]).max()))
        for name in ("scores", "object_scores", "attribute_scores"):
            score = max(score, float(np.abs(one[name] - two[name]).max()))
    print(
        f"{what}: {kept} regions, ids identical; largest difference: boxes {box:.1e} pixel, features {feature:.1e}"
        f" of the largest value, scores {score:.1e}"
    )
    assert box < 1e-3
    assert feature < 1e-4
    assert score < 1e-4


@pytest.mark.parametrize("selection", ["original", "hf"])
@pytest.mark.parametrize("name", ["hf", "airsplay", "d2"])
def test_small_detectors_are_equal(name: str, selection: str, tmp_path: Path) -> None:
    path = save(tmp_path / "model.bin", file_state(network(name)))
    both = [
        detector(
            name, detector_weights=str(path), max_regions=20, detector_selection=selection, detector_backend=backend
        )
        for backend in ("itin", "detectron2")
    ]
    images = [picture(60, 90, 1), picture(110, 70, 2), picture(48, 48, 3), picture(33, 150, 4)]
    ours, theirs = (made.encode([made.prepare(image) for image in images]) for made in both)
    compare(ours, theirs, f"{name}, small, selection {selection}")
    assert both[0].spec != both[1].spec


def test_the_anchors_of_the_file_are_used(tmp_path: Path) -> None:
    """Recent detectron2 leaves `cell_anchors` out of its state and would go on with anchors of its own."""
    state = file_state(network("hf"))
    state["proposal_generator.anchor_generator.cell_anchors.0"] += torch.tensor([3.0, -2.0, 5.0, 1.0])
    path = save(tmp_path / "model.bin", state)
    ours = detector("hf", detector_weights=str(path), max_regions=20)
    theirs = detector("hf", detector_weights=str(path), max_regions=20, detector_backend="detectron2")
    file = save(tmp_path / "usual.bin", file_state(network("hf")))
    usual = detector("hf", detector_weights=str(file), max_regions=20)
    image = [ours.prepare(picture(60, 90, 1))]
    compare(ours.encode(image), theirs.encode(image), "hf, small, anchors of the file")
    assert np.abs(ours.encode(image)[0]["boxes"] - usual.encode(image)[0]["boxes"]).max() > 0.5


def test_what_detectron2_has_no_parts_for() -> None:
    with pytest.raises(ValueError, match="detectron2 has no parts for the recipe caffe"):
        detector("caffe", random_init=0, detector_backend="detectron2")
    with pytest.raises(ValueError, match="the backend detectron2 computes in float32, not in bfloat16"):
        detector("hf", random_init=0, detector_backend="detectron2", compute_dtype="bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "airsplay", "d2"])
def test_full_size_detectors_are_equal_on_real_photos(name: str, shared_data: Path, tmp_path: Path) -> None:
    """ResNet-101 with 1600 objects, from a file as the port publishes it."""
    used = RECIPES[name]
    made = randomize(FasterRCNN(ARCHITECTURES[used.family], used), 0)
    for key, module in made.named_modules():
        if key.endswith("conv3.norm"):
            module.weight *= 0.3  # blocks add less to their shortcuts, or a hundred layers amplify float32 rounding
    made.roi_heads.box_predictor.cls_score.weight *= 4  # and scores spread as before
    path = save(tmp_path / "model.bin", file_state(made))
    both = [
        VGFasterRCNN(EncoderConfig(detector_weights=str(path), detector_recipe=name, detector_backend=backend), CPU)
        for backend in ("itin", "detectron2")
    ]
    images = real_photos(shared_data, 2)
    ours, theirs = (made.encode([made.prepare(image) for image in images]) for made in both)
    compare(ours, theirs, f"{name}, full size, real photos")
