"""The encoder `vg-frcnn` as the extraction loop meets it, small by default and at full size on real photos."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders.vg_frcnn import VGFasterRCNN
from itin.extract.frcnn.network import FasterRCNN
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES

from ... import frcnn_reference as plain
from ...frcnn_small import SMALL, file_state, network, picture, recipe, save

CPU = torch.device("cpu")


def encoder(seed: int = 0, name: str = "hf", **options: Any) -> VGFasterRCNN:
    return detector(name, random_init=seed, **options)


def detector(name: str, batch_size: int | None = None, **options: Any) -> VGFasterRCNN:
    """A scaled-down one, of random weights or of a file."""
    config = EncoderConfig(**options)
    return VGFasterRCNN(config, CPU, batch_size=batch_size, recipe=recipe(name), architecture=SMALL)


def test_images_in_arrays_out() -> None:
    made = encoder(max_regions=15)
    images = [picture(60, 90, 1), picture(90, 70, 2), picture(60, 90, 3)]
    with ThreadPoolExecutor(3) as pool:
        prepared = list(pool.map(made.prepare, images))
    found = made.encode(prepared)
    assert [list(arrays) for arrays in found] == [
        ["regions", "boxes", "scores", "objects", "object_scores", "attributes", "attribute_scores"]
    ] * 3
    for arrays, image in zip(found, images, strict=True):
        k = len(arrays["scores"])
        assert 10 <= k <= 15
        assert arrays["regions"].shape == (k, 128)
        assert arrays["boxes"].shape == (k, 4)
        assert arrays["boxes"][:, 2].max() <= image.shape[1]
        assert np.ptp(arrays["scores"]) > 0.05
    assert made.encode([]) == []


def test_the_specification_holds_all_that_decides_a_number() -> None:
    base = encoder().spec
    assert (base.kind, base.name, base.untrained) == ("regions", "vg-frcnn", True)
    assert base.weights["random_init"] == 0
    assert base.dims == {"feature": 128, "objects": 20, "attributes": 10, "max_regions": 36}
    assert base.preprocessing["recipe"]["short_side"] == 150
    assert base.preprocessing["anchors"] == "recipe"
    assert base.preprocessing["selection"]["threshold"] == 0.2
    assert base == encoder(batch_size=3).spec
    json.dumps(base.as_dict())
    others = [
        encoder(seed=1).spec,
        encoder(max_regions=20).spec,
        encoder(min_regions=3).spec,
        encoder(detector_selection="hf").spec,
        encoder(compute_dtype="bfloat16").spec,
        encoder(name="airsplay").spec,
    ]
    assert len({json.dumps(spec.as_dict()) for spec in (base, *others)}) == 7


def test_a_checkpoint_gives_what_its_network_gives(tmp_path: Path) -> None:
    path = save(tmp_path / "model.bin", file_state(network("hf")))
    (tmp_path / "objects_vocab.txt").write_text("\n".join(f"thing {i},x" for i in range(20)))
    loaded = detector("hf", detector_weights=str(path), max_regions=12)
    assert loaded.spec.weights["file"] == "model.bin"
    assert len(loaded.spec.weights["sha256"]) == 64
    assert not loaded.spec.untrained
    assert loaded.spec.preprocessing["anchors"] == "file"
    assert loaded.vocabulary.object(3) == "thing 3"
    assert loaded.vocabulary.attribute(3) == "attribute 3"
    image = picture(70, 100, 4)
    found = loaded.encode([loaded.prepare(image)])[0]
    rules = plain.RULES["hf"] | {"short": 150, "long": 250, "pre_nms": 400, "post_nms": 40}
    state = {key: value.numpy() for key, value in torch.load(path).items()}
    wanted = plain.detect(plain.Net("hf", state, rules), image, "original", 10, 12)
    np.testing.assert_array_equal(found["objects"], wanted["objects"])
    np.testing.assert_allclose(found["boxes"], wanted["boxes"], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found["regions"], wanted["regions"], rtol=1e-3, atol=1e-3)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="detector_selection: expected one of original, hf, got 'best'"):
        encoder(detector_selection="best")
    with pytest.raises(WeightsError, match=r"x\.pth is not a file"):
        VGFasterRCNN(EncoderConfig(detector_weights=str(tmp_path / "x.pth")), CPU)


def test_the_other_backend_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "itin.extract.frcnn.detectron", raising=False)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    monkeypatch.setitem(sys.modules, "detectron2.layers", None)
    with pytest.raises(WeightsError, match="detectron2 cannot be imported") as error:
        encoder(detector_backend="detectron2")
    assert "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'" in str(
        error.value
    )
    assert "use --detector-backend itin" in str(error.value)
    assert encoder().spec.preprocessing["backend"] == "itin"


def test_vocabulary_files_of_the_user(tmp_path: Path) -> None:
    objects, attributes = tmp_path / "things.txt", tmp_path / "looks.txt"
    objects.write_text("\n".join(f"thing {i},synonym" for i in range(20)))
    attributes.write_text("\n".join(f"look {i}" for i in range(10)))
    made = encoder(object_names=str(objects), attribute_names=str(attributes))
    assert (made.vocabulary.object(7), made.vocabulary.attribute(9)) == ("thing 7", "look 9")
    assert (encoder().vocabulary.object(7), encoder().vocabulary.object(-1)) == ("object 7", "unknown")
    with pytest.raises(WeightsError, match="the vocabulary does not fit the detector"):
        encoder(object_names=str(attributes))


def real_photos(shared_data: Path, number: int) -> list[np.ndarray]:
    files = sorted((shared_data / "mvsa-single-sample" / "data").glob("*.jpg"))[:number]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]  # read-only, as decoders may give them


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "caffe"])
def test_full_size_on_real_photos(shared_data: Path, name: str) -> None:
    made = VGFasterRCNN(EncoderConfig(random_init=0, detector_recipe=name), CPU)
    images = real_photos(shared_data, 2)
    found = made.encode([made.prepare(image) for image in images])
    for arrays, image in zip(found, images, strict=True):
        k = len(arrays["scores"])
        assert 10 <= k <= 36
        assert arrays["regions"].shape == (k, 2048)
        assert all(np.isfinite(values).all() for values in arrays.values())
        assert (np.diff(arrays["scores"]) <= 0).all()
        assert np.ptp(arrays["scores"]) > 0.2
        assert len(set(arrays["objects"].tolist())) > 3
        assert arrays["regions"].std(0).mean() > 0.1
        assert (arrays["boxes"] <= np.array([image.shape[1], image.shape[0]] * 2)).all()


@pytest.mark.slow
def test_full_size_equals_the_reference_on_a_real_photo(shared_data: Path) -> None:
    """Every layer at its real size, with fewer proposals: the reference takes seconds for each."""
    from dataclasses import replace

    from itin.extract.frcnn.detector import Detector
    from itin.extract.frcnn.initial import randomize
    from itin.extract.frcnn.preprocess import prepare
    from itin.extract.frcnn.selection import RegionSelection

    used = replace(RECIPES["caffe"], short_side=192, long_side=320, post_nms=6)
    made = randomize(FasterRCNN(ARCHITECTURES["caffe"], used), 1)
    rules = plain.RULES["caffe"] | {"short": 192, "long": 320, "post_nms": 6}
    net = plain.Net("caffe", {key: value.numpy() for key, value in file_state(made).items()}, rules)
    image = real_photos(shared_data, 1)[0]
    own = Detector(made, RegionSelection(max_regions=4, min_regions=2), device=CPU)([prepare(image, used)])[0]
    wanted = plain.detect(net, image, "original", 2, 4)
    np.testing.assert_array_equal(own["objects"], wanted["objects"])
    np.testing.assert_array_equal(own["attributes"], wanted["attributes"])
    np.testing.assert_allclose(own["boxes"], wanted["boxes"], atol=0.05)  # such weights amplify float32 rounding
    np.testing.assert_allclose(own["regions"], wanted["regions"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(own["scores"], wanted["scores"], rtol=1e-3)
