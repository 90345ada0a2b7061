"""Files by their address: torchvision's ResNets."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
import torch
import torchvision

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import resnet
from itin.extract.encoders.context import ResNetContext
from itin.extract.weights import download
from itin.paths import weights_root

from ...loopback_hub import LoopbackHub

CPU = torch.device("cpu")


@pytest.fixture
def address(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ResNet18 with its digest in its name, as torchvision's; its address is the hub's."""
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "published"
    folder.mkdir()
    torch.manual_seed(7)
    torch.save(torchvision.models.resnet18().state_dict(), folder / "new")
    digest = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    path = (folder / "new").rename(folder / f"resnet18-{digest[:8]}.pth")
    hub.add("torch/vision", folder)
    monkeypatch.setattr(resnet, "weights_url", lambda name: f"{hub.endpoint}/files/torch/vision/{path.name}")
    return path


def test_resnets_come_by_themselves(hub: LoopbackHub, address: Path) -> None:
    spec = ResNetContext(EncoderConfig(), CPU).spec
    assert spec.weights["file"] == address.name
    kept = Path(torch.hub.get_dir()) / "checkpoints" / address.name
    assert kept.read_bytes() == address.read_bytes()
    ResNetContext(EncoderConfig(), CPU)
    assert len(hub.requests) == 1
    own = weights_root() / "checkpoints" / address.name  # the user's own goes first
    own.parent.mkdir(parents=True)
    own.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="does not hold the weights of resnet18") as error:
        ResNetContext(EncoderConfig(), CPU)
    assert str(own) in str(error.value)


def refused(*parts: str) -> None:
    with pytest.raises(WeightsError, match="the ImageNet weights of resnet18 are not here and cannot be") as error:
        resnet.fetch("resnet18")
    for part in (*parts, "expected:", "--random-init 0"):
        assert part in str(error.value)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    assert not folder.exists() or not list(folder.iterdir())


def test_what_goes_wrong(hub: LoopbackHub, address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.damaged.add(address.name)
    refused("gave a file of SHA-256 ", f"not {address.stem.rsplit('-', 1)[1]}")
    hub.status = 404
    refused("404")
    hub.status = None
    hub.silent = True
    for seconds, patience in ((0.3, 5), (60, 0.3)):
        monkeypatch.setattr(download, "SECONDS", seconds)
        monkeypatch.setattr(download, "PATIENCE", patience)
        started = time.monotonic()
        refused("imeout")
        assert time.monotonic() - started < 3
    before = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("offline mode is on")
    assert len(hub.requests) == before
