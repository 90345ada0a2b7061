"""A guided search: what it proposes, that it can be ended at any time, and that no two trials are equal."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.errors import RunError
from itin.train import disk
from itin.train.axes import Place
from itin.train.config import TrainConfig
from itin.train.identity import canonical
from itin.train.pool import Job
from itin.train.sweep import Definition, Result, Sweep

from .features import make_cache

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


def make_sweep(
    path: Path, axes: Mapping[str, list[Any]] = AXES, number: int = 12, seeds: tuple[int, ...] = (0,)
) -> Sweep:
    path.mkdir(exist_ok=True)
    made = Definition(
        mode="optuna", axes=dict(axes), seeds=list(seeds), number=number, places=[], left_out=[], dataset="x",
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


def begin(guided: Any, number: int) -> list[Job]:
    """So many jobs, none of which ends."""
    jobs: list[Job] = [guided.next() for _ in range(number)]
    return jobs


def states(guided: Any) -> list[str]:
    """Of the trials that have not failed; proposals that are dropped count as failed."""
    return [trial.state.name for trial in guided._study.trials if trial.state.name != "FAIL"]


def places(guided: Any) -> list[tuple[str, str]]:
    """What the sweep's folder holds: each place's axis and key."""
    return [(place.axis, key) for place, key in Sweep(guided._sweep.path).definition.places]


def test_search(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    guided = Guided(make_sweep(tmp_path / "s", number=24), PLACE, {})
    assert guided.total == 24
    jobs = drain(guided)
    assert guided.total == len(jobs) == len({job.key for job in jobs}) == 24
    assert states(guided).count("COMPLETE") == 24
    assert max(accuracy(job.config) for job in jobs) > 0.9
    for job in jobs:
        assert job.config.m in AXES["m"]
        assert job.config.lam in AXES["lam"]
        assert job.config.lr == 0.001
    assert places(guided) == [(f"trial {number}", job.key) for number, job in enumerate(jobs)]
    assert guided._study.best_value == max(accuracy(job.config) for job in jobs)
    assert guided.next() is None
    assert [path.name for path in guided._sweep.path.iterdir()] == ["sweep.json"]  # no file and no lock of Optuna's


def test_proposals_learn(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    values = [round(0.002 * i, 3) for i in range(501)]
    guided = Guided(make_sweep(tmp_path / "s", {"lam": values}, 60), PLACE, {})
    jobs = drain(guided)
    late = [job.config.lam for job in jobs[len(jobs) // 2 :]]
    assert sum(abs(lam - 0.8) < 0.1 for lam in late) > len(late) / 3  # by chance a fifth


def test_trials_wait_for_all_seeds(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    guided = Guided(make_sweep(tmp_path / "s", {"m": [2]}, 1, (0, 1, 2)), PLACE, {})
    jobs = begin(guided, 3)
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
    assert len(jobs) == 5
    assert states(guided) == ["COMPLETE"] * sum(job.config.m <= 1 for job in jobs)
    assert not guided._waiting


# Ended and resumed ---------------------------------------------------------------------------------------------------

WIDE: dict[str, list[Any]] = {
    "m": [0, 1, 2, 3],
    "lam": [0.0, 0.25, 0.5, 0.75, 1.0],
    "preset": ["paper", "official"],
    "ablation": ["none", "no-gate", "no-context"],
    "mask": [True, False],
    "clip": [None, 1.0, 5.0],
    "lr": [0.001],
}


@pytest.mark.parametrize("seeds", [(0,), (3, 7)])
@pytest.mark.parametrize("every", [1, 4, 17])
def test_interrupted_or_not_the_trials_are_the_same(
    optuna: Any, tmp_path: Path, seeds: tuple[int, ...], every: int
) -> None:
    """A search with one worker that is ended over every run, every fourth, or the seventeenth."""
    from itin.train.guided import Guided

    whole = Guided(make_sweep(tmp_path / "whole", WIDE, 20, seeds), PLACE, {})
    jobs = drain(whole)
    assert len(jobs) == 20 * len(seeds)

    path = make_sweep(tmp_path / "parts", WIDE, 20, seeds).path
    done: dict[str, Result] = {}
    trained: list[Job] = []
    while True:
        guided = Guided(Sweep(path), PLACE, done)
        some = drain(guided, most=every)
        if not some:
            break
        trained += some
        done |= {job.key: ended(job) for job in some}
        guided.next()  # the next run is begun, and lost
    assert trained == jobs
    assert places(guided) == places(whole)


@pytest.mark.parametrize("workers", [2, 5])
def test_several_workers_ended_at_any_time(optuna: Any, tmp_path: Path, workers: int) -> None:
    """Runs under way are begun again, under their trials' numbers; all configurations differ."""
    from itin.train.guided import Guided

    sweep = make_sweep(tmp_path / "s", number=20)
    first = Guided(sweep, PLACE, {})
    done = {job.key: ended(job) for job in drain(first, most=6)}
    open_jobs = begin(first, workers)
    assert states(first).count("RUNNING") == workers
    again = Guided(Sweep(sweep.path), PLACE, done)
    assert again.total == 20 - 6
    assert begin(again, workers) == open_jobs
    for job in open_jobs:
        again.ended(ended(job))
    jobs = drain(again)
    keys = [*done, *(job.key for job in open_jobs), *(job.key for job in jobs)]
    assert len(set(keys)) == len(keys) == 20
    assert places(again) == [(f"trial {number}", key) for number, key in enumerate(keys)]
    assert states(again).count("COMPLETE") == 20
    assert drain(Guided(Sweep(sweep.path), PLACE, dict.fromkeys(keys, ended(jobs[0])))) == []


