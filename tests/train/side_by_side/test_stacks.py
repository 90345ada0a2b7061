"""Stacks of trials on one device: what goes together, what does not fit, and how it is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itin.itin_head import ITINHead
from itin.train.config import TrainConfig, View
from itin.train.features.features import Features
from itin.train.features.shared import save_features
from itin.train.presets import short_name
from itin.train.protocols.protocol import Protocol, Splitter
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.folder import Run, load_run
from itin.train.sweeps import one_device
from itin.train.sweeps.axes import Trial
from itin.train.sweeps.one_device import Stacks, estimated_bytes, is_out_of_memory, stack_limit
from itin.train.sweeps.run import Queue
from itin.train.sweeps.setup import Event, Setup

from ...stacked import BASE
from ..test_runs import TABLE, make_stores

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = View(keep_special=False, center_crop=False)


@pytest.fixture
def setup(features: Features, tmp_path: Path) -> Setup:
    save_features(features, tmp_path / "features")
    (tmp_path / "runs").mkdir()
    base = Splitter(Protocol(), features.ids, features.labels)
    n = len(features)
    splitter = TargetSplitter(
        base, features.ids, np.arange(n), features.known, features.known, np.full((2, n), -1), np.zeros(n, bool)
    )
    return Setup({PLAIN: tmp_path / "features"}, TABLE.dataset, {PLAIN: make_stores()}, tmp_path / "runs", splitter)


def queue(configs: list[TrainConfig]) -> Queue:
    return Queue(Trial("grid", config, f"key{i}") for i, config in enumerate(configs))


def done(events: Iterable[Event]) -> list[Run]:
    return [load_run(event.result.run) for event in events if event.result is not None and event.result.run is not None]


def failed(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [
        (event.result.key, event.result.error)
        for event in events
        if event.result is not None and event.result.run is None
    ]


def heights(events: list[Event]) -> list[int]:
    return [run.environment["stacked"] for run in done(events)]


def test_stacks_of_equal_shape(setup: Setup) -> None:
    short = replace(BASE, epochs=1)
    configs = [short, replace(short, seed=1), replace(short, d=8), replace(short, seed=2), replace(short, d=8, m=1)]
    events = list(Stacks(setup, 2).run(queue(configs)))
    assert [run.record["key"] for run in done(events)] == ["key0", "key1", "key2", "key4", "key3"]
    assert heights(events) == [2, 2, 2, 2, 1]
    assert sum(bool(event.row) for event in events) == 5
    kept = done(events)[1]
    assert kept.path == setup.runs / f"{short_name(configs[1])}-seed1-key1"
    assert kept.config == configs[1]
    assert set(kept.metrics) & {"val", "test"} == {"val"}


def test_stack_that_does_not_fit_is_halved(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(configs: list[TrainConfig], *rest: Any) -> Any:
        if len(configs) > 2 or any(config.seed == 4 for config in configs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(configs, *rest)

    real = one_device.train
    monkeypatch.setattr(one_device, "train", small)
    short = replace(BASE, epochs=1)
    events = list(Stacks(setup, 5).run(queue([replace(short, seed=seed) for seed in range(5)])))
    assert heights(events) == [2, 2, 1, 1]
    ((key, error),) = failed(events)
    assert key == "key4"
    assert "can't allocate memory" in error


def test_other_errors_are_those_of_the_stack(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(one_device, "train", wrong)
    events = list(Stacks(setup, 2).run(queue([BASE, replace(BASE, seed=1)])))
    assert failed(events) == [("key0", "KeyError: 'x'"), ("key1", "KeyError: 'x'")]
    monkeypatch.undo()
    there = setup.runs / f"{short_name(BASE)}-seed0-key0"
    there.mkdir()
    (there / "file").touch()
    events = list(Stacks(setup, 2).run(queue([BASE, replace(BASE, seed=1)])))
    ((key, error),) = failed(events)
    assert key == "key0"
    assert f"{there.name} is already there" in error
    assert heights(events) == [2]
    with pytest.raises(ValueError, match="limit: expected at least 1, got 0"):
        Stacks(setup, 0)


def test_memory(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack_limit(BASE, features, torch.device("cpu")) == 1
    each = estimated_bytes(BASE, features)
    weights = sum(p.numel() for p in ITINHead(BASE.head_config(features.dims)).parameters())
    assert each > 4 * 6 * weights
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (each * 100, each * 200))
    assert stack_limit(BASE, features, torch.device("cuda")) == 70
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, each * 200))
    assert stack_limit(BASE, features, torch.device("cuda")) == 1
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("x"))
    followed = RuntimeError("operation failed due to a previous error during capture")
    followed.__context__ = torch.cuda.OutOfMemoryError("x")
    assert is_out_of_memory(followed)


def test_stacks_pass_on_how(setup: Setup) -> None:
    engine = Stacks(replace(setup, graphs=True, precision="bfloat16"), 2)
    _, run = done(engine.run(queue([BASE, replace(BASE, seed=1)])))
    environment = run.environment
    assert {name: environment[name] for name in ("gru", "stacked", "precision")} == {
        "gru": "packed",
        "stacked": 2,
        "precision": "bfloat16",
    }
