"""Several devices on one store: a process for each, together the same store as one makes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from itin.cache.upkeep.find import stores_of
from itin.cache.upkeep.verify import verify
from itin.cli import main
from itin.device import device_names
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.devices import DeviceError
from itin.extract.run import extract
from itin.parts import Part

Draw = Callable[..., Path]
PAIRS = 22
ONE = ("context",)
MORE_SIGNALS = (("SIGUSR1", 75), ("SIGINT", 130))

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")


class Seen:
    """The progress of an extraction; `act` is called at the first advance."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.totals: dict[str, tuple[int, int]] = {}
        self.advanced: Counter[str] = Counter()
        self._act = act

    def start(self, kind: str, total: int, done: int) -> None:
        assert kind not in self.totals
        self.totals[kind] = (total, done)

    def advance(self, kind: str, count: int) -> None:
        if kind != "scan":
            act, self._act = self._act, lambda: None
            act()
        self.advanced[kind] += count


@pytest.fixture
def config(tmp_path: Path, draw_mvsa: Draw) -> ExtractConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
    encoders = EncoderConfig(regions="grid-small", text_encoder=str(tmp_path / "bert"), random_init=0, max_regions=2)
    root = draw_mvsa(tmp_path / "data", pairs=PAIRS)
    return ExtractConfig(
        "mvsa-single", root=root, cache=tmp_path / "cache", encoders=encoders, shard_size=4, batch_size=2, workers=2
    )


def shards(cache: Path | None) -> dict[str, bytes]:
    assert cache is not None
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("shard-*.h5")}


def manifests(cache: Path | None) -> list[dict[str, Any]]:
    assert cache is not None
    found = [json.loads(path.read_bytes()) for path in sorted(cache.rglob("manifest.json"))]
    for one in found:
        del one["provenance"]["created"], one["checksum"]
    return found


def test_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_names("all") == device_names("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    assert device_names("cpu,cpu") == ["cpu", "cpu"]
    assert device_names("cuda:7") == ["cuda:7"]  # one alone is looked at when it is used
    for wrong in ("cuda:0,cuda:2", "cpu,", "cpu,tpx:1", "cpu,cuda:x", "cpu,all"):
        with pytest.raises(ValueError, match="is not available here"):
            device_names(wrong)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="device 'all' is not available here: there is no CUDA device"):
        device_names("all")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
@pytest.mark.parametrize("device", ["all", "cpu,cuda:0"])
def test_a_device_that_is_not_there_is_a_usage_error(device: str, config: ExtractConfig) -> None:
    words = ["extract", "--dataset", "mvsa-single", "--root", str(config.root), "--device", device]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "is not available here" in result.output
    assert not (config.cache / "mvsa-single").exists()  # type: ignore[operator]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_part_splits_into_parts(count: int) -> None:
    for whole in (Part(0, 1), Part(1, 3)):
        parts = whole.split(count)
        for block in range(40):
            assert sum(part.has(block) for part in parts) == whole.has(block)


def test_two_devices_make_the_store_that_one_makes(config: ExtractConfig, tmp_path: Path) -> None:
    (config.root / "data" / "4.jpg").write_bytes(b"\xff\xd8\xff no image")  # type: ignore[operator]
    image = config.root / "data" / "9.jpg"  # type: ignore[operator]
    image.write_bytes(image.read_bytes()[:-20])  # found to be cut short when it is decoded
    one = extract(replace(config, device="cpu", cache=tmp_path / "one"))
    seen = Seen()
    both = extract(replace(config, device="cpu,cpu"), seen)
    assert shards(config.cache) == shards(tmp_path / "one") != {}
    assert manifests(config.cache) == manifests(tmp_path / "one")
    assert [vars(store) | {"path": store.path.name} for store in both.stores] == [
        vars(store) | {"path": store.path.name} for store in one.stores
    ]
    assert [(store.made, len(store.quarantined)) for store in both.stores] == [(20, 1), (21, 0), (20, 1)]
    assert not both.stopped
    del seen.totals["scan"], seen.advanced["scan"]
    assert seen.totals == dict.fromkeys(("regions", "tokens", "context"), (21, 0)), seen.totals
    assert seen.advanced == dict.fromkeys(("regions", "tokens", "context"), 21)
    again = extract(replace(config, device="cpu,cpu,cpu", retry_quarantined=True))
    assert [(store.made, store.reused, len(store.quarantined)) for store in again.stores] == [
        *((0, 20, 1), (0, 21, 0), (0, 20, 1))
    ]


