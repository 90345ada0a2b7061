"""Vision models by name against the library's own forward pass: tiny models of real architectures, in its format."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from itin.cache.format.schema import fingerprint_of
from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import build, transformers_vision
from itin.extract.encoders.image_processor import Geometry

from ..loopback_hub import LoopbackHub

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
DINO: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}
VIT: dict[str, Any] = {**SMALL, "image_size": 32, "patch_size": 8}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "image_size": 32}
SQUARE = {"height": 32, "width": 32}

Output = Any
Make = Callable[[], tuple[Any, Any]]


@dataclass(frozen=True)
class Family:
    """How to make a tiny model, and where the library has its cells and pooled vector."""

    make: Make
    prefix: int | None
    """Tokens before the patches; None: a map."""
    cells: tuple[int, int]
    """Rows and columns for an image of 100 x 140 pixels."""
    norm: str | None = None
    pooled: Callable[[Output], torch.Tensor] = lambda output: output.pooler_output
    local: str | None = r"(out_proj|o_proj|attention\.output\.dense|attn\.proj|depthwise_conv|dwconv)\.(weight|bias)$"
    """Tensors without which a cell depends on its own pixels alone; None: it never does."""


def of(model: str, processor: str, config: dict[str, Any], settings: dict[str, Any]) -> Make:
    def make() -> tuple[Any, Any]:
        torch.manual_seed(0)
        kind = getattr(transformers, f"{model}Model")
        made = kind(kind.config_class(**config))
        with torch.no_grad():  # biases, norms and tokens of their own, so that nothing is left out unseen
            for value in made.parameters():
                value.add_(0.1 * torch.randn_like(value))
        name = f"{processor}ImageProcessor"
        name += "" if hasattr(transformers, name) else "Fast"  # before transformers 5 DINOv3's has no other name
        return made, getattr(transformers, name)(**settings)

    return make


def towers(vision: dict[str, Any]) -> dict[str, Any]:
    ids = {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {"text_config": {**SMALL, **ids, "projection_dim": 8}, "vision_config": vision}


def timm(architecture: str, side: int = 64, crop: str = "center", **arguments: Any) -> Make:
    def make() -> tuple[Any, Any]:
        pytest.importorskip("timm")
        torch.manual_seed(0)
        config = transformers.TimmWrapperConfig(architecture=architecture, model_args=arguments)
        config.pretrained_cfg = {"input_size": [3, side, side], "crop_pct": 0.9, "crop_mode": crop}
        config.pretrained_cfg |= {"interpolation": "bicubic", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
        return transformers.TimmWrapperModel(config), None

    return make


first = lambda output: output.last_hidden_state[:, 0]  # noqa: E731
BIT = {"size": {"shortest_edge": 40}, "crop_size": {"height": 35, "width": 35}}
CONV = {"size": {"shortest_edge": 96}}

FAMILIES = {
    "clip": Family(
        of("CLIP", "CLIP", towers(VIT), {"size": {"shortest_edge": 32}, "crop_size": SQUARE}),
        1,
        (4, 4),
        "post_layernorm",
    ),
    "siglip": Family(of("Siglip", "Siglip", towers(VIT), {"size": SQUARE}), 0, (4, 4)),
    "siglip2": Family(
        of(
            *("Siglip2", "Siglip2", towers({**SMALL, "patch_size": 8, "num_patches": 16})),
            {"patch_size": 8, "max_num_patches": 22},
        ),
        *(0, (4, 5)),
    ),
    "dinov2": Family(of("Dinov2", "Bit", DINO, BIT), 1, (5, 5)),
    "dinov2-native": Family(of("Dinov2", "Bit", DINO, {**BIT, "do_center_crop": False}), 1, (5, 8)),
    "dinov2-registers": Family(of("Dinov2WithRegisters", "Bit", {**DINO, "num_register_tokens": 4}, BIT), 5, (5, 5)),
    "dinov3": Family(of("DINOv3ViT", "DINOv3ViT", {**VIT, "num_register_tokens": 4}, {"size": SQUARE}), 5, (4, 4)),
    "dinov3-convnext": Family(
        of("DINOv3ConvNext", "DINOv3ViT", STAGES, {"size": {"height": 96, "width": 128}}), 1, (3, 4)
    ),
    "vit": Family(of("ViT", "ViT", VIT, {"size": SQUARE}), 1, (4, 4), pooled=first),
    "deit": Family(
        of("DeiT", "DeiT", VIT, {"size": {"height": 40, "width": 40}, "crop_size": SQUARE}), 2, (4, 4), pooled=first
    ),
    "beit": Family(
        of("Beit", "Beit", {**VIT, "use_mean_pooling": True}, {"size": SQUARE, "do_center_crop": False}), 1, (4, 4)
    ),
    "swin": Family(of("Swin", "ViT", {**SWIN, "patch_size": 4}, {"size": SQUARE}), 0, (4, 4)),
    "swinv2": Family(of("Swinv2", "ViT", {**SWIN, "patch_size": 4}, {"size": {"height": 36, "width": 52}}), 0, (5, 7)),
    "convnext": Family(of("ConvNext", "ConvNext", STAGES, CONV), None, (3, 3), "layernorm"),
    "convnextv2": Family(of("ConvNextV2", "ConvNext", STAGES, CONV), None, (3, 3), "layernorm"),
    "resnet": Family(
        of("ResNet", "ConvNext", {**STAGES, "embedding_size": 8, "layer_type": "basic"}, CONV), None, (3, 3), local=None
    ),
    "timm-vit": Family(timm("vit_tiny_patch16_224", img_size=64, depth=1, embed_dim=24), 1, (4, 4)),
    "timm-registers": Family(
        timm("vit_small_patch14_reg4_dinov2", 56, "squash", img_size=56, depth=1, embed_dim=24, num_heads=2), 5, (4, 4)
    ),
    "timm-swin": Family(
        timm(
            "swin_tiny_patch4_window7_224",
            img_size=64,
            window_size=2,
            depths=(1, 1, 1),
            num_heads=(1, 2, 4),
            embed_dim=8,
        ),
        *(None, (4, 4)),
    ),
    "timm-resnet": Family(timm("resnet10t"), None, (2, 2), local=None),
}
"""DINOv2 without a crop and Swin v2 of 36 x 52 have inputs that patches do not fill: one floors, the other pads."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a family's tiny model lies, made when it is asked for."""
    root = tmp_path_factory.mktemp("models")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            model, processor = FAMILIES[name].make()
            model.save_pretrained(root / name)
            if processor is not None:
                processor.save_pretrained(root / name)
        return root / name

    return folder


