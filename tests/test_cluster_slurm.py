"""Real extraction through a real Slurm that is brought up here, with everything going wrong on the way that can.

Run with `pytest -m slurm`. In every case each sample must be committed exactly once without a hand, and a kill may cost
one shard of work a kind at most.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from itin.cluster import slurm
from itin.cluster.status import status_of
from itin.train.sweep import read_results

from .cluster_faults import Job, counted_itin, kill, note, same_features
from .sweep_data import make_cache

pytestmark = pytest.mark.slurm

SCRIPTS = Path(__file__).parent / "slurm"
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")
SHARD = 16
SAMPLES = 192
ONE_KILL = 2 * (SHARD + 4)
"""Features that one kill may cost: a shard and a batch of each of the two kinds that are made together."""
DELAY = 0.08
"""Seconds that a test's encoders take longer for a sample, so that there is time to interfere."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    missing = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm") / "slurm"
    try:
        subprocess.run([SCRIPTS / "up.sh", folder], check=True, timeout=120)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            yield folder
    finally:
        subprocess.run([SCRIPTS / "down.sh", folder], check=False, timeout=120)


@pytest.fixture
def job(cluster: Path, tmp_path: Path, draw_mvsa: Callable[..., Path]) -> Iterator[Job]:
    real = Path(__file__).resolve().parents[2] / "shared" / "data" / "mvsa-single-sample"
    root = real if real.is_dir() else draw_mvsa(tmp_path / "data", pairs=SAMPLES)
    yield Job(root, tmp_path / "job", SHARD, limit=SAMPLES)
    subprocess.run(["scancel", f"--user={getpass.getuser()}"], check=False)


def options(*more: str) -> list[str]:
    return ["--jobs", "4", "--itin", counted_itin(), "--partition", "low", "--gpus", "1", *more]


def finish(job: Job, seconds: float = 400) -> None:
    """Waits until the manifests are there and nothing is left in the queue."""
    job.wait(job.complete, seconds)
    job.wait(lambda: not any(slurm.queue(one.name) for one in job.submissions()), 60)


def at_work(job: Job) -> bool:
    """All four tasks encode, and something is committed."""
    return job.committed() > 4 and len(job.workers()) == 4


def report(name: str, job: Job, started: float, kills: int) -> None:
    """Checks what must hold in every case, and notes the figures."""
    again = job.check()
    note(name, kills=kills, lost=0, recomputed=again, of=len(job.handed_over()), wall=round(job.wall(started), 1))
    assert again <= kills * ONE_KILL


def test_plain(job: Job, tmp_path: Path) -> None:
    printed = job.submit(*options(), delay=DELAY)
    started = time.time()
    assert "the parts" in printed
    assert "cancel: scancel --name=itin-" in printed
    job.wait(lambda: job.committed() > 2)
    command = [sys.executable, "-m", "itin", "cluster", "status", "--cache", job.cache]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert " run, " in shown
    assert "features/s" in shown
    assert "sweep       job" in shown
    finish(job)
    report("plain", job, started, kills=0)
    assert len(job.handed_over()) == 3 * SAMPLES
    whole = Job(job.root, tmp_path / "whole", SHARD, limit=SAMPLES)
    subprocess.run([sys.executable, "-m", "itin", "extract", *whole.words], check=True, capture_output=True)
    same_features(job.cache, whole.cache)
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"{3 * SAMPLES} of {3 * SAMPLES} done (100 %)" in shown
    assert "consolidated: yes" in shown


def test_a_task_is_killed(job: Job) -> None:
    job.submit(*options(), delay=DELAY)
    started = time.time()
    job.wait(lambda: at_work(job))
    kill(job.workers()[0])
    finish(job)
    report("a task SIGKILLed", job, started, kills=1)
    assert "ended with exit code 137" in job.logs()
    assert "submitted again as" in job.logs()
    failure = status_of(job.submissions()[0]).failure
    assert failure is not None
    assert failure.error.startswith("killed by signal 9")


def preempt() -> None:
    """A job of the higher partition that needs a whole node for a moment."""
    subprocess.run(
        ["sbatch", "-p", "high", "-N1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2"], check=True, timeout=60
    )


@pytest.mark.parametrize("how", ["requeued by Slurm", "not requeued"])
def test_a_task_is_preempted(job: Job, how: str) -> None:
    more = [] if how == "requeued by Slurm" else ["--sbatch-option=--no-requeue"]
    job.submit(*options(*more), delay=2 * DELAY)
    started = time.time()
    job.wait(lambda: at_work(job))
    preempt()
    finish(job)
    assert "ended with exit code 75" in job.logs()
    report(f"preempted, {how}", job, started, kills=2)