@pytest.mark.long
def test_parts_on_two_devices(config: ExtractConfig, tmp_path: Path) -> None:
    extract(replace(config, device="cpu", cache=tmp_path / "one"))
    part = extract(replace(config, device="cpu,cpu", part=Part(1, 2)))
    assert [(store.wanted, store.made) for store in part.stores] == [(10, 10)] * 3  # blocks 1, 3 and 5
    assert manifests(config.cache) == []
    extract(replace(config, device="cpu,cpu"))
    assert shards(config.cache) == shards(tmp_path / "one")
    assert manifests(config.cache) == manifests(tmp_path / "one")


@pytest.mark.long
def test_a_stop_reaches_all(config: ExtractConfig) -> None:
    stop = Event()
    summary = extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1), Seen(stop.set), stop)
    assert summary.stopped
    assert 0 < sum(store.made for store in summary.stores) == PAIRS - summary.left < PAIRS
    assert manifests(config.cache) == []
    assert len(shards(config.cache)) == sum(store.made for store in summary.stores)
    assert extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1)).left == 0
    assert all(one["complete"] for one in manifests(config.cache))


def test_a_child_that_dies_is_named_and_leaves_no_half_shard(config: ExtractConfig) -> None:
    def kill() -> None:
        child = multiprocessing.active_children()[0]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(DeviceError, match=r"device cpu: its process was ended by SIGKILL[\s\S]*run the same command"):
        extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1), Seen(kill))
    assert multiprocessing.active_children() == []
    assert manifests(config.cache) == []
    assert 0 < len(shards(config.cache)) < PAIRS
    extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1))
    assert len(shards(config.cache)) == PAIRS
    for path in stores_of(config.cache / "mvsa-single"):  # type: ignore[operator]
        assert verify(path).problems == []


@pytest.mark.long
def test_a_child_told_to_end_alone_stops_the_run(config: ExtractConfig) -> None:
    def end() -> None:
        child = multiprocessing.active_children()[0]
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)

    summary = extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1), Seen(end))
    assert summary.stopped
    assert summary.left > 0
    assert manifests(config.cache) == []


@pytest.mark.long
def test_an_error_of_a_child_names_its_device(config: ExtractConfig) -> None:
    class Damage(Seen):
        def start(self, kind: str, total: int, done: int) -> None:
            if kind == "context":  # the last one: all is planned
                (plan,) = config.cache.glob("*/regions-*/plan.json")  # type: ignore[union-attr]
                plan.write_text(plan.read_text().replace('"4"', '"5"'))

    with pytest.raises(DeviceError, match=r"device cpu: .*regions-grid-small-\w+/plan\.json"):
        extract(replace(config, device="cpu,cpu"), Damage())
    assert multiprocessing.active_children() == []


@pytest.mark.long
def test_an_interrupt_ends_all_children(config: ExtractConfig) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(replace(config, device="cpu,cpu", only=ONE, shard_size=1), Seen(interrupt))
    assert multiprocessing.active_children() == []
    assert 0 < len(shards(config.cache)) < PAIRS
    extract(replace(config, device="cpu", only=ONE, shard_size=1))
    assert len(shards(config.cache)) == PAIRS


@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 75), *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_SIGNALS)]
)
def test_signals_to_the_whole_group(name: str, code: int, tmp_path: Path, draw_mvsa: Draw) -> None:
    """As a terminal or a scheduler sends them, to parent and children alike; these are started as for users."""
    root, cache = draw_mvsa(tmp_path / "data", pairs=400), tmp_path / "cache"
    words = ["extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, "--only", "context"]
    words += ["--random-init", "0", "--shard-size", "1", "--batch-size", "1", "--device", "cpu,cpu"]
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.argv = {['itin', *map(str, words)]!r}; import itin.cli; itin.cli.main()",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    while not (made := shards(cache)):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, getattr(signal, name))
    output, _ = process.communicate(timeout=120)  # the children have closed their output too
    assert process.returncode == code, output
    assert "Traceback" not in output
    assert ("Run the command again to continue" if code == 75 else "run the same command again") in output
    assert len(made) <= len(shards(cache)) < 400
    assert not list(cache.rglob("manifest.json"))
