"""Heads of a few products are trained side by side by the workers of a sweep: the same figures, nothing lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from itin.cache import open_store, read_table
from itin.train.config import TrainConfig
from itin.train.loop import fit
from itin.train.runs.folder import load_run
from itin.train.sweeps.axes import SweepPlan, Trial
from itin.train.sweeps.folder import Sweep, locked
from itin.train.sweeps.prepare import SweepData, create
from itin.train.sweeps.run import run
from itin.train.sweeps.setup import Event
from itin.train.sweeps.workers import Pool

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

POOLED = TrainConfig(head="pooled", hidden=4, epochs=3, batch_size=16)
CONFIGS = {
    **{f"seed {seed}": replace(POOLED, seed=seed) for seed in range(5)},
    "no regions": replace(POOLED, m=0, seed=9),
    "wider": replace(POOLED, hidden=5),
    "itin": TrainConfig(d=6, k=4, hidden=4, epochs=2, batch_size=16),
    "not a number": replace(POOLED, lr=1e30),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SweepData:
    folder = make_cache(tmp_path_factory.mktemp("together") / "cache") / "planted"
    stores = {path.name.partition("-")[0]: open_store(path) for path in sorted(folder.glob("*-test-*"))}
    return SweepData(read_table(folder), stores, CONFIGS.values())


def swept(data: SweepData, path: Path, listen: Callable[[Event], None]) -> Sweep:
    plan = SweepPlan([Trial(name, config) for name, config in CONFIGS.items()], [])
    about: dict[str, Any] = {"mode": "grid", "axes": {}, "seeds": [0], "number": None, "folder": str(path.parent)}
    sweep = create(path, plan, data, **about)
    with locked(path):
        run(sweep, data, workers=2, listen=listen)
    return sweep


def check(sweep: Sweep, data: SweepData, beside: dict[str, int]) -> None:
    """Each run has the figures of the run alone, and was trained beside so many."""
    table = sweep.results().set_index("axis")
    assert [name for name in CONFIGS if table.loc[name, "status"] != "done"] == ["not a number"]
    assert "not finite" in table.loc["not a number", "error"]
    for name, config in CONFIGS.items():
        if name == "not a number":
            continue
        kept = load_run(sweep.path / table.loc[name, "run"])
        alone = fit(config, data.features[config.view], data.split_for(config), evaluate=("val",))
        assert len(kept.history) == len(alone.history)
        for row, other in zip(kept.history.to_dict("records"), alone.history, strict=True):
            assert row["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)
            assert row["val_loss"] == pytest.approx(other["val_loss"], abs=1e-4)
        assert kept.metrics["val"]["loss"] == pytest.approx(alone.metrics["val"]["loss"], abs=1e-4)
        assert kept.environment.get("stacked", 1) == beside[name]


def test_workers_share_them_and_each_has_the_figures_of_the_run_alone(data: SweepData, tmp_path: Path) -> None:
    events: list[Event] = []
    sweep = swept(data, tmp_path / "sweep", events.append)
    check(sweep, data, {**{f"seed {n}": 3 for n in range(5)}, "no regions": 3, "wider": 1, "itin": 1})
    ended = [event.trial.axis for event in events if event.result is not None]
    assert sorted(ended) == sorted(CONFIGS)
    first = {event.trial.axis: event.worker for event in events if event.row.get("epoch") == 1}
    assert len({first[f"seed {n}"] for n in range(3)}) == 1  # three in one worker
    assert {first[f"seed {n}"] for n in range(3)} != {first[f"seed {n}"] for n in (3, 4)}  # three in the other


def test_those_of_a_worker_that_dies_are_tried_alone(
    data: SweepData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Pool] = []
    monkeypatch.setattr("itin.train.sweeps.run.Pool", lambda *given: pools.append(Pool(*given)) or pools[-1])
    killed: list[int] = []

    def listen(event: Event) -> None:
        if event.trial.axis == "seed 1" and not killed:
            killed.append(pools[0]._workers[event.worker].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    sweep = swept(data, tmp_path / "sweep", listen)
    assert killed
    alone = {f"seed {n}": 1 for n in range(3)}
    check(sweep, data, {**alone, "seed 3": 3, "seed 4": 3, "no regions": 3, "wider": 1, "itin": 1})


def test_what_fails_side_by_side_is_tried_alone(
    data: SweepData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itin.train import loop
    from itin.train.sweeps import workers

    train = loop.train

    def crowded(configs: Any, *given: Any) -> Any:
        if len(configs) > 1:
            raise MemoryError
        return train(configs, *given)

    monkeypatch.setattr(loop, "train", crowded)
    setup = data.setup(tmp_path / "features", tmp_path / "runs")
    (tmp_path / "runs").mkdir(exist_ok=True)
    trials = [Trial(f"seed {n}", replace(POOLED, seed=n), f"key{n}") for n in range(3)]
    ended = {
        j: made for j, made in workers._results(trials, setup, data.features[POOLED.view]) if made.__class__ is not dict
    }
    assert [ended[j].key for j in range(3)] == ["key0", "key1", "key2"]
    assert all(one.run is not None for one in ended.values())
