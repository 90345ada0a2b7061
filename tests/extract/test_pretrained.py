"""Folders and the hub's cache with files that are not what they seem, through the text encoder that reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import build
from itin.extract.encoders.contract import state_sha256
from itin.extract.encoders.pretrained import weight_files
from itin.extract.encoders.tokens import BertTokens, needs_built_tokenizer
from itin.extract.encoders.wordpiece import build_tokenizer, train_wordpiece
from itin.extract.weights.requirement import WeightsRequirement

from ..commands.test_cli import itin
from ..test_weights_file import PAGE, POINTER, Hostile
from .test_encoders import CPU, TEXTS, bert_folder

Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT, its weights as safetensors."""
    return bert_folder(tmp_path / "bert")


@pytest.fixture
def as_bin(folder: Path) -> Path:
    """The same as a PyTorch file."""
    torch.save(transformers.AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def sharded(folder: Path) -> Path:
    """The same in six files."""
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    return folder


def load(name: Path | str, random_init: int | None = None) -> BertTokens:
    return BertTokens(EncoderConfig(text_encoder=str(name), random_init=random_init), CPU)


def refused(name: Path | str, *parts: str, random_init: int | None = None) -> str:
    with pytest.raises(WeightsError) as error:
        load(name, random_init)
    message = str(error.value)
    assert "expected:" in message
    assert "next:" in message
    for part in parts:
        assert part in message, message
    return message


def test_all_forms_are_the_same_encoder(folder: Path, tmp_path: Path) -> None:
    digest = state_sha256(transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False))
    assert load(folder).spec.weights == {"file": str(folder), "sha256": digest}
    whole = transformers.AutoModel.from_pretrained(folder)
    others = [Path(shutil.copytree(folder, tmp_path / name)) for name in ("bin", "shards")]
    for other in others:
        (other / "model.safetensors").unlink()
    torch.save(whole.state_dict(), others[0] / "pytorch_model.bin")
    whole.save_pretrained(others[1], max_shard_size="10KB")
    assert [load(other).spec.weights["sha256"] for other in others] == [digest, digest]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("form", ["folder", "as_bin"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda path: path.write_bytes(POINTER), "a Git LFS pointer"),
        (lambda path: path.write_bytes(PAGE), "a web page, '404 Not Found'"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"Entry not found"), "15 bytes that begin with 'Entry not found'"),
        (lambda path: cut(path, 40), "cut off"),
        (lambda path: cut(path, 70_000), "cut off"),
        (lambda path: cut(path, -1), "cut off"),
        (lambda path: (path.unlink(), path.symlink_to("../blobs/0")), "a link to ../blobs/0, which is not there"),
    ],
)
def test_weights_that_are_none(form: str, change: Change, found: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(form) / ("model.safetensors" if form == "folder" else "pytorch_model.bin")
    change(path)
    assert refused(path.parent, "expected: the weights of a model", found).startswith(f"{path}: not what its name says")


def test_weights_under_the_name_of_another_form(as_bin: Path) -> None:
    (as_bin / "pytorch_model.bin").rename(as_bin / "model.safetensors")
    refused(as_bin, "model.safetensors: not what its name says", "form pytorch", "pytorch_model.bin")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "a list instead of named arrays"),
        ({"x": Hostile(Path("owned"))}, "it asks for "),
    ],
)
def test_a_bin_of_something_else(
    as_bin: Path, content: Any, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, as_bin / "pytorch_model.bin")
    assert refused(as_bin, found).startswith(str(as_bin / "pytorch_model.bin"))
    assert not Path("owned").exists()


def test_weights_of_another_architecture(as_bin: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, as_bin / "pytorch_model.bin")
    refused(as_bin, "lack 37 tensors", "expected: embeddings.", "found:    1 that it does not have: conv1.weight")
    torch.save({"epoch": 3}, as_bin / "pytorch_model.bin")
    refused(as_bin, "epoch")


def test_files_that_are_not_read_may_be_anything(as_bin: Path) -> None:
    """A clone without Git LFS in which the one file that is used was downloaded by hand."""
    (as_bin / "model.safetensors").symlink_to("nowhere")
    for name in ("tf_model.h5", "vocab.txt", "merges.txt", "pytorch_model.bin.index.json", "spiece.model"):
        (as_bin / name).write_bytes(POINTER)
    load(as_bin)


