"""The hub on loopback, asked by the hub's real client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import GatedRepoError, RepositoryNotFoundError

from .loopback_hub import LoopbackHub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    return folder


def test_the_client_gets_a_model(hub: LoopbackHub, model: Path) -> None:
    commit = hub.add("org/name", model)
    hub.add("name", model)
    for name in ("org/name", "name"):
        found = Path(huggingface_hub.snapshot_download(name))
        for file in ("config.json", "model.safetensors"):
            assert (found / file).read_bytes() == (model / file).read_bytes()
    weights = Path(huggingface_hub.hf_hub_download("org/name", "model.safetensors"))
    assert weights.parent.name == commit
    assert len(weights.resolve().name) == 64
    assert hub.asked("GET", "/files/org/name/model.safetensors")
    info = huggingface_hub.HfApi().model_info("org/name", files_metadata=True)
    assert info.sha == commit
    assert {one.rfilename: one.lfs is not None for one in info.siblings or ()} == {
        "config.json": False,
        "model.safetensors": True,
    }


def test_closed_doors(hub: LoopbackHub, model: Path) -> None:
    hub.add("org/gated", model, access="gated")
    hub.add("org/private", model, access="private")
    with pytest.raises(GatedRepoError):
        huggingface_hub.hf_hub_download("org/gated", "config.json")
    for name in ("org/private", "org/none"):
        with pytest.raises(RepositoryNotFoundError):
            huggingface_hub.hf_hub_download(name, "config.json")
    for name in ("org/gated", "org/private"):
        assert huggingface_hub.hf_hub_download(name, "config.json", token=hub.token)


def test_a_process_of_its_own(hub: LoopbackHub, model: Path, tmp_path: Path) -> None:
    hub.add("org/name", model)
    code = "import huggingface_hub as h; print(h.hf_hub_download('org/name', 'model.safetensors'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **hub.environment(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == (model / "model.safetensors").read_bytes()
    assert len(hub.asked("GET", "/files/")) == 1
