"""Detectors by name, against the libraries' own post-processing and forward passes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import transformers
from PIL import Image
from torchvision.models import detection

from itin.cache.format.schema import fingerprint_of
from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders.build import build_encoder, identity_of, required_weights
from itin.extract.encoders.contract import Arrays
from itin.extract.encoders.query_detector import QueryDetector
from itin.extract.encoders.torchvision_detector import NO_EPSILON, RegionHead

from ..detector_models import CLASSES, make

CPU = torch.device("cpu")
WITH_CLASSES = ("detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2", "d_fine", "yolos")
FAMILIES = (*WITH_CLASSES, "owlv2")
SHAPES = ((64, 64), (40, 90), (110, 50), (64, 64), (37, 61))
"""Heights and widths of images: square, oblong, and two of one size."""
SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("models")
    return {family: make(family, parent / family) for family in FAMILIES}


def images(shapes: tuple[tuple[int, int], ...] = SHAPES) -> list[np.ndarray]:
    """Blocks of colours, in which a detector may see something."""
    draw = np.random.default_rng(3)
    blocks = (draw.integers(0, 256, (h // 8 + 1, w // 8 + 1, 3), np.uint8) for h, w in shapes)
    return [b.repeat(8, 0).repeat(8, 1)[:h, :w] for b, (h, w) in zip(blocks, shapes, strict=True)]


@cache
def encoder(name: Path | str, **options: Any) -> Any:
    return build_encoder("regions", EncoderConfig(regions=str(name), **options), CPU)


def encode(one: Any, given: list[np.ndarray]) -> list[Arrays]:
    found: list[Arrays] = one.encode([one.prepare(image) for image in given])
    return found


@cache
def loaded(family: str, folder: Path) -> tuple[Any, Any]:
    auto = transformers.AutoModelForObjectDetection
    loader = transformers.Owlv2ForObjectDetection if family == "owlv2" else auto
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    return loader.from_pretrained(folder).eval(), processor


@torch.inference_mode()
def library(family: str, folder: Path, image: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
    """The library's own outputs and post-processing of an image at threshold 0."""
    model, processor = loaded(family, folder)
    inputs = processor(images=Image.fromarray(image), return_tensors="pt")
    if family == "owlv2":
        outputs = model(input_ids=torch.tensor([[18, 3, 19]]), pixel_values=inputs["pixel_values"])
    else:
        if family == "yolos":
            inputs.pop("pixel_mask", None)
        outputs = model(**inputs)
    more = {"top_k": 1000} if family in ("conditional_detr", "deformable_detr") else {}
    own = processor.post_process_object_detection(outputs, threshold=0, target_sizes=[image.shape[:2]], **more)
    return outputs, {name: value.numpy() for name, value in own[0].items()}