@pytest.fixture(autouse=True)
def single(one_thread: None) -> None:
    """Run on one thread."""


def encoder(kind: str, folder: Path | str, **options: Any) -> Any:
    config = EncoderConfig(regions=str(folder), context_encoder=str(folder), **{"max_regions": 1000, **options})
    return build.build_encoder(kind, config, CPU)


def run(made: Any, *images: np.ndarray) -> list[Any]:
    found: list[Any] = made.encode([made.prepare(image) for image in images])
    return found


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def in_place(found: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors and boxes row by row."""
    order = np.lexsort((found["boxes"][:, 0], found["boxes"][:, 1]))
    return found["regions"][order], found["boxes"][order]


def by_the_library(name: str, folder: Path, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells, row by row, and the pooled vector: the library's processor, its whole model, and one forward pass."""
    family = FAMILIES[name]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    part = getattr(model, "vision_model", model)
    pil = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": "dinov3" in name}
    inputs = transformers.AutoImageProcessor.from_pretrained(folder, **pil)(Image.fromarray(image), return_tensors="pt")
    with torch.inference_mode():
        older = name == "siglip2" and "backend" not in pil  # this tower calls its mask otherwise there
        output = part(**{"attention_mask" if older and "mask" in key else key: one for key, one in inputs.items()})
        hidden, pooled = output.last_hidden_state, family.pooled(output).flatten()
        if name == "timm-swin":
            hidden = hidden.flatten(1, 2)
        elif family.prefix is None:
            hidden = hidden.flatten(2).transpose(1, 2)
        if name == "siglip2":
            hidden = hidden[:, : int(inputs["pixel_attention_mask"].sum())]
        cells = hidden[:, family.prefix or 0 :]
        if family.norm is not None:
            cells = getattr(part, family.norm)(cells)
    return cells[0].numpy(), pooled.numpy()


@pytest.mark.parametrize("name", FAMILIES)
def test_cells_and_pooled_vector_are_the_librarys(name: str, saved: Callable[[str], Path]) -> None:
    folder, family = saved(name), FAMILIES[name]
    regions, context = encoder("regions", folder), encoder("context", folder)
    for image in (picture(100, 140), picture(100, 100, 1)):
        cells, pooled = by_the_library(name, folder, image)
        (found,) = run(regions, image)
        vectors, _ = in_place(found)
        np.testing.assert_allclose(vectors, cells, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(run(context, image)[0]["context"], pooled, rtol=1e-5, atol=1e-5)
        cosine = found["regions"] @ pooled / np.linalg.norm(found["regions"], axis=1) / np.linalg.norm(pooled)
        np.testing.assert_allclose(found["scores"], cosine, rtol=1e-5, atol=1e-5)
        assert (np.diff(found["scores"]) <= 0).all()
        if image.shape[1] == 140:
            assert len(cells) == family.cells[0] * family.cells[1]
    assert regions.spec.preprocessing["prefix"] == family.prefix
    assert regions.spec.dims["feature"] == cells.shape[1]
    assert context.spec.dims["feature"] == len(pooled)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_marked_block_is_found_in_the_cell_whose_box_covers_it(name: str, saved: Callable[[str], Path]) -> None:
    """Without mixing between cells just one changes, and none where the block lies outside all boxes."""
    made, family = encoder("regions", saved(name)), FAMILIES[name]
    with torch.no_grad():
        for path, value in made.trunk._model.named_parameters():
            if family.local and re.search(family.local, path):
                value.zero_()
    for height, width in ((140, 140), (112, 180), (210, 120)):
        base = np.full((height, width, 3), 128, np.uint8)
        plain, boxes = in_place(run(made, base)[0])
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [width, height]).all()
        places: list[tuple[Any, ...]] = [(*box, k) for k, box in enumerate(boxes)]
        left, right = boxes[:, 0].min(), boxes[:, 2].max()
        places += [(0, 0, left, height, None)] if left > 20 else []
        places += [(right, 0, width, height, None)] if width - right > 20 else []
        marked = []
        for x1, y1, x2, y2, _ in places:
            image, x, y = base.copy(), int(x1 + x2) // 2, int(y1 + y2) // 2
            image[y - 1 : y + 1, x - 1 : x + 1] = [255, 0, 60]
            marked.append(image)
        for (*_, k), found in zip(places, run(made, *marked), strict=True):
            vectors, same = in_place(found)
            np.testing.assert_array_equal(same, boxes)
            change = np.abs(vectors - plain).max(1)
            if family.local is None:
                assert k is None or change[k] > 0.3 * change.max()
            else:
                assert np.flatnonzero(change > 1e-5).tolist() == ([] if k is None else [k])


@pytest.mark.parametrize("name", ["siglip2", "dinov2-native", "clip", "resnet", "timm-vit"])
def test_batch_size_order_and_padding_change_nothing(name: str, saved: Callable[[str], Path]) -> None:
    regions, context = encoder("regions", saved(name)), encoder("context", saved(name))
    images = [picture(100, 140), picture(60, 200, 1), picture(100, 140, 2), picture(150, 70, 3), picture(40, 40, 4)]
    order = [3, 0, 4, 2, 1]
    for made in (regions, context):
        together, shuffled = run(made, *images), run(made, *(images[i] for i in order))
        alone = [run(made, image)[0] for image in images]
        for i, one in enumerate(alone):
            for other in (together[i], shuffled[order.index(i)]):
                a, b = (in_place(x)[0] if made is regions else x["context"] for x in (one, other))
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip2", "convnext"])
def test_one_forward_pass_serves_both_kinds_bit_by_bit(name: str, saved: Callable[[str], Path]) -> None:
    regions, context = encoder("regions", saved(name)), encoder("context", saved(name))
    assert regions.trunk is context.trunk
    images = [picture(100, 140), picture(100, 100, 1)]
    calls: list[int] = []
    regions.trunk._model.register_forward_hook(lambda *_: calls.append(1))
    prepared = [regions.prepare(image) for image in images]
    together = regions.encode(prepared), context.encode(prepared)
    once = len(calls)
    apart = run(regions, *images), run(context, *images)
    assert len(calls) == 3 * once
    for one, other in zip(together, apart, strict=True):
        for a, b in zip(one, other, strict=True):
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])


