"""`itin weights`, `fetch` and `pack`: what is listed, and a packed folder as the only source of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import transformers
from huggingface_hub import constants

from itin.cache import open_store
from itin.extract.encoders import resnet
from itin.extract.weights import names
from itin.extract.weights.detector import REPO

from ...commands.test_cli import itin
from ...loopback_hub import LoopbackHub
from ..test_encoders import bert_folder
from .test_detector import own_weights, published, small  # noqa: F401

Draw = Callable[..., Path]
BERT = "someone/tiny-bert"


@pytest.fixture
def served(hub: LoopbackHub, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:  # noqa: F811
    """A hub with the detector and a BERT, and a ResNet where torch keeps it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (bert_folder(tmp_path / "bert") / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.add(BERT, tmp_path / "bert")
    path = resnet.weights_path("resnet18")
    path.parent.mkdir(parents=True)
    torch.manual_seed(7)
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return hub


def no_network(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, with empty caches."""
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty" / "hub"))
    patch.setenv("TORCH_HOME", str(tmp_path / "empty" / "torch"))


def stores(cache: Path) -> dict[str, Path]:
    return {path.name.split("-")[0]: path for path in (cache / "mvsa-single").glob("*-*") if path.is_dir()}


def test_a_packed_folder_is_enough(
    small: None,  # noqa: F811
    served: LoopbackHub,
    tmp_path: Path,
    draw_mvsa: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, packed = draw_mvsa(tmp_path / "data", pairs=3), tmp_path / "packed"
    start = ("extract", "--dataset", "mvsa-single", "--root", root, "--text-encoder", BERT, "--max-regions", "12")
    itin(*start, "--cache", tmp_path / "here")
    told = itin("weights", "pack", packed, "--text-encoder", BERT)
    assert f"ITIN_WEIGHTS={packed}" in told
    record = json.loads((packed / "weights.json").read_text())["files"]
    resnet_file = f"checkpoints/{resnet.weights_path('resnet18').name}"
    bert_files = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert set(record) == {
        "pytorch_model.bin",
        *(names.OBJECTS_FILE, names.ATTRIBUTES_FILE),
        resnet_file,
        *(f"models/{BERT}/{file}" for file in bert_files),
    }
    for place, known in record.items():
        assert known["sha256"] == hashlib.sha256((packed / place).read_bytes()).hexdigest()
    assert record["pytorch_model.bin"]["repo"] == REPO
    assert record[f"models/{BERT}/model.safetensors"]["licence"] == "mit"

    no_network(monkeypatch, tmp_path)
    before = len(served.requests)
    assert "none were found" in itin(*start, "--cache", tmp_path / "none", code=1)
    monkeypatch.setenv("ITIN_WEIGHTS", str(packed))
    itin(*start, "--cache", tmp_path / "there")
    assert len(served.requests) == before
    here, there = stores(tmp_path / "here"), stores(tmp_path / "there")
    assert set(here) == {"regions", "tokens", "context"}
    for kind, path in here.items():
        one, other = open_store(path), open_store(there[kind])
        assert path.name == there[kind].name  # the same encoder, so the same fingerprint
        assert one.manifest["provenance"]["weights"] == other.manifest["provenance"]["weights"]
        rows = np.arange(3)
        ours, theirs = (
            store.read_ragged(rows)["tokens"] if kind == "tokens" else store.read(kind, rows) for store in (one, other)
        )
        assert np.ptp(ours) > 0
        np.testing.assert_array_equal(ours, theirs)
    listed = {row["encoder"]: row for row in json.loads(itin("weights", "--text-encoder", BERT, "--json"))}
    assert listed[BERT]["found"] == str(packed / "models" / BERT / "model.safetensors")
    assert listed[BERT]["commit"] == record[f"models/{BERT}/model.safetensors"]["commit"]
    assert (listed[BERT]["licence"], listed["vg-frcnn"]["licence"]) == ("mit", None)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_packed_file_that_changed(
    served: LoopbackHub,
    tmp_path: Path,
    draw_mvsa: Draw,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
) -> None:
    packed = tmp_path / "packed"
    itin("weights", "pack", packed, "--text-encoder", BERT, "--only", "tokens")
    no_network(monkeypatch, tmp_path)
    monkeypatch.setenv("ITIN_WEIGHTS", str(packed))
    path = packed / "models" / BERT / file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if file == "model.safetensors" else data + b"\n")
    root = draw_mvsa(tmp_path / "data", pairs=2)
    start = ("extract", "--dataset", "mvsa-single", "--root", root, "--only", "tokens", "--text-encoder", BERT)
    told = itin(*start, "--cache", tmp_path / "cache", code=1)
    assert f"{path}: not the file that weights.json names" in told
    assert "itin weights pack" in told


def test_packed_names_that_changed(
    small: None,  # noqa: F811
    served: LoopbackHub,
    tmp_path: Path,
    draw_mvsa: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = tmp_path / "packed"
    itin("weights", "pack", packed, "--only", "regions")
    no_network(monkeypatch, tmp_path)
    monkeypatch.setenv("ITIN_WEIGHTS", str(packed))
    path = packed / names.OBJECTS_FILE
    path.write_text(path.read_text().replace("thing 3", "thing 4"))
    root = draw_mvsa(tmp_path / "data", pairs=2)
    start = ("extract", "--dataset", "mvsa-single", "--root", root, "--only", "regions")
    assert f"{path}: not the file that weights.json names" in itin(*start, "--cache", tmp_path / "cache", code=1)


def test_a_record_that_cannot_be_read(served: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "packed"
    itin("weights", "pack", packed, "--text-encoder", BERT, "--only", "tokens")
    (packed / "weights.json").write_text("[]")
    assert "the record of a packed folder cannot be read" in itin(
        "weights", "pack", packed, "--only", "context", code=1
    )


def test_packing_again_adds(served: LoopbackHub, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    itin("weights", "pack", packed, "--text-encoder", BERT, "--only", "tokens")
    itin("weights", "pack", packed, "--only", "context")
    places = set(json.loads((packed / "weights.json").read_text())["files"])
    assert f"models/{BERT}/config.json" in places
    assert any(place.startswith("checkpoints/resnet18") for place in places)


def test_a_folder_of_ones_own_is_not_packed(served: LoopbackHub, tmp_path: Path) -> None:
    told = itin("weights", "pack", tmp_path / "packed", "--text-encoder", tmp_path / "bert", "--only", "tokens", code=1)
    assert "its weights cannot be packed" in told
    assert "copy its files to the other machine" in told


def test_fetch_gets_what_the_options_name(served: LoopbackHub, tmp_path: Path) -> None:
    itin("weights", "fetch", "--random-init", "regions=0", "--text-encoder", BERT)
    assert not served.asked("GET", REPO)
    assert served.asked("GET", f"/files/{BERT}/model.safetensors")
    itin("weights", "fetch", "--only", "tokens", "--text-encoder", BERT)
    assert len(served.asked("GET", f"/files/{BERT}/model.safetensors")) == 1
    told = itin("weights", "fetch", "--only", "words", code=2)
    assert "only: expected some of" in told


def test_the_list(served: LoopbackHub, tmp_path: Path) -> None:
    told = itin("weights", "--text-encoder", BERT)
    assert "get it    downloaded when first used" in told
    assert not served.requests  # the list downloads nothing
    itin("weights", "fetch", "--text-encoder", BERT)
    told = itin("weights", "--text-encoder", BERT)
    digest = hashlib.sha256((tmp_path / "bert" / "model.safetensors").read_bytes()).hexdigest()
    assert f"sha256    {digest}, as its origin says" in told
    assert f"from      {BERT}, commit " in told
    assert "licence   mit" in told
    assert "licence   none stated" in told


def test_a_vision_model_for_two_kinds(
    served: LoopbackHub, tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, name, packed = tmp_path / "vit", "someone/tiny-vit", tmp_path / "packed"
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    torch.manual_seed(0)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}})
    )
    commit = served.add(name, folder)
    options = ("--only", "regions,context", "--regions", name, "--context-encoder", name)
    itin("weights", "pack", packed, *options)
    assert len(served.asked("GET", "/files/")) == 1
    no_network(monkeypatch, tmp_path)
    monkeypatch.setenv("ITIN_WEIGHTS", str(packed))
    root = draw_mvsa(tmp_path / "data", pairs=2)
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", *options)
    found = stores(tmp_path / "cache")
    assert set(found) == {"regions", "context"}
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    for path in found.values():
        (one,) = open_store(path).manifest["provenance"]["weights"]
        assert one == {"file": "model.safetensors", "sha256": digest, "repo": name, "commit": commit}