def test_a_folder_with_a_journal_of_optuna_and_its_lock(optuna: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Sweeps used to keep Optuna's journal, whose lock is a link; and equal proposals as trials of their own."""
    from itin.train.guided import Guided

    monkeypatch.chdir(tmp_path)
    sweep = make_sweep(Path("s"), number=12)
    for number, m in ((0, 1), (2, 3), (3, 1), (7, 2)):  # 1, 4, 5 and 6 were no configurations
        config = TrainConfig(m=m, lam=0.2)
        sweep.definition.places.append((Place(f"trial {number}", config), key(config)))
    disk.replace(sweep.path / "sweep.json", sweep.definition.to_json())
    (sweep.path / "optuna.journal").write_text('{"op_code": 0')
    (sweep.path / "optuna.journal.lock").symlink_to("s/optuna.journal")
    done = {key(config): ended(Job(key(config), "", config)) for config in [TrainConfig(m=m, lam=0.2) for m in (1, 3)]}
    guided = Guided(Sweep(Path("s")), PLACE, done)
    jobs = drain(guided)
    assert jobs[0].config == TrainConfig(m=2, lam=0.2)
    assert len({key for _, key in places(guided)}) == 12
    assert len(jobs) == 12 - len(done)
    assert [axis for axis, _ in places(guided)] == [f"trial {number}" for number in (0, 2, 3, *range(7, 17))]


def test_a_trial_that_is_no_combination(optuna: Any, tmp_path: Path) -> None:
    from itin.train.guided import Guided

    sweep = make_sweep(tmp_path / "s")
    sweep.definition.places.append((Place("trial 0", TrainConfig(m=9)), "k"))
    with pytest.raises(
        RunError, match=r"contradicts itself: trial 0 is no combination of its axes[\s\S]*m in \[0, 1, 2, 3\]"
    ):
        Guided(sweep, PLACE, {})


# Few configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "there_are"),
    [
        ({"m": [2]}, 1),
        ({"m": [0], "ablation": ["no-context"]}, 0),
        ({"m": [0, 1], "ablation": ["no-context", "only-context"]}, 2),
        ({"m": [0], "lam": [0.1, 0.2, 0.3], "gate": ["scalar", "vector"]}, 3),  # without regions there is no gate
        ({"m": list(range(1, 11)), "lam": [0.1, 0.2], "ablation": ["none", "no-gate"]}, 40),
    ],
)
@pytest.mark.parametrize("asked", [1, 40, 41])
def test_every_configuration_is_found(
    optuna: Any, tmp_path: Path, monkeypatch: Any, axes: dict[str, list[Any]], there_are: int, asked: int
) -> None:
    """The asked number comes out exactly where there are so many, and all that there are where not."""
    from itin.train import guided

    monkeypatch.setattr(guided, "PROPOSALS", 5)
    search = guided.Guided(make_sweep(tmp_path / "s", axes, asked), PLACE, {})
    jobs = drain(search)
    assert len(jobs) == len({job.key for job in jobs}) == search.total == min(asked, there_are)
    assert search.next() is None
    again = guided.Guided(Sweep(search._sweep.path), PLACE, {job.key: ended(job) for job in jobs})
    assert drain(again) == []


# The command ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_killed_search_goes_on(optuna: Any, tmp_path: Path) -> None:
    """SIGTERM to a real search: resumed, it gives the trials of one that was not ended, here all that there are."""
    small = [word for field in ("d=6", "k=4", "hidden=4", "epochs=6") for word in ("--set", field)]
    cache = make_cache(tmp_path / "cache")
    words = ["sweep", "--cache", cache, "--m", "1:3", "--lam", "0:1:0.5", *small, "--optuna", 10, "--workers", 1]

    def itin(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert "tried all 9 configurations that its axes hold, fewer than the 10 asked for" in itin(
        *words, "--out", tmp_path / "whole"
    )
    path = tmp_path / "killed"
    command = [sys.executable, "-m", "itin", *map(str, words), "--out", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(path.glob("runs/[!.]*/config.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    process.wait()
    there = len(Sweep(path).definition.places)
    assert there < 9
    assert f"{len(Sweep(path).finished())} results are there already" in itin("sweep", "--resume", path, "--workers", 1)
    assert Sweep(path).definition.places == Sweep(tmp_path / "whole").definition.places
    assert (Sweep(path).results()["status"] == "done").all()


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