@pytest.mark.parametrize(
    ("change", "file", "found"),
    [
        (lambda shard, _: shard.unlink(), "model-00002-of", "no such file"),
        (lambda shard, _: shard.write_bytes(POINTER), "model-00002-of", "a Git LFS pointer"),
        (lambda shard, _: cut(shard, 5000), "model-00002-of", "cut off"),
        (lambda _, index: index.write_bytes(PAGE), "model.safetensors.index.json", "a web page"),
        (lambda _, index: index.write_text("[]"), "model.safetensors.index.json", "JSON of another kind: '[]'"),
        (lambda _, index: index.write_text("{}"), "model.safetensors.index.json", "no such weight_map"),
        (
            lambda _, index: index.write_text('{"weight_map": {"a": 1}}'),
            "model.safetensors.index.json",
            "no such weight_map",
        ),
    ],
)
def test_shards(sharded: Path, change: Callable[[Path, Path], object], file: str, found: str) -> None:
    load(sharded)
    change(sorted(sharded.glob("model-*"))[1], sharded / "model.safetensors.index.json")
    assert refused(sharded, found).startswith(str(sharded / file))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[]", "JSON of another kind: '[]'"),
        (b"7", "JSON of another kind: '7'"),
        (b"null", "JSON of another kind: 'null'"),
        (b'{"model_type": "b\xe9rt"}', "cannot be read as JSON"),
        (b'{"model_type": "bert", "hid', "cannot be read as JSON"),
        (b"", "an empty file"),
        (POINTER, "a Git LFS pointer"),
        (PAGE, "a web page"),
    ],
)
@pytest.mark.parametrize("random_init", [None, 1])
def test_json_files_that_are_none(folder: Path, name: str, text: bytes, found: str, random_init: int | None) -> None:
    (folder / name).write_bytes(text)
    message = refused(folder, "a JSON object", found, random_init=random_init)
    assert message.startswith(f"{folder / name}: not what its name says")


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"model_type": "bert", "hidden_size": "x"}, "str"),
        ({"model_type": "bert", "hidden_size": 24, "num_attention_heads": 7}, "7"),
    ],
)
def test_a_configuration_that_the_library_refuses(folder: Path, config: dict[str, Any], cause: str) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    first, *rest = refused(folder).splitlines()
    assert str(folder) in first
    assert "cannot be loaded: " in first
    assert cause in first
    assert len(rest) == 2


@pytest.mark.parametrize("change", [{"model": {}}, {"added_tokens": [3]}, {"version": "9"}, None])
def test_a_tokenizer_that_the_library_refuses(folder: Path, change: dict[str, Any] | None) -> None:
    path = folder / "tokenizer.json"
    path.write_text("{}" if change is None else json.dumps({**json.loads(path.read_text()), **change}))
    assert refused(folder, "expected: a tokenizer", "a file that cannot be read (").startswith(str(path))


