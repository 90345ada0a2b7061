"""Packages, devices, data sets, hub, weights and schedulers: each good, doubtful and bad."""

from __future__ import annotations

import configparser
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from itin.doctor import cluster, data_folders, devices, extras, versions, weights
from itin.doctor.finding import Asked, Finding

from ..loopback_hub import LoopbackHub

Draw = Callable[..., Path]
SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"


def states(findings: object) -> list[str]:
    return [one.state for one in findings]  # type: ignore[attr-defined]


def only(findings: object) -> Finding:
    (found,) = findings  # type: ignore[misc]
    assert isinstance(found, Finding)
    return found


def test_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, state in {(3, 9, 7): "bad", (3, 10, 0): "good", (3, 13, 1): "good", (3, 99, 0): "doubtful"}.items():
        monkeypatch.setattr(sys, "version_info", here)
        assert only(versions.python(Asked())).state == state


def pretend(monkeypatch: pytest.MonkeyPatch, **here: str | None) -> None:
    """Let packages be installed in these versions; None: not installed."""

    def version(package: str) -> str:
        if here.get(package.lower().replace("-", "_")) is None:
            raise versions.PackageNotFoundError(package)
        return str(here[package.lower().replace("-", "_")])

    monkeypatch.setattr(versions, "version", version)


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"itin": ["torch>=2.6", "torchvision>=0.21", "click; extra == 'dask'"], "torchvision": ["torch==2.11.0"]}
    monkeypatch.setattr(versions, "requires", lambda name: needs.get(name, []))
    pretend(monkeypatch, torch="2.11.0+cpu", torchvision="0.26.0")
    assert only(versions.packages(Asked())).found == "2 required packages, in versions that fit together"
    needs["torchvision"] = []
    pretend(monkeypatch, torch="2.5.1", torchvision=None)
    assert [(one.state, one.found, one.next_step) for one in versions.packages(Asked())] == [
        ("bad", "torch 2.5.1; itin needs torch>=2.6", "pip install 'torch>=2.6'"),
        ("bad", "torchvision is not installed; itin needs torchvision>=0.21", "pip install 'torchvision>=0.21'"),
    ]
    needs["torchvision"] = ["torch==2.11.0"]
    pretend(monkeypatch, torch="2.12.0", torchvision="0.26.0")
    found = only(versions.packages(Asked()))
    assert found.found == "torchvision 0.26.0 needs torch==2.11.0, and torch 2.12.0 is installed"

    def gone(name: str) -> list[str]:
        raise versions.PackageNotFoundError(name)

    monkeypatch.setattr(versions, "requires", gone)
    assert only(versions.packages(Asked())).state == "doubtful"


def test_versions_that_misbehave(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, transformers="4.57.1", torch="2.6.0+cu124")
    assert states(versions.misbehaving(Asked())) == ["good"]
    pretend(monkeypatch, transformers="4.57.0", torch="2.5.1")
    withdrawn, old = versions.misbehaving(Asked())
    assert (withdrawn.state, withdrawn.found) == ("bad", "transformers 4.57.0: was withdrawn by its authors")
    assert withdrawn.next_step == "pip install 'transformers>=4.57.1'"
    assert (old.state, old.next_step) == ("bad", "pip install 'torch>=2.6'")


def test_extras_are_those_of_the_package() -> None:
    config = configparser.ConfigParser()
    config.read(SETUP, encoding="utf-8")
    written = {
        name: text.split()
        for name, text in config["options.extras_require"].items()
        if name not in ("test", "docs", "release")
    }
    assert {extra.name: list(extra.packages) for extra in extras.EXTRAS} == written


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(name: str) -> Finding:
        return only(one for one in extras.extras(Asked()) if one.found.startswith(f"{name} "))

    pretend(monkeypatch, optuna="4.1", datasets="4.1", pyarrow="9.0")
    assert row("optuna").found == "optuna (itin sweep --optuna)"
    assert (row("optuna").state, row("optuna").next_step) == ("good", None)
    assert row("dask").found == "dask is not installed (itin cluster submit --engine dask)"
    assert (row("dask").state, row("dask").next_step) == ("good", "if you want it: pip install 'itin[dask]'")
    assert row("datasets").state == "doubtful"
    assert row("datasets").found.endswith("is not complete: pyarrow 9.0")


