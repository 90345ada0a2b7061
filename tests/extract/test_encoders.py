"""The encoders against what torchvision and transformers compute when they are called by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import torchvision
import transformers
from PIL import Image
from torchvision.transforms import v2

from itin.device import pick_device
from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import build, own, resnet
from itin.extract.encoders.context import ResNetContext
from itin.extract.encoders.grid import GridRegions, cell_boxes
from itin.extract.encoders.tokens import BertTokens, needs_built_tokenizer
from itin.extract.encoders.wordpiece import build_tokenizer, train_wordpiece
from itin.extract.weights.detector import find_detector_weights
from itin.extract.weights.packaged import PACKAGES
from itin.extract.weights.requirement import WeightsRequirement

from ..test_weights_file import PAGE, POINTER

CPU = torch.device("cpu")
TEXTS = ["The happy dog runs", "A sad, sad cat!", "dogs and cats and dogs", "ruining"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "weights"))


def picture(width: int = 90, height: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_torchvision(image: np.ndarray, size: int) -> torch.Tensor:
    steps = v2.Compose(
        [
            v2.Resize((size, size), antialias=True),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    result: torch.Tensor = steps(Image.fromarray(image))
    return result[None]


def resnet18(seed: int) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torchvision.models.resnet18(weights=None).eval()


@pytest.mark.parametrize("size", [(90, 50), (50, 90), (48, 48), (600, 130)])
def test_context_of_the_centre_is_that_of_torchvisions_transforms(size: tuple[int, int]) -> None:
    """As the authors' demo prepares an image: the shorter side to 256, the middle 224 x 224."""
    encoder = ResNetContext(EncoderConfig(context_encoder="resnet18-center", random_init=3), CPU)
    demo = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(256),
            torchvision.transforms.CenterCrop(224),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image = picture(*size)
    torch.testing.assert_close(encoder.prepare(image), demo(Image.fromarray(image)), rtol=1e-6, atol=1e-6)
    whole = ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=3), CPU)
    assert encoder.spec.weights["sha256"] == whole.spec.weights["sha256"]
    assert (encoder.spec.name, encoder.spec.preprocessing["center_crop"]) == ("resnet18-center", 224)
    assert "center_crop" not in whole.spec.preprocessing


def test_context_is_resnet18_without_its_top() -> None:
    encoder = ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=3), CPU)
    images = [picture(90, 50, 1), picture(40, 60, 2)]
    outputs = encoder.encode([encoder.prepare(image) for image in images])
    plain = resnet18(3)
    for image, output in zip(images, outputs, strict=True):
        trunk = torch.nn.Sequential(*list(plain.children())[:-1])
        with torch.inference_mode():
            expected = trunk(by_torchvision(image, 224)).flatten()
        np.testing.assert_allclose(output["context"], expected, rtol=1e-4, atol=1e-5)
    assert encoder.spec.dims == {"feature": 512}