@pytest.mark.parametrize("content", [POINTER, PAGE, b""])
def test_a_vocabulary_that_is_none(folder: Path, content: bytes) -> None:
    """A pointer and a page used to be taken for words: every word of a text was unknown, and nobody told."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "happy"]))
    load(folder)
    (folder / "vocab.txt").write_bytes(content)
    refused(folder, "vocab.txt: not what its name says")


def with_tokenizer(folder: Path, change: Callable[[dict[str, Any]], object]) -> int:
    """Change the tokenizer; the number of its words before."""
    content = json.loads((folder / "tokenizer.json").read_text())
    words = len(content["model"]["vocab"])
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return words


def with_rows(folder: Path, rows: int) -> None:
    config = transformers.BertConfig.from_pretrained(folder, vocab_size=rows)
    config.save_pretrained(folder)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def test_a_tokenizer_may_have_as_many_words_as_its_model_and_fewer_but_not_more(folder: Path) -> None:
    words = with_tokenizer(folder, lambda content: None)
    for rows in (words + 100, words + 1, words):
        with_rows(folder, rows)
        load(folder).encode(TEXTS)
    with_rows(folder, words - 1)
    refused(
        folder,
        f"the tokenizer of {folder} has more words than its model",
        f"expected: ids below {words - 1}",
        f"found:    {words} words, with ids up to {words - 1}",
    )
    assert load(folder, random_init=0).encode(TEXTS)  # made for the tokenizer


def test_added_words_and_holes_count(folder: Path) -> None:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    words = with_tokenizer(
        folder,
        lambda content: content["added_tokens"].append(
            {"id": len(content["model"]["vocab"]), "content": "#x", **plain}
        ),
    )
    with_rows(folder, words)
    refused(folder, f"ids below {words}", f"{words + 1} words, with ids up to {words}")
    with_rows(folder, words + 1)
    assert words in load(folder).encode(["a #x dog"])[0]["token_ids"]
    with_tokenizer(folder, lambda content: content["model"]["vocab"].update(zebra=words + 500))
    refused(folder, f"with ids up to {words + 500}")
    assert words + 500 in load(folder, random_init=0).encode(["zebra"])[0]["token_ids"]


def test_weights_of_other_shapes_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    refused(
        folder,
        "differ from its config.json in the shape of 6 tensors",
        "expected: encoder.layer.0.intermediate.dense.bias (48,)",
        "found:    encoder.layer.0.intermediate.dense.bias ",
    )


def test_a_model_of_images_is_no_text_encoder(folder: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32
    )
    transformers.ViTModel(config).save_pretrained(folder)
    refused(folder, "is not a model of texts", "ViTModel, model_type vit, which reads pixel_values")


@pytest.mark.parametrize("random_init", [None, 0])
def test_a_model_of_a_newer_library(folder: Path, random_init: int | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert9", "transformers_version": "9.1.0"}))
    parts = ("model_type bert9 is not known", "saved by 9.1.0", f"transformers {transformers.__version__}")
    refused(folder, *parts, "pip install --upgrade transformers", random_init=random_init)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert9"}))
    refused(folder, "model_type bert9 is not known", "expected: a transformers that knows it\n")


def test_no_code_of_a_model_is_run_and_nobody_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": code}))
    (folder / "mine.py").write_text(f"open({str(folder / 'owned')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    refused(folder, "is made by code of its own, which is never run", "auto_map")
    assert not (folder / "owned").exists()


def test_a_file_instead_of_a_folder(folder: Path) -> None:
    path = folder / "model.safetensors"
    refused(path, f"{path}: a file, where a model's folder is wanted", f"name its folder: {folder}")


@pytest.fixture
def cached(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model in the hub's cache, as `some/bert`; its snapshot."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(transformers.utils.hub, "TRANSFORMERS_CACHE", str(tmp_path / "hub"), raising=False)  # before 5
    home = tmp_path / "hub" / "models--some--bert"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    return Path(shutil.copytree(folder, home / "snapshots" / ("a" * 40)))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_the_hubs_cache_is_checked_likewise(cached: Path, name: str) -> None:
    assert load("some/bert").spec.weights["file"] == "some/bert"
    assert weight_files("some/bert") == [cached / "model.safetensors"]
    (cached / name).write_bytes(PAGE)
    message = refused("some/bert", "a web page", "hf download some/bert --force-download")
    assert message.startswith(str(cached / name))


def test_names_that_the_hub_cannot_have() -> None:
    refused("a/b/c/d", "cannot be loaded: ")
    assert needs_built_tokenizer(EncoderConfig(text_encoder="a/b/c/d", random_init=0))


def test_a_built_tokenizer_that_was_damaged(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    whole = train_wordpiece(TEXTS * 2)
    for content in (whole[:300], b"", b"{}", b"[]", POINTER):
        path.write_bytes(content)
        with pytest.raises(
            WeightsError, match=rf"^{path}: not the tokenizer that was built\n  expected:[\s\S]*found: "
        ):
            build_tokenizer(path)
    path.write_bytes(whole)
    assert len(build_tokenizer(path)) > 5


def test_the_list_of_weights_says_what_is_no_weights(sharded: Path) -> None:
    def row() -> WeightsRequirement:
        return {row.encoder: row for row in build.required_weights(EncoderConfig(text_encoder=str(sharded)))}[
            str(sharded)
        ]

    shards = sorted(sharded.glob("model-*"))
    assert (row().found, row().fault()) == (shards[0], None)
    shards[2].write_bytes(POINTER)
    assert row().found == shards[2]
    assert "a Git LFS pointer" in str(row().fault())
    (sharded / "model.safetensors.index.json").write_bytes(PAGE)
    assert row().found is None
    assert "a web page" in row().how


def test_the_command_line_shows_it_without_a_traceback(as_bin: Path, tmp_path: Path, draw_mvsa: Any) -> None:
    """An empty PyTorch file used to end in `Aborted!` alone."""
    (as_bin / "pytorch_model.bin").write_bytes(b"")
    root = draw_mvsa(tmp_path / "data", pairs=3)
    output = itin(
        *("extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache"),
        *("--only", "tokens", "--text-encoder", as_bin),
        code=1,
    )
    assert f"Error: {as_bin / 'pytorch_model.bin'}: not what its name says" in output
    assert "found:    an empty file" in output
    assert "but it is an empty file" in itin("weights", "--text-encoder", as_bin)
