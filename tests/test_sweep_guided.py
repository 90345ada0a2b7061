"""A guided search: what it proposes, that it can be ended at any time, and that nothing is trained twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.errors import RunError
from itin.train import disk
from itin.train.config import TrainConfig
from itin.train.identity import canonical
from itin.train.pool import Job
from itin.train.sweep import Definition, Result, Sweep

AXES: dict[str, list[Any]] = {
    "m": [0, 1, 2, 3],
    "lam": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
    "ablation": ["none", "no-context"],
    "lr": [0.001],
}


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="needs optuna")


def key(config: TrainConfig) -> str:
    return str(canonical(config, "x"))


PLACE: Any = SimpleNamespace(key=key)


def make_sweep(path: Path, number: int = 12, seeds: tuple[int, ...] = (0,), **axes: list[Any]) -> Sweep:
    path.mkdir(exist_ok=True)
    made = Definition(
        mode="optuna", axes=axes or AXES, seeds=list(seeds), number=number, places=[], left_out=[], dataset="x",
        folder="", stores={}, split=None, samples="", untrained=False, created="",
    )  # fmt: skip
    disk.replace(path / "sweep.json", made.to_json())
    return Sweep(path)


def accuracy(config: TrainConfig) -> float:
    """Best at m = 3, lam = 0.8."""
    return 1 - 0.1 * abs(config.regions - 3) - 0.3 * abs(config.lam - 0.8)


def ended(job: Job) -> Result:
    return Result(job.key, Path("run"), {"val_accuracy": accuracy(job.config)})


def drain(guided: Any, result: Callable[[Job], Result] = ended, most: int = 1000) -> list[Job]:
    jobs: list[Job] = []
    while len(jobs) < most and (job := guided.next()) is not None:
        jobs.append(job)
        guided.ended(result(job))
    return jobs


def states(guided: Any) -> list[str]:
    return [trial.state.name for trial in guided._study.trials]


def test_search(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    sweep = make_sweep(tmp_path / "s", number=30)
    guided = Guided(sweep, PLACE, {})
    assert guided.total == 30
    jobs = drain(guided)
    assert guided.total == len(jobs) < 30
    assert len({job.key for job in jobs}) == len(jobs)  # a configuration that is proposed again is not trained again
    assert states(guided).count("COMPLETE") == 30
    assert max(accuracy(job.config) for job in jobs) > 0.9
    for job in jobs:
        assert job.config.m in AXES["m"]
        assert job.config.lam in AXES["lam"]
        assert job.config.lr == 0.001
    kept = Sweep(sweep.path).definition.places
    assert [place.axis for place, _ in kept] == sorted(
        {place.axis for place, _ in kept}, key=lambda axis: int(axis.split()[1])
    )
    assert len(kept) == 30
    best = guided._study.best_trial
    assert best.value == max(accuracy(place.config) for place, _ in kept)
    assert guided.next() is None


def test_proposals_learn(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    values = [round(0.01 * i, 2) for i in range(101)]
    guided = Guided(make_sweep(tmp_path / "s", number=60, lam=values), PLACE, {})
    jobs = drain(guided)
    late = [job.config.lam for job in jobs[len(jobs) // 2 :]]
    assert sum(abs(lam - 0.8) < 0.1 for lam in late) > len(late) / 3  # by chance a fifth


def test_trials_wait_for_all_seeds(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    guided = Guided(make_sweep(tmp_path / "s", number=1, seeds=(0, 1, 2), m=[2]), PLACE, {})
    jobs = [guided.next() for _ in range(3)]
    assert [job.config.seed for job in jobs] == [0, 1, 2]
    assert guided.next() is None
    for job, value in zip(jobs, (0.5, 0.6, 0.1), strict=True):
        assert states(guided) == ["RUNNING"]
        guided.ended(Result(job.key, Path("run"), {"val_accuracy": value}))
    assert states(guided) == ["COMPLETE"]
    assert guided._study.best_value == pytest.approx(0.4)


def test_failed_trials(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    guided = Guided(make_sweep(tmp_path / "s", number=5), PLACE, {})
    jobs = drain(guided, lambda job: Result(job.key, None, {}, "no") if job.config.m > 1 else ended(job))
    for (place, _), trial in zip(
        guided._sweep.definition.places,
        [trial for trial in guided._study.trials if f"trial {trial.number}" in axes_of(guided)],
        strict=True,
    ):
        assert trial.state.name == ("FAIL" if place.config.m > 1 else "COMPLETE")
    assert jobs


def axes_of(guided: Any) -> set[str]:
    return {place.axis for place, _ in guided._sweep.definition.places}


def test_ended_at_any_time(optuna: Any, tmp_path: Path) -> None:
    """A search that is ended, twice, over two runs each: the trials under way are run again, under their numbers."""
    from itin.train.guided import Guided

    sweep = make_sweep(tmp_path / "s", number=20)
    first = Guided(sweep, PLACE, {})
    done = {job.key: ended(job) for job in drain(first, most=6)}
    open_jobs = [first.next(), first.next()]
    under_way = [trial.number for trial in first._study.trials if trial.state.name == "RUNNING"]
    assert len(under_way) >= len(open_jobs) == 2  # another trial may wait for one of these runs
    first._study.ask()  # ended before it had its values

    again = Guided(Sweep(sweep.path), PLACE, done)
    assert states(again).count("RUNNING") == len(under_way)
    jobs = drain(again)
    assert [job.key for job in jobs[:2]] == [job.key for job in open_jobs if job is not None]
    assert not {job.key for job in jobs} & set(done)
    assert states(again).count("RUNNING") == 0
    assert len(axes_of(again)) == 20
    assert states(again).count("COMPLETE") == 20
    assert drain(Guided(Sweep(sweep.path), PLACE, {})) == []


def test_no_configuration_at_all(optuna: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from itin.train import guided

    monkeypatch.setattr(guided, "INVALID_IN_A_ROW", 5)
    search = guided.Guided(make_sweep(tmp_path / "s", m=[0], ablation=["no-context"]), PLACE, {})
    assert search.next() is None
    assert states(search) == ["FAIL"] * 5


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    from itin.train.guided import check_installed

    with pytest.raises(
        RunError, match=r"needs Optuna, which is not installed\n  next:     pip install 'itin\[optuna\]'"
    ):
        check_installed()
    result = CliRunner().invoke(main, ["sweep", "--optuna", "3", "--cache", str(tmp_path)])
    assert result.exit_code == 1
    assert "needs Optuna" in result.output