def clipped(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return np.stack([boxes[:, i].clip(0, (width, height)[i % 2]) for i in range(4)], 1)


def best_scores(family: str, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best class of each query with its score, in float64."""
    logits = logits.astype(np.float64)
    if family in ("detr", "yolos"):
        each = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        each = each[:, :-1]
    else:
        each = 1 / (1 + np.exp(-logits))
    return each.max(1), each.argmax(1)


@pytest.mark.parametrize("family", WITH_CLASSES)
def test_boxes_scores_and_classes_are_those_of_the_librarys_post_processing(
    family: str, folders: dict[str, Path]
) -> None:
    one = encoder(folders[family])
    assert isinstance(one, QueryDetector)
    for image, found in zip(images(), encode(one, images()), strict=True):
        _, own = library(family, folders[family], image)
        order = np.argsort(-own["scores"], kind="stable")
        rows: list[int] = []
        for row in order:  # a query can come once for each class: its best one counts
            if not any(np.array_equal(own["boxes"][row], own["boxes"][other]) for other in rows):
                rows.append(row)
        assert len(rows) >= 7
        assert len(found["scores"]) == 20 or family.startswith("rt_")
        scores, boxes, labels = own["scores"][rows], clipped(own["boxes"][rows], image), own["labels"][rows]
        np.testing.assert_allclose(found["scores"][: len(rows)], scores, rtol=1e-5)
        listed = scores > own["scores"].min() + 1e-6  # of those with the lowest score some may be cut off
        for i in np.flatnonzero(listed):  # equal scores come in any order there
            away = np.abs(boxes - found["boxes"][i]).max(1) + 1000 * np.abs(scores - found["scores"][i])
            assert away.min() < 0.02
            assert labels[away.argmin()] == found["objects"][i]


@pytest.mark.parametrize("family", WITH_CLASSES)
def test_vectors_are_the_states_of_the_queries(family: str, folders: dict[str, Path]) -> None:
    one = encoder(folders[family], max_regions=6)
    for image, found in zip(images(), encode(one, images()), strict=True):
        outputs, _ = library(family, folders[family], image)
        scores, classes = best_scores(family, outputs.logits[0].numpy())
        order = sorted(range(20), key=lambda query: -scores[query])[:6]
        states = outputs.last_hidden_state[0].numpy()
        assert len(states) == 20 or family == "yolos"
        np.testing.assert_allclose(found["regions"], states[len(states) - 20 :][order], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["scores"], scores[order], rtol=1e-5)
        np.testing.assert_array_equal(found["objects"], classes[order])
        np.testing.assert_array_equal(found["object_scores"], found["scores"])
        assert (found["attributes"] == -1).all()


def test_owlv2_needs_no_text(folders: dict[str, Path]) -> None:
    one = encoder(folders["owlv2"], max_regions=7)
    for image, found in zip(images(), encode(one, images()), strict=True):
        outputs, own = library("owlv2", folders["owlv2"], image)
        objectness = 1 / (1 + np.exp(-outputs.objectness_logits[0].double().numpy()))
        order = sorted(range(16), key=lambda patch: -objectness[patch])[:7]
        np.testing.assert_allclose(found["scores"], objectness[order], rtol=1e-5)
        np.testing.assert_allclose(found["regions"], outputs.class_embeds[0].numpy()[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["boxes"], clipped(own["boxes"][order], image), atol=1e-4)
        assert (found["objects"] == -1).all()
    assert one.vocabulary.objects is None


def check_same(found: list[Arrays], expected: list[Arrays]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_size_and_order_change_nothing(family: str, folders: dict[str, Path]) -> None:
    """Nor does an image's company: no image is padded to the size of another."""
    one, given = encoder(folders[family], max_regions=6), images()
    alone = [encode(one, [image])[0] for image in given]
    one.batch_size = 3
    check_same(encode(one, given), alone)
    check_same(encode(one, given[::-1]), alone[::-1])
    one.batch_size = 1


@pytest.mark.parametrize("family", ["detr", "conditional_detr", "deformable_detr"])
def test_a_fixed_padding_is_masked(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """A processor that pads every image to one size: the mask reaches the model."""
    folder = make(family, tmp_path / family)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_size": {"height": 96, "width": 96}}))
    one, plain = encoder(folder), encoder(folders[family])
    assert fingerprint_of(identity_of(one.spec, "float16")) != fingerprint_of(identity_of(plain.spec, "float16"))
    assert one.prepare(images()[1]).tensors["pixel_values"].shape == (3, 96, 96)
    for image, found in zip(images(), encode(one, images()), strict=True):
        _, own = library(family, folder, image)
        best = int(own["scores"].argmax())
        np.testing.assert_allclose(found["scores"][0], own["scores"][best], rtol=1e-5)
        np.testing.assert_allclose(found["boxes"][0], clipped(own["boxes"][best : best + 1], image)[0], atol=1e-4)


def test_equal_scores_keep_the_order_of_the_queries(folders: dict[str, Path]) -> None:
    one = encoder.__wrapped__(folders["rt_detr"], max_regions=3)
    queries = torch.arange(5.0)
    outputs = (queries[None, :, None], torch.full((1, 5, 4), 0.5), torch.tensor([[0.2, 0.7, 0.2, 0.7, 0.7]]))
    one._classes = lambda **_: (*outputs, torch.zeros(1, 5, dtype=torch.int64))
    (found,) = encode(one, images()[:1])
    assert found["regions"].ravel().tolist() == [1, 3, 4]


def test_names_and_sizes(folders: dict[str, Path]) -> None:
    one = encoder(folders["detr"])
    assert one.spec.name == "detr"
    assert one.spec.dims == {"feature": 16, "objects": 3, "attributes": 0, "max_regions": 36}
    assert one.vocabulary.objects == tuple(CLASSES.values())
    assert one.vocabulary.attributes is None


def test_fingerprints_differ_where_a_number_would(folders: dict[str, Path], tmp_path: Path) -> None:
    def fingerprint(folder: Path, **options: Any) -> str:
        return fingerprint_of(identity_of(encoder(folder, **options).spec, "float16"))

    def changed(name: str, file: str, **values: Any) -> Path:
        folder = make("detr", tmp_path / name / "detr")
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))
        return folder

    plain = fingerprint(folders["detr"])
    assert fingerprint(changed("names", "config.json", id2label={"0": "a", "1": "b", "2": "c"})) == plain
    others = [
        fingerprint(make("detr", tmp_path / "weights" / "detr", seed=1)),
        fingerprint(changed("heads", "config.json", decoder_attention_heads=4)),
        fingerprint(changed("sizes", "preprocessor_config.json", size={"shortest_edge": 40, "longest_edge": 80})),
        fingerprint(changed("mean", "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])),
        fingerprint(folders["detr"], max_regions=5),
        fingerprint(folders["detr"], compute_dtype="bfloat16"),
        fingerprint(folders["detr"], random_init=0),
        fingerprint(folders["detr"], random_init=1),
    ]
    assert len({plain, *others}) == 1 + len(others)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_are_seeded(family: str, folders: dict[str, Path]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again = (encoder.__wrapped__(folders[family], random_init=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.spec == again.spec
    assert one.spec.weights["random_init"] == 2
    assert one.spec.weights["sha256"] != encoder(folders[family]).spec.weights["sha256"]


def test_bfloat16_is_near(folders: dict[str, Path]) -> None:
    for family in FAMILIES:
        near = encode(encoder(folders[family], compute_dtype="bfloat16"), images()[:1])[0]
        exact = encode(encoder(folders[family]), images()[:1])[0]
        assert near["regions"].dtype == np.float32
        np.testing.assert_allclose(near["scores"], exact["scores"], atol=0.1)


def fake(folder: Path, model_type: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("grounding-dino", "without a text"),
        ("omdet-turbo", "without a text"),
        ("owlvit", "no score of its own"),
        ("dab-detr", "its outputs are not known"),
    ],
)
def test_other_detectors_are_refused_with_the_reason(model_type: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"cannot give regions: .*{reason}") as caught:
        encoder(fake(tmp_path / "model", model_type))
    assert "owlv2" in str(caught.value)


def test_weights_that_are_not_whole_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = make("rt_detr", tmp_path / "rt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decoder_layers": 3}))
    with pytest.raises(WeightsError, match=r"lack \d+ tensors"):
        encoder(folder)
    (folder / "config.json").write_text(json.dumps(config | {"decoder_ffn_dim": 28}))
    with pytest.raises(WeightsError, match="in the shape of"):
        encoder(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match="rt holds no settings of an image processor"):
        encoder(folder)


def test_a_detector_has_no_context(folders: dict[str, Path]) -> None:
    for name in (str(folders["detr"]), "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn"):
        with pytest.raises(WeightsError, match="is a detector: it has vectors of regions") as caught:
            build_encoder("context", EncoderConfig(context_encoder=name), CPU)
        assert "resnet18" in str(caught.value)


def test_needs(folders: dict[str, Path]) -> None:
    config = EncoderConfig(regions=str(folders["detr"]))
    row = QueryDetector.needs(config)
    assert row.found == folders["detr"] / "model.safetensors"
    listed = {row.encoder: row for row in required_weights(EncoderConfig())}
    assert listed["fasterrcnn_resnet50_fpn_v2"].needs == "fasterrcnn_resnet50_fpn_v2, COCO"
    assert "fasterrcnn_resnet50_fpn_v2_coco" in listed["fasterrcnn_resnet50_fpn_v2"].how


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files in place of torchvision's, with seeded weights: the smallest model, and one whose layers it changes."""
    home = tmp_path_factory.mktemp("torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        yield home


def put(home: Path, name: str) -> None:
    """Save seeded weights under the name of torchvision's file."""
    entry = torchvision.models.get_model_weights(name)["COCO_V1"]
    path = home / "hub" / "checkpoints" / entry.url.rsplit("/", 1)[1]
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    state["roi_heads.box_predictor.cls_score.weight"].normal_(0, 0.1)  # so that some scores are above the threshold
    if name in NO_EPSILON:  # variances beside which the constant is not small
        for key in (key for key in state if key.endswith("running_var")):
            state[key].fill_(1e-4)
            state[key.replace("running_var", "weight")].mul_(1e-2)
    torch.save(state, path)


def test_torchvision_against_the_models_own_output(weights: Path) -> None:
    name = SMALL
    put(weights, name)
    one = encoder(name, max_regions=30, min_regions=20)
    assert isinstance(one, RegionHead)
    entry = torchvision.models.get_model_weights(name)["COCO_V1"]
    model = torchvision.models.get_model(name, weights=entry, box_score_thresh=0.0).eval()
    heads, vectors = model.roi_heads, []
    for image, found in zip(images(SHAPES[:3]), encode(one, images(SHAPES[:3])), strict=True):
        seen: dict[str, Any] = {}
        hook = heads.register_forward_hook(lambda _, given, out, seen=seen: seen.update(given=given, boxes=out[0]))
        pixels = torchvision.transforms.functional.to_tensor(Image.fromarray(image))
        with torch.inference_mode():
            (own,) = model([pixels])
            hook.remove()
            maps, _, inner = seen["given"][:3]
            hook = heads.box_head.register_forward_hook(lambda _, given, out: vectors.append(out))
            heads.box_head(heads.box_roi_pool(maps, [seen["boxes"][0]["boxes"]], inner))
            hook.remove()
        k = len(found["scores"])
        assert k == min(max(int((own["scores"] > 0.05).sum()), 20), 30)
        np.testing.assert_allclose(found["scores"], own["scores"][:k], rtol=1e-5)
        np.testing.assert_allclose(found["boxes"], own["boxes"][:k], atol=1e-3)
        np.testing.assert_array_equal(found["objects"], own["labels"][:k])
        np.testing.assert_allclose(found["regions"], vectors[-1][:k], rtol=1e-5, atol=1e-5)
        assert found["regions"].shape == (k, 1024)
        assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()
    assert one.vocabulary.objects == tuple(entry.meta["categories"])
    assert one.spec.dims == {"feature": 1024, "objects": 91, "attributes": 0, "max_regions": 30}


def test_torchvision_normalises_as_its_weights_were_made(weights: Path) -> None:
    """The library takes another constant with the first weights of some models: a plain model would be off."""
    names = [name for name in torchvision.models.list_models(module=detection) if "rcnn" in name]
    assert len(names) == 7
    changed = {name for name in names if "overwrite_eps(" in inspect.getsource(getattr(detection, name))}
    assert changed == set(NO_EPSILON)
    name = "fasterrcnn_resnet50_fpn"
    put(weights, name)
    one = encoder(name)
    model = detection.fasterrcnn_resnet50_fpn(weights="COCO_V1").eval()
    pixels = one.prepare(images()[0]).tensors["pixel_values"][None, :, :96, :64]
    with torch.inference_mode():
        for level, maps in model.backbone(pixels).items():
            np.testing.assert_allclose(one._model.backbone(pixels)[level], maps, rtol=1e-4, atol=1e-4)
    assert one.spec.preprocessing["short_side"] == 800


def test_torchvision_batches(weights: Path) -> None:
    put(weights, SMALL)
    one, given = encoder(SMALL, max_regions=8), images((SHAPES[0], SHAPES[1], SHAPES[0]))
    alone = [encode(one, [image])[0] for image in given]
    one.batch_size = 3
    check_same(encode(one, given), alone)
    check_same(encode(one, given[::-1]), alone[::-1])


def test_torchvision_keeps_what_is_above_its_threshold_and_ten_at_least(weights: Path) -> None:
    one = encoder(SMALL, random_init=0)
    (found,) = encode(one, images()[:1])
    assert len(found["scores"]) == 10  # untrained: no score is above the threshold
    assert one.spec.weights["random_init"] == 0
    assert one.spec == encoder.__wrapped__(SMALL, random_init=0).spec
    assert len(encode(encoder(SMALL, random_init=0, min_regions=0), images()[:1])[0]["scores"]) == 0


def test_torchvision_in_bfloat16(weights: Path) -> None:
    (found,) = encode(encoder(SMALL, random_init=0, compute_dtype="bfloat16"), images()[:1])
    assert found["regions"].shape == (10, 1024)


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn_v2", "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn"])
def test_torchvision_without_a_head_for_regions_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="has no vector for a region") as caught:
        encoder(name)
    assert "fasterrcnn_resnet50_fpn_v2" in str(caught.value)


def test_torchvision_refuses_the_weights_of_another_model(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=f"the COCO weights of {SMALL} are not here"):
        encoder(SMALL)
    entry = torchvision.models.get_model_weights(SMALL)["COCO_V1"]
    path = tmp_path / "hub" / "checkpoints" / entry.url.rsplit("/", 1)[1]
    path.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=f"does not hold the weights of {SMALL}"):
        encoder(SMALL)
