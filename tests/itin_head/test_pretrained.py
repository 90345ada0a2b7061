"""Heads from folders and from a hub on loopback: files that are not trusted, and heads that are pushed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file

from itin.errors import RunError, WeightsError
from itin.itin_head import Head, HeadConfig, ITINHead, make
from itin.itin_head.heads.concat import ConcatHead
from itin.itin_head.pretrained import fetch
from itin.targets import Target

from ..loopback_hub import LoopbackHub

SMALL = {"d": 4, "k": 3, "hidden": 3, "region_dim": 5, "token_dim": 3, "context_dim": 2}


def saved(folder: Path, **options: Any) -> Head:
    torch.manual_seed(1)
    head = make(HeadConfig(**{"head": "concat", **SMALL, **options}))
    head.targets = (Target(classes=("a", "b", "c")),)
    head.save_pretrained(folder)
    return head


def same(one: Head, other: Head) -> None:
    assert type(one) is type(other)
    assert one.targets == other.targets
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, state[name])


def test_a_name_on_the_hub(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = saved(tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps({"x": 1}))
    hub.add("org/head", tmp_path / "model")
    found = ITINHead.from_pretrained("org/head")
    assert isinstance(found, ConcatHead)
    same(found, head)
    assert not hub.asked("GET", "pytorch_model.bin")
    asked = len(hub.requests)
    same(Head.from_pretrained("org/head", local_files_only=True), head)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    same(Head.from_pretrained("org/head"), head)
    with pytest.raises(WeightsError, match=r"nor in the hub's cache, and the hub may not be asked"):
        Head.from_pretrained("org/other")
    assert len(hub.requests) == asked


def test_a_head_is_pushed(hub: LoopbackHub, tmp_path: Path) -> None:
    head = saved(tmp_path / "model")
    hub.accept("me/new", tmp_path / "pushed")
    address = head.push_to_hub("me/new", token=hub.token, commit_message="A head")
    assert "me/new" in str(address)
    pushed = {path.name: path.read_bytes() for path in (tmp_path / "pushed").iterdir()}
    assert pushed == {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    same(ITINHead.from_pretrained("me/new"), head)


def test_names_that_lead_nowhere(hub: LoopbackHub, tmp_path: Path) -> None:
    for name in ("org/none", str(tmp_path / "nothing"), "not a name!"):
        with pytest.raises(WeightsError, match=r"is neither a folder here nor a model that can be fetched"):
            ITINHead.from_pretrained(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("nothing")
    hub.add("org/empty", tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"not a head of itin\n[\s\S]*no config.json; no model.safetensors"):
        ITINHead.from_pretrained("org/empty")
    with pytest.raises(RunError, match=r"cannot read .*config\.json"):
        ITINHead.from_pretrained(tmp_path / "empty")


def test_files_that_are_too_large_are_not_fetched(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "model")
    hub.add("org/head", tmp_path / "model")
    monkeypatch.setitem(fetch.LIMITS, "config.json", 100)
    with pytest.raises(WeightsError, match=r"config.json of \d+ bytes"):
        ITINHead.from_pretrained("org/head")
    assert not hub.asked("GET", "config.json")


def test_a_file_with_another_digest(hub: LoopbackHub, tmp_path: Path) -> None:
    saved(tmp_path / "model")
    hub.add("org/head", tmp_path / "model")
    hub.damaged.add("model.safetensors")
    with pytest.raises(WeightsError, match=r"model.safetensors of org/head: not the file that the hub says it is"):
        ITINHead.from_pretrained("org/head")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (tmp_path / "exploded").touch, ()

    saved(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    state = load(path.read_bytes())
    path.write_bytes(pickle.dumps({"x": Bomb()}))
    with pytest.raises(RunError, match=r"cannot read the checkpoint[\s\S]*form pickle, which is not read"):
        ITINHead.from_pretrained(tmp_path / "model")
    torch.save(state, path)
    with pytest.raises(RunError, match=r"form pytorch, which is not read"):
        ITINHead.from_pretrained(tmp_path / "model")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"head": {"d": 5}}, r"does not have the shapes[\s\S]*gru"),
        ({"head": {"d": 10**9}}, "sizes that no array has"),
        ({"head": {"d": 10**5}}, "does not have the shapes"),
        ({"head": {"gru_layers": 10**9}}, r"1000000000 layers of a GRU"),
        ({"head": {"head": "other"}}, "does not describe a head"),
        ({"head": {"surprise": 1}}, "does not describe a head"),
        ({"targets": [{"name": "label", "kind": "classes", "classes": ["a"]}]}, "1 outputs for a head of 3"),
        ({"targets": [{"name": "label"}]}, "missing 'kind'"),
        ({"format": 2}, "another format version, newer than this itin"),
    ],
)
def test_a_configuration_that_is_wrong(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    saved(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    record = json.loads(path.read_text())
    for name, value in change.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match=told):
        ITINHead.from_pretrained(tmp_path / "model")


def test_arrays_that_are_wrong(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    state = load(path.read_bytes())
    save_file({**state, "more": torch.zeros(2)}, path)
    with pytest.raises(RunError, match="1 unknown: more"):
        ITINHead.from_pretrained(tmp_path / "model")
    save_file({f"members.{k}.{name}": value.clone() for k in range(2) for name, value in state.items()}, path)
    ensemble = ITINHead.from_pretrained(tmp_path / "model")
    assert len(ensemble.members) == 2
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match="it was cut off"):
        ITINHead.from_pretrained(tmp_path / "model")