def test_other_sizes_than_those_of_training_interpolate_positions(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(saved("clip"), tmp_path / "clip")
    settings = {"size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 48}}
    transformers.CLIPImageProcessor(**settings).save_pretrained(folder)
    made = encoder("regions", folder)
    assert made.spec.preprocessing["interpolate_pos_encoding"] is True
    image = picture(100, 140)
    pixels = made.prepare(image).pixels[None]
    assert pixels.shape[2:] == (40, 48)
    part = transformers.CLIPModel.from_pretrained(folder).eval().vision_model
    with torch.inference_mode():
        hidden = part(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        expected = part.post_layernorm(hidden[0, 1:])
    np.testing.assert_allclose(in_place(run(made, image)[0])[0], expected, rtol=1e-5, atol=1e-5)
    assert "interpolate_pos_encoding" not in encoder("regions", saved("clip")).spec.preprocessing


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def other_weights(folder: Path) -> None:
    model = transformers.CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        next(iter(model.vision_model.parameters())).mul_(1.01)
    model.save_pretrained(folder)


PREPROCESSOR = "preprocessor_config.json"
VARIANTS: dict[str, Callable[[Path], object]] = {
    "resample": lambda folder: changed(folder / PREPROCESSOR, resample=2),
    "mean": lambda folder: changed(folder / PREPROCESSOR, image_mean=[0.5, 0.5, 0.4]),
    "rescale": lambda folder: changed(folder / PREPROCESSOR, rescale_factor=1 / 127.5),
    "size": lambda folder: changed(folder / PREPROCESSOR, size={"shortest_edge": 36}),
    "no crop": lambda folder: changed(folder / PREPROCESSOR, size=SQUARE, do_center_crop=False),
    "weights": other_weights,
    "heads": lambda folder: changed(
        folder / "config.json",
        vision_config={**json.loads((folder / "config.json").read_text())["vision_config"], "num_attention_heads": 4},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_fingerprints_differ_where_a_number_does(variant: str, saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(saved("clip"), tmp_path / "clip")
    VARIANTS[variant](folder)
    image = picture(100, 140)
    for kind in ("regions", "context"):
        one, other = encoder(kind, saved("clip")), encoder(kind, folder)
        (a,), (b,) = run(one, image), run(other, image)
        field = "context" if kind == "context" else "regions"
        assert not np.allclose(a[field], b[field], rtol=1e-6, atol=1e-7)
        prints = [fingerprint_of(build.identity_of(made.spec, "float32")) for made in (one, other)]
        assert prints[0] != prints[1]


def test_fingerprints_know_no_folder_and_no_text_tower(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "clip"
    model = transformers.CLIPModel.from_pretrained(saved("clip"))
    with torch.no_grad():
        for value in model.text_model.parameters():
            value.zero_()
    model.save_pretrained(folder)
    shutil.copy(saved("clip") / PREPROCESSOR, folder)
    changed(folder / PREPROCESSOR, do_convert_rgb=False)
    prints = [
        fingerprint_of(build.identity_of(encoder("regions", at).spec, "float32")) for at in (saved("clip"), folder)
    ]
    assert prints[0] == prints[1]


def test_a_pooler_that_checkpoints_lack_is_not_used(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    whole = transformers.ViTModel.from_pretrained(saved("vit"))
    classifier = transformers.ViTForImageClassification(whole.config)
    classifier.vit.load_state_dict({key: value for key, value in whole.state_dict().items() if "pooler" not in key})
    classifier.save_pretrained(folder)
    shutil.copy(saved("vit") / PREPROCESSOR, folder)
    one, other = encoder("context", folder), encoder("context", saved("vit"))
    assert one.spec.weights["sha256"] == other.spec.weights["sha256"]
    np.testing.assert_array_equal(*(run(made, picture(50, 60))[0]["context"] for made in (one, other)))


def test_random_weights_need_the_architecture_alone(saved: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("clip", "timm-vit"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(saved(name) / "config.json", folder)
        before = torch.get_rng_state()
        one, again, other = (encoder("regions", folder, random_init=seed) for seed in (3, 3, "regions=4"))
        assert torch.equal(torch.get_rng_state(), before)
        assert one.spec.untrained
        assert one.spec == again.spec
        assert one.spec.weights["sha256"] != other.spec.weights["sha256"]
        assert len(run(one, picture(50, 60))[0]["regions"]) == 16
    with pytest.raises(WeightsError, match="--random-init needs to know the architecture of no/such-model"):
        encoder("regions", "no/such-model", random_init=0)


def without_settings(folder: Path) -> None:
    (folder / PREPROCESSOR).unlink()


def with_padding(folder: Path) -> None:
    settings = {"size": {"height": 20, "width": 20}, "crop_size": SQUARE}
    transformers.CLIPImageProcessor(**settings).save_pretrained(folder)


def of_text(folder: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=20)).save_pretrained(folder)


def masked(folder: Path) -> None:
    shutil.rmtree(folder)
    transformers.ViTMAEModel(transformers.ViTMAEConfig(**VIT)).save_pretrained(folder)
    transformers.ViTImageProcessor(size=SQUARE).save_pretrained(folder)


def lacking(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    changed(folder / "config.json", vision_config={**config["vision_config"], "num_hidden_layers": 3})


def own_code(folder: Path) -> None:
    auto = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "unheard-of", "auto_map": auto}))
    (folder / "code.py").write_text("raise SystemExit('run')")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (own_code, r"is made by code of its own, which is never run"),
        (
            without_settings,
            r"holds no settings of an image processor\n.*preprocessor_config\.json[\s\S]*into its folder",
        ),
        (lambda folder: (folder / PREPROCESSOR).write_text("{"), r"preprocessor_config\.json: not what its name says"),
        (with_padding, r"does more than resize and crop[\s\S]*pixels away on average, in an image of 200 x 140"),
        (of_text, r"is not a vision model[\s\S]*BertModel, which takes input_ids"),
        (masked, r"cannot be accounted for[\s\S]*5 tokens where 4 x 4 patches make 16 or 17"),
        (lacking, r"lack 16 tensors of its architecture[\s\S]*layers\.2\."),
        (lambda folder: (folder / "model.safetensors").unlink(), r"the model of .* cannot be loaded"),
    ],
)
def test_models_that_cannot_serve_say_why(
    change: Callable[[Path], object], message: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("clip"), tmp_path / "clip")
    change(folder)
    for kind in ("regions", "context"):
        with pytest.raises(WeightsError, match=message):
            encoder(kind, folder)


def test_timm_that_is_not_installed_is_named(saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("timm-vit")
    monkeypatch.setattr(transformers_vision, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"is a model of timm, which is not installed[\s\S]*pip install timm"):
        encoder("context", folder)


def test_a_seed_can_be_asked_for_one_kind_alone(saved: Callable[[str], Path]) -> None:
    regions, context = (encoder(kind, saved("vit"), random_init="regions=0") for kind in ("regions", "context"))
    assert regions.spec.weights["random_init"] == 0
    assert not context.spec.untrained


def test_needs_are_those_of_a_model(saved: Callable[[str], Path]) -> None:
    config = EncoderConfig(regions=str(saved("clip")), context_encoder="no/such-model")
    rows = {row.encoder: row for row in build.required_weights(config)}
    assert rows[str(saved("clip"))].found == saved("clip") / "model.safetensors"
    assert (rows["no/such-model"].needs, rows["no/such-model"].found) == ("vision model", None)


@pytest.mark.parametrize("name", ["clip", "siglip2", "vit", "timm-vit"])
def test_models_come_by_name_from_the_hub(name: str, saved: Callable[[str], Path], hub: LoopbackHub) -> None:
    title = "timm/tiny" if name.startswith("timm") else f"some/{name}"
    hub.add(title, saved(name))
    image = picture(100, 140)
    for kind in ("regions", "context"):
        one, other = encoder(kind, title), encoder(kind, saved(name))
        assert one.spec.name == title
        assert one.spec.weights["sha256"] == other.spec.weights["sha256"]
        assert one.spec.preprocessing == other.spec.preprocessing
        for a, b in zip(run(one, image)[0].values(), run(other, image)[0].values(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_name_without_settings_of_images_says_which_file_lacks(
    saved: Callable[[str], Path], hub: LoopbackHub, tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("vit"), tmp_path / "vit")
    without_settings(folder)
    hub.add("some/vit", folder)
    with pytest.raises(
        WeightsError, match=r"some/vit holds no settings of an image processor\n.*preprocessor_config\.json"
    ):
        encoder("regions", "some/vit")


@pytest.mark.parametrize(
    ("geometry", "size", "seen"),
    [
        (Geometry(), (50, 80), (0, 0, 80, 50)),
        (Geometry(shortest=25, crop=(20, 20)), (50, 80), (20, 4, 60, 44)),
        (Geometry(shortest=25, crop=(20, 20)), (80, 50), (4, 20, 44, 60)),
        (Geometry(stretched=(100, 40), crop=(50, 20)), (50, 80), (20, 12.5, 60, 37.5)),
        (Geometry(shortest=21, crop=(20, 20)), (21, 21), (0, 0, 20, 20)),
    ],
)
def test_what_a_processor_shows_of_an_image(geometry: Geometry, size: tuple[int, int], seen: Any) -> None:
    assert geometry.seen(*size) == pytest.approx(seen)