@pytest.mark.parametrize("how", ["warned before", "not warned"])
def test_the_walltime_is_hit(job: Job, how: str) -> None:
    """Minutes are the least that Slurm knows, and its clock looks every half minute."""
    more = [] if how == "warned before" else ["--sbatch-option=--signal=B:CONT@1"]
    job.submit(*options("--time", "2", "--warn", "20", *more), delay=10 * DELAY)
    started = time.time()
    finish(job, 1200)
    assert how != "warned before" or "ended with exit code 75" in job.logs()
    report(f"walltime hit, {how}", job, started, kills=0 if how == "warned before" else 4)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_the_submitting_process_is_killed(job: Job, tmp_path: Path, after: int) -> None:
    """Killed by its own sbatch, once that has submitted the job number `after`; 0 stands for before the first.

    The jobs are the sweep, the consolidation and two arrays; when all are there the sweep is still to be tied.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("sbatch")
    (tools / "sbatch").write_text(
        f"#!/bin/bash\nn=$(cat {tools}/n 2>/dev/null || echo 0)\n"
        f"[ $n = {after} ] && kill -KILL $PPID && exit\n"
        f'PATH={shlex.quote(os.environ["PATH"])} {real} "$@"; echo $((n + 1)) >{tools}/n\n'
        f"[ $((n + 1)) = {after} ] && kill -KILL $PPID\n"
    )
    (tools / "sbatch").chmod(0o755)
    environment = job.environment(DELAY, untied=8)
    killed = {**environment, "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}
    done = subprocess.run(job.command(*options()), env=killed, capture_output=True, text=True, timeout=300, check=False)
    started = time.time()
    assert done.returncode == -signal.SIGKILL
    if after == 0:  # nothing is in the queue: the person who typed the command types it again
        assert not any(slurm.queue(one.name) for one in job.submissions())
        job.submit(*options(), delay=DELAY)
    finish(job)
    report(f"submitting process SIGKILLed after {after} of 4 jobs", job, started, kills=0)


def test_the_sweep_is_killed(job: Job) -> None:
    """Slurm holds the requeued sweep for two minutes."""
    (job.counts / "kill-sweep").touch()
    job.submit(*options(), delay=0)
    started = time.time()
    finish(job)
    assert "the sweep ended with exit code 137" in job.logs()
    report("the sweep SIGKILLed", job, started, kills=0)


def test_two_submissions_at_once(job: Job) -> None:
    both = [
        subprocess.Popen(job.command(*options()), env=job.environment(DELAY), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [one.wait(300) for one in both] == [0, 0]
    started = time.time()
    assert len({one.id for one in job.submissions()}) == 2
    finish(job)
    again = job.check()
    note(
        "two submissions at once",
        kills=0,
        lost=0,
        recomputed=again,
        of=len(job.handed_over()),
        wall=round(job.wall(started), 1),
    )
    assert again < 3 * SAMPLES


def test_the_runs_of_a_sweep(cluster: Path, tmp_path: Path) -> None:
    cache, path = make_cache(tmp_path / "cache"), tmp_path / "sweep"
    small = [word for setting in ("d=6", "k=4", "hidden=4", "epochs=2") for word in ("--set", setting)]
    words = ["sweep", "--m", "0,1,2", "--seeds", "2", *small, "--cache", cache, "--out", path, "--workers", "1"]
    command = [sys.executable, "-m", "itin", "cluster", "submit", "--jobs", "4", "--partition", "low", "--", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, timeout=300)
    started = time.time()
    end = time.monotonic() + 400
    while not (path / "results.csv").exists():
        assert time.monotonic() < end, [log.read_text() for log in path.glob("cluster/*/logs/*")]
        time.sleep(0.5)
    table = read_results(path / "results.csv")
    assert table["status"].tolist() == ["done"] * 6
    assert len(list((path / "runs").iterdir())) == 6
    note("a sweep of 6 runs", kills=0, lost=0, recomputed=0, of=6, wall=round(time.time() - started, 1))


def test_arrays_stay_below_the_size_that_the_cluster_takes(job: Job) -> None:
    """up.sh sets MaxArraySize to 3: parts 0 to 3 take two arrays."""
    assert slurm.max_array_size() == 3
    job.submit(*options(), delay=0)
    finish(job)
    names = sorted(path.name for path in job.submissions()[0].logs.glob("part-*"))
    assert [name.rpartition("_")[2] for name in names] == ["0.log", "1.log", "2.log", "0.log"]
    assert job.check() == 0