def test_small_grid_takes_the_cells_that_differ_most() -> None:
    encoder = GridRegions(EncoderConfig(regions="grid-small", random_init=3, max_regions=5), CPU)
    image = picture(90, 50, 1)
    (output,) = encoder.encode([encoder.prepare(image)])
    plain = torch.nn.Sequential(*list(resnet18(3).children())[:5])
    with torch.inference_mode():
        cells = plain(by_torchvision(image, 56))[0].flatten(1).T.numpy()  # (196, 64)
    scores = np.linalg.norm(cells - cells.mean(0), axis=1)
    np.testing.assert_allclose(output["regions"], cells[np.argsort(-scores, kind="stable")[:5]], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(output["scores"], np.sort(scores)[::-1][:5], rtol=1e-4)


def test_grid_takes_the_strongest_cells_with_their_boxes() -> None:
    encoder = GridRegions(EncoderConfig(regions="grid-resnet18", random_init=3, max_regions=5), CPU)
    image = picture(90, 50, 1)
    (output,) = encoder.encode([encoder.prepare(image)])
    plain = torch.nn.Sequential(*list(resnet18(3).children())[:-2])
    with torch.inference_mode():
        cells = plain(by_torchvision(image, 224))[0].flatten(1).T.numpy()  # (49, 512)
    scores = cells.mean(1)
    order = np.argsort(-scores, kind="stable")[:5]
    np.testing.assert_allclose(output["regions"], cells[order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(output["scores"], scores[order], rtol=1e-4)
    for box, cell in zip(output["boxes"], order, strict=True):
        row, column = divmod(int(cell), 7)
        expected = [column / 7 * 90, row / 7 * 50, (column + 1) / 7 * 90, (row + 1) / 7 * 50]
        np.testing.assert_allclose(box, expected, rtol=1e-5, atol=1e-4)
    assert (output["objects"] == -1).all()
    assert (output["attributes"] == -1).all()


def test_cell_boxes_tile_the_image() -> None:
    boxes = cell_boxes(2, 3)
    assert boxes[0].tolist() == [0, 0, pytest.approx(1 / 3), 0.5]
    assert boxes[5].tolist() == [pytest.approx(2 / 3), 0.5, 1, 1]
    assert float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()) == pytest.approx(1)


def test_grid_is_2048_wide_on_14_by_14_cells() -> None:
    encoder = GridRegions(EncoderConfig(regions="grid", random_init=0, max_regions=500), CPU)
    (output,) = encoder.encode([encoder.prepare(picture())])
    assert encoder.spec.dims == {"feature": 2048, "max_regions": 500}
    assert output["regions"].shape == (196, 2048)
    assert (np.diff(output["scores"]) <= 0).all()


def test_random_weights_come_from_their_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (
        ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=seed), CPU).spec for seed in (0, 0, 1)
    )
    assert torch.equal(torch.rand(1), expected)
    assert one == same
    assert one.untrained
    assert one.weights["sha256"] != other.weights["sha256"]


def test_trained_resnet_is_read_from_torch_home() -> None:
    path = resnet.weights_path("resnet18")
    path.parent.mkdir(parents=True)
    model = resnet18(7)
    torch.save(model.state_dict(), path)
    encoder = ResNetContext(EncoderConfig(context_encoder="resnet18"), CPU)
    untrained = ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=7), CPU)
    image = picture()
    np.testing.assert_array_equal(
        encoder.encode([encoder.prepare(image)])[0]["context"],
        untrained.encode([untrained.prepare(image)])[0]["context"],
    )
    assert not encoder.spec.untrained
    assert encoder.spec.weights == {"file": path.name, "sha256": untrained.spec.weights["sha256"]}
    old = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(old, path)  # as before PyTorch 0.4.1
    assert ResNetContext(EncoderConfig(context_encoder="resnet18"), CPU).spec == encoder.spec


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(PAGE), "a web page, '404 Not Found'"),
        (lambda path: path.write_bytes(POINTER), "a Git LFS pointer"),
        (lambda path: path.write_bytes(b"not a checkpoint"), "16 bytes that begin with 'not a checkpoint'"),
        (lambda path: path.write_bytes(b"\x80\x02"), "a file that cannot be read"),
        (cut, "cut off"),
        (lambda path: torch.save([1], path), "a list"),
        (
            lambda path: torch.save(torchvision.models.resnet34(weights=None).state_dict(), path),
            r"the weights of another model: \d+ unknown: layer1\.2\.",
        ),
        (
            lambda path: torch.save({**resnet18(0).state_dict(), "fc.bias": torch.zeros(7)}, path),
            r"the weights of another model: 1 of another shape: fc\.bias \(7,\) instead of \(1000,\)",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["context", "regions"])
def test_a_resnet_file_that_is_none(kind: str, change: Callable[[Path], object], found: str) -> None:
    path = resnet.weights_path("resnet18")
    path.parent.mkdir(parents=True)
    torch.save(resnet18(0).state_dict(), path)
    change(path)
    config = EncoderConfig(regions="grid-small", context_encoder="resnet18")
    with pytest.raises(
        WeightsError, match=rf"{path} does not hold the weights of resnet18\n  expected: .*\n  found:    .*{found}"
    ):
        build.build_encoder(kind, config, CPU)


