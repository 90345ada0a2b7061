"""Models from the hub by its real client: downloads, interruptions, digests, closed doors, silence."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders.pretrained import locate, model_needs
from itin.extract.encoders.tokens import BertTokens
from itin.extract.weights import download
from itin.extract.weights import hub as client
from itin.extract.weights.hub import fetch_model, files_of_model
from itin.extract.weights.origin import origin_of
from itin.extract.weights.waiting import within

from ...loopback_hub import LoopbackHub
from ..test_encoders import CPU, TEXTS, bert_folder

NAME = "someone/tiny-bert"
MB = 1_000_000


@pytest.fixture(autouse=True)
def own_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT with what else lies in models' repositories."""
    made = bert_folder(tmp_path / "bert")
    (made / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    for name in ("pytorch_model.bin", "tf_model.h5", "modeling.py", "onnx/model.onnx", "pytorch_model.bin.index.json"):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_bytes(b"not wanted")
    return made


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model whose weights take several of the client's blocks of 10 MiB."""
    made = bert_folder(tmp_path / "large", trained=False)
    (made / "pytorch_model.bin").write_bytes(np.random.default_rng(0).bytes(23 * MB))
    return made


def load(name: str = NAME) -> BertTokens:
    return BertTokens(EncoderConfig(text_encoder=name), CPU)


def refused(*parts: str, name: str = NAME) -> str:
    with pytest.raises(WeightsError) as error:
        load(name)
    for part in parts:
        assert part in str(error.value), str(error.value)
    return str(error.value)


def weights_asked(hub: LoopbackHub) -> list[str | None]:
    """The part that each request for weights asked for."""
    return [one.headers.get("Range") for one in hub.asked("GET", "/files/")]


def test_a_model_by_name_is_the_model_of_the_folder(
    hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    commit = hub.add(NAME, folder)
    ours, theirs = load(), load(str(folder))
    for one, other in zip(ours.encode(TEXTS), theirs.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(one["tokens"], other["tokens"])
    assert ours.spec.name == NAME
    assert ours.spec.weights == {"file": NAME, "sha256": theirs.spec.weights["sha256"]}
    got = {one.path.rsplit("/", 1)[1] for one in hub.asked("GET", "/resolve/")}
    assert got == {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "README.md"}
    weights = locate(NAME, "model.safetensors")
    assert weights is not None
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    origin = origin_of(weights)
    assert (origin.repo, origin.commit, origin.sha256, origin.licence) == (NAME, commit, digest, "apache-2.0")
    (sent,) = hub.asked("GET", "/files/")
    assert "Authorization" not in sent.headers  # another host does not get the token
    assert hub.asked("GET", "/api/models/")[0].headers["Authorization"] == f"Bearer {hub.token}"

    before = len(hub.requests)
    load()
    assert len(hub.requests) == before  # what is here is used without asking


def test_one_form_of_weights() -> None:
    both = {
        "model.safetensors",
        "pytorch_model.bin",
        "config.json",
        "flax_model.msgpack",
        "open_clip_model.safetensors",
    }
    assert set(files_of_model(both)) == {"model.safetensors", "config.json"}
    assert set(files_of_model(both - {"model.safetensors"})) == {"pytorch_model.bin", "config.json"}
    shards = {f"model-0000{i}-of-00002.safetensors" for i in (1, 2)} | {"model.safetensors.index.json"}
    others = {"pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "consolidated.safetensors"}
    words = {"vocab.txt", "merges.txt", "spiece.model", "tokenizer_config.json", "README.md"}
    assert set(files_of_model(shards | others | words | {"train.txt", "1_Pooling/config.json"})) == shards | words


def test_a_cut_connection_is_resumed(hub: LoopbackHub, large: Path) -> None:
    hub.add(NAME, large)
    hub.cuts["pytorch_model.bin"] = 21 * MB
    fetch_model(NAME)
    assert weights_asked(hub) == [None, f"bytes={20 << 20}-"]
    found = locate(NAME, "pytorch_model.bin")
    assert found is not None
    assert found.read_bytes() == (large / "pytorch_model.bin").read_bytes()


def test_a_later_command_continues_a_download(hub: LoopbackHub, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one ends in the midst of the file, as by Ctrl-C."""
    hub.add(NAME, large)
    real = client.http_get

    def interrupted(url: str, to: object, **options: object) -> None:
        real(url, to, **options | {"expected_size": None})  # type: ignore[arg-type]
        to.truncate(15 * MB)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "http_get", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_model(NAME)
    assert locate(NAME, "pytorch_model.bin") is None
    fetch_model(NAME)
    assert weights_asked(hub) == [None, f"bytes={15 * MB}-"]
    found = locate(NAME, "pytorch_model.bin")
    assert found is not None
    assert found.read_bytes() == (large / "pytorch_model.bin").read_bytes()
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def test_another_file_than_the_hub_says(hub: LoopbackHub, folder: Path) -> None:
    hub.add(NAME, folder)
    hub.damaged.add("model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    refused(f"model.safetensors of {NAME}: not the file that the hub says it is", f"SHA-256 {digest}", "removed")
    assert locate(NAME, "model.safetensors") is None
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))
    hub.damaged.clear()
    load()


def test_a_cached_file_that_changed(hub: LoopbackHub, folder: Path) -> None:
    hub.add(NAME, folder)
    load()
    path = locate(NAME, "model.safetensors")
    assert path is not None
    path = path.resolve()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused("model.safetensors: not the file that the hub names", f"next:     remove {path}")
    path.unlink()
    assert load().spec.weights["file"] == NAME


@pytest.mark.parametrize("name", ["someone/tiny-brt", "tiny-brt"])
def test_a_name_that_the_hub_lacks(hub: LoopbackHub, folder: Path, name: str) -> None:
    hub.add(NAME, folder)
    refused("has no such model, or it is private", f"{hub.endpoint}/{name}", "spelling", "HF_TOKEN", name=name)


def test_a_name_that_none_could_have(hub: LoopbackHub) -> None:
    refused("neither a folder nor a model's name", "spelling", name="my/folder/of weights")
    assert not hub.requests


@pytest.mark.parametrize("access", ["gated", "private"])
def test_closed_doors(hub: LoopbackHub, folder: Path, access: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, folder, access)
    refused("private", f"{hub.endpoint}/{NAME}", "HF_TOKEN")
    if access == "gated":
        refused("gated or private", "found:    no token", "ask for access")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    load()


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_refuses(hub: LoopbackHub, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.status = status
    refused("gated or private", "found:    a token without access", f"{hub.endpoint}/{NAME}")


def test_a_hub_in_trouble(hub: LoopbackHub) -> None:
    hub.status = 503
    refused("the hub answered with status 503", hub.endpoint, "run the same command again")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nothing(hub: LoopbackHub, folder: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, folder)
    monkeypatch.setenv(variable, "1")
    refused(f"the tokenizer of {NAME} cannot be loaded", "HF_HOME")
    with pytest.raises(WeightsError, match="offline mode is on"):
        fetch_model(NAME)
    assert not hub.requests
    monkeypatch.setenv(variable, "0")
    load()
    before = len(hub.requests)
    monkeypatch.setenv(variable, "1")
    load()
    assert len(hub.requests) == before


def test_no_network_does_not_hide_what_is_wrong_here(hub: LoopbackHub, folder: Path) -> None:
    hub.add(NAME, folder)
    load()
    hub.status = 503
    path = locate(NAME, "config.json")
    assert path is not None
    path.resolve().write_text('{"model_type": "of-another-world"}')
    refused("model_type of-another-world is not known")


def test_a_hub_that_never_answers(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.3)
    hub.silent = True
    started = time.monotonic()
    refused("the hub cannot be reached", "imed", hub.endpoint)
    assert time.monotonic() - started < 5  # one attempt, with no more of the client's own


def test_a_name_service_that_never_answers(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    refused("no answer within 0 seconds")


def test_patience() -> None:
    assert download.PATIENCE < 30
    assert download.SECONDS < download.PATIENCE
    assert within(5, lambda: 3) == 3
    with pytest.raises(KeyError):
        within(5, lambda: {}["x"])
    with pytest.raises(TimeoutError, match="no answer within"):
        within(0.05, lambda: time.sleep(1))


def test_random_weights_are_never_downloaded(hub: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    hub.add(NAME, folder)
    with pytest.raises(WeightsError, match="needs to know the architecture"):
        BertTokens(EncoderConfig(text_encoder=NAME, random_init=0), CPU)
    assert not hub.requests


def test_half_a_model_is_completed(hub: LoopbackHub, folder: Path) -> None:
    """The download of a model ended after its configuration."""
    hub.add(NAME, folder)
    fetch_model(NAME, lambda files: ["config.json"])
    assert load().spec.weights["sha256"] == load(str(folder)).spec.weights["sha256"]


def test_needs(hub: LoopbackHub, folder: Path) -> None:
    hub.add(NAME, folder)
    row = model_needs(NAME, "text model")
    assert row.found is None
    assert row.fetch is not None
    row.fetch()
    row = model_needs(NAME, "text model")
    assert row.found == locate(NAME, "model.safetensors")
    assert set(row.files) == {
        f"models/{NAME}/{file}"
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "README.md")
    }
    assert [path.name for path in row.weight_files()] == ["model.safetensors"]
