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

from itin import disk
from itin.cli import main
from itin.errors import RunError
from itin.train.config import TrainConfig
from itin.train.protocols.split import Inner
from itin.train.runs.key import canonical
from itin.train.sweeps.axes import Trial
from itin.train.sweeps.folder import Definition, Sweep
from itin.train.sweeps.result import Result

from ..features import make_cache

AXES: dict[str, list[Any]] = {
    "m": [0, 1, 2, 3],
    "lam": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
    "ablation": ["none", "no-context"],
    "lr": [0.001],
}


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="needs optuna")


def key(config: TrainConfig, inner: Inner | None = None) -> str:
    return f"{canonical(config, 'x')}{inner or ''}"


DATA: Any = SimpleNamespace(key=key)


def make_sweep(
    path: Path, axes: Mapping[str, list[Any]] = AXES, number: int = 12, seeds: tuple[int, ...] = (0,)
) -> Sweep:
    path.mkdir(exist_ok=True)
    made = Definition(
        mode="optuna", axes=dict(axes), seeds=list(seeds), number=number, trials=[], left_out=[], dataset="x",
        folder="", stores={}, split=None, samples="", untrained=False, created="",
    )  # fmt: skip
    disk.replace(path / "sweep.json", made.to_json())
    return Sweep(path)


def accuracy(config: TrainConfig) -> float:
    """Best at m = 3, lam = 0.8."""
    return 1 - 0.1 * abs(config.regions - 3) - 0.3 * abs(config.lam - 0.8)


def ended(run: Trial) -> Result:
    return Result(run.key, Path("run"), {"val_accuracy": accuracy(run.config)})


def drain(guided: Any, result: Callable[[Trial], Result] = ended, most: int = 1000) -> list[Trial]:
    runs: list[Trial] = []
    while len(runs) < most and (run := guided.next()) is not None:
        runs.append(run)
        guided.ended(result(run))
    return runs


def begin(guided: Any, number: int) -> list[Trial]:
    """So many runs, none of which ends."""
    runs: list[Trial] = [guided.next() for _ in range(number)]
    return runs


def states(guided: Any) -> list[str]:
    """Of the trials that have not failed; proposals that are dropped count as failed."""
    return [trial.state.name for trial in guided._study.trials if trial.state.name != "FAIL"]


def trials(guided: Any) -> list[tuple[str, str]]:
    """What the sweep's folder holds: each trial's axis and key."""
    return [(trial.axis, trial.key) for trial in Sweep(guided._sweep.path).definition.trials]


def test_search(optuna: Any, tmp_path: Path) -> None:
    from itin.train.sweeps.search import Search

    guided = Search(make_sweep(tmp_path / "s", number=24), DATA, {})
    assert guided.total == 24
    runs = drain(guided)
    assert guided.total == len(runs) == len({run.key for run in runs}) == 24
    assert states(guided).count("COMPLETE") == 24
    assert max(accuracy(run.config) for run in runs) > 0.9
    for run in runs:
        assert run.config.m in AXES["m"]
        assert run.config.lam in AXES["lam"]
        assert run.config.lr == 0.001
    assert trials(guided) == [(f"trial {number}", run.key) for number, run in enumerate(runs)]
    assert guided._study.best_value == max(accuracy(run.config) for run in runs)
    assert guided.next() is None
    assert [path.name for path in guided._sweep.path.iterdir()] == ["sweep.json"]  # no file and no lock of Optuna's