def test_missing_resnet_says_where_it_belongs() -> None:
    with pytest.raises(WeightsError, match=r"cannot be downloaded: offline mode[\s\S]*resnet18-f37072fd\.pth"):
        ResNetContext(EncoderConfig(context_encoder="resnet18"), CPU)


def bert_folder(folder: Path, *, trained: bool = True, tokenizer: bool = True) -> Path:
    """A small BERT in the layout of the hub, with seeded random weights."""
    folder.mkdir()
    config = transformers.BertConfig(
        vocab_size=200, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    config.save_pretrained(folder)
    if tokenizer:
        (folder / "tokenizer.json").write_bytes(train_wordpiece(TEXTS * 2))
        special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special})
        )
    if trained:
        torch.manual_seed(0)
        transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_tokens_are_the_last_hidden_state(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    encoder = BertTokens(EncoderConfig(text_encoder=str(folder)), CPU, batch_size=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    for text, output in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**inputs).last_hidden_state[0]
        np.testing.assert_allclose(output["tokens"], expected, rtol=1e-4, atol=1e-5)
        assert output["token_ids"].tolist() == inputs["input_ids"][0].tolist()
        words = [-1 if word is None else word for word in inputs.word_ids(0)]
        assert output["word_ids"].tolist() == words
        assert words[0] == words[-1] == -1
    assert encoder.words("A sad, sad cat!") == ["A", "sad", ",", "sad", "cat", "!"]
    assert encoder.spec.name == "bert"
    assert encoder.spec.dims == {"feature": 24}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batches_come_back_in_the_order_of_the_texts(dtype: str, tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    encoder = BertTokens(EncoderConfig(text_encoder=str(folder), compute_dtype=dtype), CPU, batch_size=2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    model.eval().requires_grad_(False)
    texts = [*TEXTS, "", TEXTS[1] * 3, "a cat"]
    found = encoder.encode(texts)
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    by_length = sorted(range(len(texts)), key=lengths.__getitem__)
    for start in range(0, len(texts), 2):
        members = by_length[start : start + 2]
        inputs = tokenizer([texts[i] for i in members], return_tensors="pt", padding=True)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            expected = model(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state.float().numpy()
        for row, i in enumerate(members):
            np.testing.assert_array_equal(found[i]["tokens"], expected[row, : lengths[i]])


def test_long_texts_keep_their_first_wordpieces(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    text = " ".join(TEXTS * 20)
    (output,) = BertTokens(EncoderConfig(text_encoder=str(folder), max_tokens=7), CPU).encode([text])
    whole = BertTokens(EncoderConfig(text_encoder=str(folder)), CPU).encode([text])[0]
    assert len(output["token_ids"]) == 9
    assert len(whole["token_ids"]) == 102
    assert output["token_ids"][:8].tolist() == whole["token_ids"][:8].tolist()
    assert output["word_ids"][-1] == -1


@pytest.mark.parametrize(
    ("family", "length"), [("bert", 20), ("roberta", 18), ("camembert", 18), ("xlm-roberta", 18), ("mpnet", 18)]
)
def test_long_texts_fill_the_positions_that_a_model_has(family: str, length: int, tmp_path: Path) -> None:
    """RoBERTa's like count from the padding's position on: of 20 they have 18, special tokens included."""
    words = {word: i for i, word in enumerate(("<s>", "<pad>", "</s>", "<unk>", "the", "happy", "dog", "runs"))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    fast.save_pretrained(tmp_path)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=len(words), max_position_embeddings=20, pad_token_id=1, **sizes
    )
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path)
    encoder = BertTokens(EncoderConfig(text_encoder=str(tmp_path), max_tokens=30), CPU)
    long, short = encoder.encode(["the happy dog runs " * 10, "the dog"])
    assert long["token_ids"].tolist() == [0, *([4, 5, 6, 7] * 10)[: length - 2], 2]
    assert short["token_ids"].tolist() == [0, 4, 6, 2]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor(long["token_ids"][None], dtype=torch.long))[0][0]
    np.testing.assert_allclose(long["tokens"], expected, rtol=1e-4, atol=1e-5)
    assert encoder.spec.preprocessing["max_tokens"] == 18  # as ever: what was made of shorter texts is still found


def test_a_checkpoint_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(WeightsError, match=r"lack 16 tensors[\s\S]*encoder\.layer\.2\."):
        BertTokens(EncoderConfig(text_encoder=str(folder)), CPU)


def test_untrained_text_encoder_with_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert", trained=False, tokenizer=False)
    config = EncoderConfig(text_encoder=str(folder), random_init=1)
    assert needs_built_tokenizer(config)
    (tmp_path / "tokenizer.json").write_bytes(train_wordpiece(TEXTS * 2))
    encoder = build.build_encoder("tokens", config, CPU, tokenizer_file=tmp_path / "tokenizer.json")
    outputs = encoder.encode(TEXTS)
    assert [output["word_ids"].max() + 1 for output in outputs] == [4, 6, 5, 1]
    assert encoder.spec.untrained
    with pytest.raises(
        WeightsError, match=r"the tokenizer of .* cannot be loaded: (no vocabulary|.*Can't load tokenizer|.*TypeError)"
    ):
        BertTokens(EncoderConfig(text_encoder=str(folder)), CPU)


def test_built_vocabulary_is_a_real_wordpiece(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(train_wordpiece(["running runner runs"] * 5 + ["jumping jumper jumps"] * 5))
    tokenizer = build_tokenizer(path)
    assert tokenizer.convert_ids_to_tokens(tokenizer("Running")["input_ids"]) == ["[CLS]", "running", "[SEP]"]
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("jumpning")["input_ids"])[1:-1]
    assert len(pieces) > 1
    assert "".join(piece.removeprefix("##") for piece in pieces) == "jumpning"
    assert train_wordpiece(TEXTS) == train_wordpiece(TEXTS)


def test_random_init_needs_an_architecture() -> None:
    with pytest.raises(WeightsError, match="needs to know the architecture of no/such-model"):
        BertTokens(EncoderConfig(text_encoder="no/such-model", random_init=0), CPU, tokenizer_file=None)


def test_missing_model_says_where_it_is_looked_for() -> None:
    with pytest.raises(WeightsError, match=r"the tokenizer of bert-base-uncased cannot be loaded[\s\S]*HF_HOME"):
        BertTokens(EncoderConfig(text_encoder="bert-base-uncased"), CPU)


def test_missing_detector_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none were found[\s\S]*--detector-weights FILE[\s\S]*--regions grid"):
        find_detector_weights(None)
    with pytest.raises(WeightsError, match=r"nowhere\.pth is not a file"):
        find_detector_weights(str(tmp_path / "nowhere.pth"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "faster_rcnn_from_caffe_attr.pkl").write_bytes(b"x")
    assert find_detector_weights(None).name == "faster_rcnn_from_caffe_attr.pkl"


def test_weights_are_listed_with_their_digest(tmp_path: Path) -> None:
    path = resnet.weights_path("resnet18")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    rows = {
        row.encoder: row
        for row in build.required_weights(EncoderConfig(text_encoder=str(bert_folder(tmp_path / "bert"))))
    }
    assert rows["resnet18"].sha256() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert rows["grid"].found is None
    assert rows["vg-frcnn"].found is None
    assert rows[str(tmp_path / "bert")].found == tmp_path / "bert" / "model.safetensors"


def test_every_kind_of_weights_is_listed_once() -> None:
    rows = build.required_weights(EncoderConfig(text_encoder="no/such-model"))
    torchvision = [name for name in build.ENCODERS["regions"] if name.startswith("fasterrcnn_")]
    assert [row.encoder for row in rows] == [
        *("vg-frcnn", "grid", "grid-resnet18", "efficientnet-lite0"),
        *torchvision,
        *("resnet18", "minilm", "no/such-model"),
    ]
    assert [row.needs for row in rows if row.needs.startswith("resnet")] == [
        "resnet50, ImageNet",
        "resnet18, ImageNet",
        "resnet18, ImageNet",
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, names in build.ENCODERS.items()
        for name in names
        if name not in ("vg-frcnn", build.ANY, *PACKAGES)  # for the last see test_small.py
    ],
)
def test_every_line_of_the_table_makes_an_encoder(kind: str, name: str) -> None:
    option = own.FIELDS[kind]
    encoder = build.build_encoder(kind, EncoderConfig(random_init=0, **{option: name}), CPU, batch_size=3)
    assert (encoder.spec.kind, encoder.spec.name, encoder.batch_size) == (kind, name, 3)


def test_a_new_encoder_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        def __init__(self, config: EncoderConfig, device: torch.device, *, batch_size: int | None = None) -> None:
            self.made = (config.context_encoder, config.random_init, device, batch_size)

        @staticmethod
        def needs(config: EncoderConfig) -> WeightsRequirement:
            return WeightsRequirement(config.context_encoder, "nothing", "nowhere", None, "go without")

    monkeypatch.setitem(sys.modules, "itin.extract.encoders.mine", SimpleNamespace(Mine=Mine))
    monkeypatch.setitem(build.ENCODERS["context"], "mine", "mine:Mine")
    made = build.build_encoder("context", EncoderConfig(context_encoder="mine", random_init=4), CPU)
    assert made.made == ("mine", 4, CPU, None)
    assert "mine" in [row.encoder for row in build.required_weights(EncoderConfig(text_encoder="no/such-model"))]


def test_unknown_names_and_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown region encoder 'yolo': choose one of vg-frcnn, grid"):
        build.build_encoder("regions", EncoderConfig(regions="yolo"), CPU)
    with pytest.raises(ValueError, match="unknown context encoder 'vgg'"):
        build.build_encoder("context", EncoderConfig(context_encoder="vgg"), CPU)
    with pytest.raises(ValueError, match="device 'cuda:77' is not available here"):
        pick_device("cuda:77")


def test_bfloat16_stays_near_float32() -> None:
    image = picture(64, 64)
    exact, fast = (
        ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=0, compute_dtype=dtype), CPU)
        for dtype in ("float32", "bfloat16")
    )
    a = exact.encode([exact.prepare(image)])[0]["context"]
    b = fast.encode([fast.prepare(image)])[0]["context"]
    assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.999
    assert exact.spec.preprocessing != fast.spec.preprocessing


@pytest.mark.parametrize(
    ("given", "kept", "seeds"),
    [
        (3, 3, (3, 3, 3)),
        ("3", 3, (3, 3, 3)),
        ("context=0", "context=0", (None, None, 0)),
        ("context=0, regions=7", "regions=7,context=0", (7, None, 0)),
        ("tokens=2,regions=2,context=2", 2, (2, 2, 2)),
        (None, None, (None, None, None)),
    ],
)
def test_random_weights_of_some_kinds_alone(given: Any, kept: Any, seeds: tuple[int | None, ...]) -> None:
    config = EncoderConfig(random_init=given)
    assert config.random_init == kept
    assert tuple(config.seed_of(kind) for kind in ("regions", "tokens", "context")) == seeds


@pytest.mark.parametrize(
    "given", ["", "x", "context", "context=x", "words=1", "context=1,context=2", "-1", "1.5", True]
)
def test_a_seed_that_is_none_is_named(given: Any) -> None:
    with pytest.raises(ValueError, match="random_init: expected a seed, or KIND=SEED"):
        EncoderConfig(random_init=given)


@pytest.mark.parametrize("grid", ["3", "0x3", "3x", "axb", "3x3x3"])
def test_a_grid_that_is_none_is_named(grid: str) -> None:
    with pytest.raises(ValueError, match="region_grid: expected rows and columns such as 3x3"):
        EncoderConfig(region_grid=grid)