def test_detectron2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert only(extras.detectron2(Asked())).state == "good"
    monkeypatch.setattr(extras, "find_spec", lambda _: object())

    def broken(_: str) -> None:
        raise ImportError("undefined symbol: _ZN5torch")

    monkeypatch.setattr(extras, "import_module", broken)
    found = only(extras.detectron2(Asked()))
    assert (found.state, found.found) == ("doubtful", "detectron2 cannot be imported: undefined symbol: _ZN5torch")
    monkeypatch.setattr(extras, "import_module", lambda _: object())
    assert only(extras.detectron2(Asked())).state == "good"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itin.parts.cores", lambda: 4)
    for threads, state in {4: "good", 8: "doubtful"}.items():
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found = only(devices.torch_here(Asked()))
        assert found.state == state
        assert f"{threads} threads on 4 cores" in found.found


def test_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "version")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(devices.devices(Asked())).found == "cpu; no CUDA device"
    (tmp_path / "version").write_text("NVRM")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "built without CUDA" in only(devices.devices(Asked())).found
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = only(devices.devices(Asked()))
    assert (found.state, "CUDA_VISIBLE_DEVICES is ''" in found.found) == ("doubtful", True)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    real, free = torch.full, {0: 70e9, 1: 1e9}

    def full(size: tuple[int, ...], value: float, device: str) -> torch.Tensor:
        if device == "cuda:2":
            raise RuntimeError("CUDA error: uncorrectable ECC error\nmore")
        return real(size, value if device != "cuda:3" else 1.0)

    monkeypatch.setattr(torch, "full", full)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free.get(number, 70e9), 80e9))
    found = list(devices.devices(Asked()))
    assert [one.found for one in found[:3]] == [
        "cuda:0: Card 0, 70.0 GB of 80.0 GB free",
        "cuda:1: Card 1, 1.0 GB of 80.0 GB free",
        "cuda:2 cannot compute: CUDA error: uncorrectable ECC error",
    ]
    assert found[3].found.endswith("it computes a wrong product")
    assert states(found) == ["good", "doubtful", "bad", "bad"]


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = only(devices.precision(Asked()))
    assert (found.state, found.found.split(" (")[0]) == ("good", "cpu: float32, bfloat16")
    real = torch.full
    monkeypatch.setattr(torch, "full", lambda *_, **__: real((64, 64), 1 + 2.0**-14).bfloat16().float() * 1.0000001)
    monkeypatch.setattr(torch, "eye", lambda *_, **__: torch.zeros(64, 64))
    found = only(devices.precision(Asked()))
    assert (found.state, found.found) == ("bad", "cpu: float32 products are rounded to fewer digits")


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for left, state in {8e9: "good", 1.5e9: "doubtful", 0.4e9: "bad", None: "good"}.items():
        monkeypatch.setattr("itin.train.features.memory.available", lambda left=left: left)
        assert only(devices.memory(Asked())).state == state


def test_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "c++ -m64")
    assert only(devices.compiler(Asked())).found.startswith("no C++ compiler (c++): ")
    program(tmp_path, "c++", "exit 0")
    assert only(devices.compiler(Asked())).state == "good"


