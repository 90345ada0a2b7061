"""A sweep in parts: whole runs in folders of their own, one table at the end; and its submission."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.cluster import submission as submissions
from itin.cluster.status import status_of
from itin.cluster.works import work_of
from itin.commands.terminal.submitted import prepare
from itin.errors import RunError
from itin.parts import Part
from itin.train.config import TrainConfig
from itin.train.sweeps.folder import FIGURES, Sweep, consolidate, locked
from itin.train.sweeps.run import run
from itin.train.sweeps.setup import Event

from ..features import make_cache
from ..train.test_sweep import read_results, sweep_data

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

SMALL = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "2", "--batch-size", "16"]
GRID = ["--m", "0,1,2", "--seeds", "2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("parts") / "cache")


def itin(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def train(sweep: Sweep, cache: Path, part: str, **options: Any) -> int:
    """Train a part; return how many of its runs are left."""
    own = Part.parse(part)
    results = run(sweep, sweep_data(cache, [TrainConfig(m=2)]), own, stack=2, **options)
    return len(sweep.definition.missing(results, own))


def test_parts_together_are_the_sweep(cache: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "parts", tmp_path / "whole"
    itin("sweep", *GRID, *SMALL, "--cache", cache, "--out", path, "--plan")
    assert (path / "sweep.json").exists()
    assert not list((path / "runs").iterdir())
    printed = itin("sweep", "--resume", path, "--part", "1/2", "--stack", "2", "--workers", "1")
    assert "3/3" in printed
    assert len(list((path / "runs").iterdir())) == 3
    assert not (path / "results.csv").exists()
    printed = itin("sweep", "--resume", path, "--consolidate", code=1)
    assert f"3 runs of {path} have not ended yet, and no table was written" in printed
    assert "--part i/N" in printed
    assert train(Sweep(path), cache, "0/2") == 0
    assert train(Sweep(path), cache, "0/2") == 0
    assert not (path / "results.csv").exists()
    assert "Results: " in itin("sweep", "--resume", path, "--consolidate")
    itin("sweep", *GRID, *SMALL, "--cache", cache, "--out", whole, "--stack", "2")
    columns = ["axis", "key", "status", "m", "seed", *FIGURES, "best_epoch"]
    pd.testing.assert_frame_equal(
        read_results(path / "results.csv")[columns], read_results(whole / "results.csv")[columns], rtol=1e-4
    )


def test_who_trains_what(cache: Path, tmp_path: Path) -> None:
    itin("sweep", "--m", "0:2", "--ablation", "all", *SMALL, "--cache", cache, "--out", tmp_path / "s", "--plan")
    definition = Sweep(tmp_path / "s").definition
    keys = [[trial.key for trial in definition.runs(Part(index, 3))] for index in range(3)]
    assert sorted(key for part in keys for key in part) == sorted({trial.key for trial in definition.trials})
    assert max(map(len, keys)) - min(map(len, keys)) <= 1


def test_a_stop_drops_the_runs_under_way(cache: Path, tmp_path: Path) -> None:
    itin("sweep", *GRID, *SMALL, "--cache", cache, "--out", tmp_path / "s", "--plan")
    sweep, stop = Sweep(tmp_path / "s"), Flag()

    def listen(event: Event) -> None:
        if event.row:
            stop.set()

    assert train(sweep, cache, "0/1", stop=stop, listen=listen) == 6
    assert not [path for path in (sweep.path / "runs").iterdir() if not path.name.startswith(".")]
    assert train(sweep, cache, "0/1") == 0
    consolidate(sweep)
    assert (read_results(sweep.path / "results.csv")["status"] == "done").all()


def test_parts_run_together_but_not_with_the_whole(cache: Path, tmp_path: Path) -> None:
    itin("sweep", *GRID, *SMALL, "--cache", cache, "--out", tmp_path / "s", "--plan")
    with locked(tmp_path / "s", shared=True):
        with locked(tmp_path / "s", shared=True):
            pass
        with pytest.raises(RunError, match="is running already"), locked(tmp_path / "s"):
            pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "--part", "0/2"], "--plan and --part exclude each other"),
        (["--part", "0/2"], "--part goes with --resume DIR"),
        (["--consolidate"], "--consolidate goes with --resume DIR"),
        (["--part", "2/2"], "part: expected i/N"),
        (["--resume", "x", "--part", "0/2", "--retry-failed"], "do not go with --part"),
    ],
)
def test_wrong_options(arguments: list[str], message: str) -> None:
    assert message in itin("sweep", *arguments, code=2)


def test_a_guided_search_has_no_parts(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna")
    printed = itin(
        "cluster", "submit", "--dry-run", "--", "sweep", "--m", "0:2", "--optuna", "3", "--cache", cache,
        "--out", tmp_path / "s", code=2,
    )  # fmt: skip
    assert "--optuna does not go with a submission" in printed
    assert not (tmp_path / "s").exists()


def test_submission(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    own = ["sweep", *GRID, *SMALL, "--cache", cache, "--out", path, "--threads", "2", "--no-cuda-graphs"]
    printed = itin("cluster", "submit", "--dry-run", "--jobs", "4", "--site", empty(tmp_path), "--", *own)
    assert "6 runs wanted, 6 missing, in 4 of 4 parts" in printed
    (record,) = path.glob("cluster/*/submission.json")
    one = submissions.read(record.parent)
    assert one.words[:2] == ("--resume", str(path))
    assert one.words[one.words.index("--threads") + 1] == "2"
    assert "--no-cuda-graphs" in one.words
    assert one.words[one.words.index("--cache") + 1] == str(cache)
    script = (one.folder / "parts.sbatch").read_text()
    subprocess.run(["bash", "-n", one.folder / "parts.sbatch"], check=True)
    assert f" sweep --resume {path} " in script
    assert f"sweep --resume {path} --consolidate &" in (one.folder / "consolidate.sbatch").read_text()
    work = work_of("sweep")
    assert dict(work.missing(one).parts) == {0: 2, 1: 2, 2: 1, 3: 1}
    assert train(Sweep(path), cache, "0/4") == 0
    (path / "failed" / f"{Sweep(path).definition.runs(Part(2, 4))[0].key}.json").write_text('{"error": "x"}')
    missing = work.missing(one)
    assert (dict(missing.parts), missing.given_up) == ({1: 2, 3: 1}, 1)
    status = status_of(one)
    assert not status.consolidated
    assert status.rate > 0
    printed = itin("cluster", "status", one.folder)
    assert "runs        3 of 6 done (50 %), 1 of them given up" in printed
    for index in (1, 3):
        assert train(Sweep(path), cache, f"{index}/4") == 0
    assert f"1 of 6 runs of {path} failed" in itin(*work.consolidate(one), code=1)
    assert work.consolidated(one)
    with pytest.raises(ValueError, match="--retry-failed does not go with a submission"):
        prepare(["sweep", "--resume", str(path), "--retry-failed"])
    assert "6 runs wanted, 0 missing" in itin(
        "cluster", "submit", "--dry-run", "--site", empty(tmp_path), "--", "sweep", "--resume", path
    )
    assert "`sweep` runs on Slurm" in itin(
        "cluster", "submit", "--engine", "dask", "--scheduler", "tcp://h:1", "--", "sweep", code=2
    ).replace("\n", " ")


def empty(folder: Path) -> Path:
    (folder / "site.yaml").touch()
    return folder / "site.yaml"