def test_proposals_learn(optuna: Any, tmp_path: Path) -> None:
    from itin.train.sweeps.search import Search

    values = [round(0.002 * i, 3) for i in range(501)]
    guided = Search(make_sweep(tmp_path / "s", {"lam": values}, 60), DATA, {})
    runs = drain(guided)
    late = [run.config.lam for run in runs[len(runs) // 2 :]]
    assert sum(abs(lam - 0.8) < 0.1 for lam in late) > len(late) / 3  # by chance a fifth


def test_trials_wait_for_all_seeds(optuna: Any, tmp_path: Path) -> None:
    from itin.train.sweeps.search import Search

    guided = Search(make_sweep(tmp_path / "s", {"m": [2]}, 1, (0, 1, 2)), DATA, {})
    runs = begin(guided, 3)
    assert [run.config.seed for run in runs] == [0, 1, 2]
    assert guided.next() is None
    for run, value in zip(runs, (0.5, 0.6, 0.1), strict=True):
        assert states(guided) == ["RUNNING"]
        guided.ended(Result(run.key, Path("run"), {"val_accuracy": value}))
    assert states(guided) == ["COMPLETE"]
    assert guided._study.best_value == pytest.approx(0.4)


def test_failed_trials(optuna: Any, tmp_path: Path) -> None:
    from itin.train.sweeps.search import Search

    guided = Search(make_sweep(tmp_path / "s", number=5), DATA, {})
    runs = drain(guided, lambda run: Result(run.key, None, {}, "no") if run.config.m > 1 else ended(run))
    assert len(runs) == 5
    assert states(guided) == ["COMPLETE"] * sum(run.config.m <= 1 for run in runs)
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
    from itin.train.sweeps.search import Search

    whole = Search(make_sweep(tmp_path / "whole", WIDE, 20, seeds), DATA, {})
    runs = drain(whole)
    assert len(runs) == 20 * len(seeds)

    path = make_sweep(tmp_path / "parts", WIDE, 20, seeds).path
    done: dict[str, Result] = {}
    trained: list[Trial] = []
    while True:
        guided = Search(Sweep(path), DATA, done)
        some = drain(guided, most=every)
        if not some:
            break
        trained += some
        done |= {run.key: ended(run) for run in some}
        guided.next()  # the next run is begun, and lost
    assert trained == runs
    assert trials(guided) == trials(whole)


@pytest.mark.parametrize("workers", [2, 5])
def test_several_workers_ended_at_any_time(optuna: Any, tmp_path: Path, workers: int) -> None:
    """Runs under way are begun again, under their trials' numbers; all configurations differ."""
    from itin.train.sweeps.search import Search

    sweep = make_sweep(tmp_path / "s", number=20)
    first = Search(sweep, DATA, {})
    done = {run.key: ended(run) for run in drain(first, most=6)}
    open_runs = begin(first, workers)
    assert states(first).count("RUNNING") == workers
    again = Search(Sweep(sweep.path), DATA, done)
    assert again.total == 20 - 6
    assert begin(again, workers) == open_runs
    for run in open_runs:
        again.ended(ended(run))
    runs = drain(again)
    keys = [*done, *(run.key for run in open_runs), *(run.key for run in runs)]
    assert len(set(keys)) == len(keys) == 20
    assert trials(again) == [(f"trial {number}", key) for number, key in enumerate(keys)]
    assert states(again).count("COMPLETE") == 20
    assert drain(Search(Sweep(sweep.path), DATA, dict.fromkeys(keys, ended(runs[0])))) == []


def test_a_folder_with_a_journal_of_optuna_and_its_lock(optuna: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Sweeps used to keep Optuna's journal, whose lock is a link; and equal proposals as trials of their own."""
    from itin.train.sweeps.search import Search

    monkeypatch.chdir(tmp_path)
    sweep = make_sweep(Path("s"), number=12)
    for number, m in ((0, 1), (2, 3), (3, 1), (7, 2)):  # 1, 4, 5 and 6 were no configurations
        config = TrainConfig(m=m, lam=0.2)
        sweep.definition.trials.append(Trial(f"trial {number}", config, key(config)))
    disk.replace(sweep.path / "sweep.json", sweep.definition.to_json())
    (sweep.path / "optuna.journal").write_text('{"op_code": 0')
    (sweep.path / "optuna.journal.lock").symlink_to("s/optuna.journal")
    done = {
        key(config): ended(Trial("", config, key(config))) for config in [TrainConfig(m=m, lam=0.2) for m in (1, 3)]
    }
    guided = Search(Sweep(Path("s")), DATA, done)
    runs = drain(guided)
    assert runs[0].config == TrainConfig(m=2, lam=0.2)
    assert len({key for _, key in trials(guided)}) == 12
    assert len(runs) == 12 - len(done)
    assert [axis for axis, _ in trials(guided)] == [f"trial {number}" for number in (0, 2, 3, *range(7, 17))]


def test_a_trial_that_is_no_combination(optuna: Any, tmp_path: Path) -> None:
    from itin.train.sweeps.search import Search

    sweep = make_sweep(tmp_path / "s")
    sweep.definition.trials.append(Trial("trial 0", TrainConfig(m=9), "k"))
    with pytest.raises(
        RunError, match=r"contradicts itself: trial 0 is no combination of its axes[\s\S]*m in \[0, 1, 2, 3\]"
    ):
        Search(sweep, DATA, {})


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
    from itin.train.sweeps import search

    monkeypatch.setattr(search, "PROPOSALS", 5)
    guided = search.Search(make_sweep(tmp_path / "s", axes, asked), DATA, {})
    runs = drain(guided)
    assert len(runs) == len({run.key for run in runs}) == guided.total == min(asked, there_are)
    assert guided.next() is None
    again = search.Search(Sweep(guided._sweep.path), DATA, {run.key: ended(run) for run in runs})
    assert drain(again) == []


# The command ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
def test_killed_search_goes_on(optuna: Any, tmp_path: Path) -> None:
    """SIGTERM to a real search: resumed, it gives the trials of one that was not ended, here all that there are."""
    small = ["--d", 6, "--k", 4, "--hidden", 4, "--epochs", 6]
    cache = make_cache(tmp_path / "cache")
    words = ["sweep", "--cache", cache, "--m", "1:3", "--lam", "0:1:0.5", *small, "--optuna", 10, "--workers", 1]

    def itin(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert "tried all 9 configurations of its axes, fewer than the 10 asked for" in itin(
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
    there = len(Sweep(path).definition.trials)
    assert there < 9
    assert f"{len(Sweep(path).finished())} results are there already" in itin("sweep", "--resume", path, "--workers", 1)
    assert Sweep(path).definition.trials == Sweep(tmp_path / "whole").definition.trials
    assert (Sweep(path).results()["status"] == "done").all()


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    from itin.train.sweeps.search import check_installed

    with pytest.raises(
        RunError, match=r"needs Optuna, which is not installed\n  next:     pip install 'itin\[optuna\]'"
    ):
        check_installed()
    result = CliRunner().invoke(main, ["sweep", "--optuna", "3", "--cache", str(tmp_path)])
    assert result.exit_code == 1
    assert "needs Optuna" in result.output