def test_data_folders(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_DATA", raising=False)
    assert only(data_folders.data_folders(Asked())).found == "no folder named"
    root = draw_mvsa(tmp_path / "data" / "mvsa-single", pairs=7)
    asked = Asked(cache=tmp_path / "cache", dataset="mvsa-single", root=root)
    assert only(data_folders.data_folders(asked)).found == f"mvsa-single: 7 pairs listed in {root}"
    monkeypatch.setenv("ITIN_DATA", str(tmp_path / "data"))
    assert only(data_folders.data_folders(Asked(cache=tmp_path))).found == f"mvsa-single: 7 pairs listed in {root}"
    (root / "data" / "1.jpg").unlink()
    found = only(data_folders.data_folders(asked))
    assert (found.state, f"is not there: {root / 'data' / '1.jpg'}" in found.found) == ("doubtful", True)
    missing = only(data_folders.data_folders(Asked(root=tmp_path / "nothing")))
    assert missing.state == "bad"
    assert missing.next_step
    assert only(data_folders.data_folders(Asked(dataset="nonsense", root=root))).state == "bad"
    (tmp_path / "empty").mkdir()
    for value, state in {tmp_path / "empty": "doubtful", tmp_path / "none": "bad"}.items():
        monkeypatch.setenv("ITIN_DATA", str(value))
        assert only(data_folders.data_folders(Asked())).state == state


def test_hub(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itin.doctor import hub as checked

    absent = only(checked.hub(Asked()))
    assert (absent.state, absent.next_step) == ("doubtful", "check HF_TOKEN, or HF_ENDPOINT if it is a mirror")
    (tmp_path / "model").mkdir()
    hub.add(checked.ASK, tmp_path / "model")
    assert only(checked.hub(Asked())).found == f"{hub.endpoint} answers"
    hub.status = 503
    assert only(checked.hub(Asked())).found == f"{hub.endpoint} answers with status 503"
    hub.status, hub.silent = None, True
    monkeypatch.setattr(checked, "SECONDS", 0.5)
    silent = only(checked.hub(Asked()))
    assert silent.state == "doubtful"
    assert silent.found.startswith(f"{hub.endpoint} cannot be reached (")
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = only(checked.hub(Asked()))
    assert offline.state == "good"
    assert offline.found.startswith("offline mode is on")
    assert len(hub.requests) == asked


def test_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from itin.extract.encoders import build

    sound, damaged = tmp_path / "sound", tmp_path / "damaged"
    rows = {
        name: SimpleNamespace(
            encoder=name, needs="weights", found=path, looked_in="there", how="get it", fault=lambda fault=fault: fault
        )
        for name, path, fault in (
            ("here", sound, None),
            ("damaged", damaged, "a web page"),
            ("absent", None, None),
            ("other", None, None),
        )
    }
    monkeypatch.setattr(build, "required_weights", lambda _: list(rows.values()))
    monkeypatch.setattr(
        build, "weights_of", lambda *_: {"regions": rows["here"], "tokens": rows["damaged"], "context": rows["absent"]}
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = list(weights.weights(Asked()))
    assert states(found) == ["good", "bad", "doubtful", "good"]
    assert found[0].found == f"here (weights): {sound}"
    assert found[1].found == f"damaged (weights): {damaged} is a web page"
    assert found[2].found == "absent (weights) is not here: looked in there"
    assert found[3].found == "not here, and not asked for: other"
    assert states(weights.weights(Asked(encoders={"regions": "here"})))[2] == "bad"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    assert states(weights.weights(Asked(encoders={"regions": "here"})))[2] == "doubtful"


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(cluster.slurm(Asked())).state == "good"
    program(tmp_path, "sbatch", "exit 0")
    lacking = only(cluster.slurm(Asked()))
    assert (lacking.state, lacking.found) == ("bad", "sbatch is here, but not squeue, scontrol, scancel")
    for name in cluster.COMMANDS:
        program(tmp_path, name, "exit 0")
    answers = {
        "echo 'PartitionName=day AllowGroups=ALL State=UP'; echo 'PartitionName=old State=DOWN'": "good",
        "echo 'PartitionName=old AllowGroups=ALL State=DOWN'": "doubtful",
        "echo 'Unable to contact slurm controller' >&2; exit 1": "doubtful",
    }
    for script, state in answers.items():
        program(tmp_path, "scontrol", script)
        found = only(cluster.slurm(Asked()))
        assert found.state == state, script
    assert found.found.endswith("the controller cannot be asked: Unable to contact slurm controller")
    program(tmp_path, "scontrol", next(iter(answers)))
    assert only(cluster.slurm(Asked())).found == "the controller answers; partitions day"
    monkeypatch.setattr(cluster, "SECONDS", 0.2)
    program(tmp_path, "scontrol", "exec /bin/sleep 20")
    assert only(cluster.slurm(Asked())).found == "the controller does not answer within 0.2 s"


def test_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(cluster.dask(Asked())).found == "no scheduler named"
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    assert only(cluster.dask(Asked(scheduler="tcp://127.0.0.1:1"))).next_step == "pip install 'itin[dask]'"
    monkeypatch.setattr(cluster, "find_spec", lambda _: object())
    for address in ("127.0.0.1:8786", "tcp://127.0.0.1", "http://x:1"):
        assert "is no address of a scheduler" in only(cluster.dask(Asked(scheduler=address))).found
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert only(cluster.dask(Asked(scheduler=f"tls://127.0.0.1:{port}"))).state == "good"
    refused = only(cluster.dask(Asked(scheduler=f"tls://127.0.0.1:{port}")))
    assert refused.state == "bad"
    assert f"tls://127.0.0.1:{port} cannot be reached" in refused.found


@pytest.mark.dask
def test_dask_workers() -> None:
    distributed = pytest.importorskip("distributed")
    for workers, state in ((0, "doubtful"), (1, "good")):
        with distributed.LocalCluster(
            n_workers=workers, processes=False, dashboard_address=None, protocol="tcp"
        ) as local:
            found = only(cluster.dask(Asked(scheduler=local.scheduler_address)))
        assert found.state == state
    assert found.found.endswith("answers; 1 workers")
