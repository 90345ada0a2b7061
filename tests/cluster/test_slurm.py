"""Real extraction through a real Slurm that is brought up here, with everything going wrong on the way that can.

Run with `pytest -m slurm`, or `-m "slurm and not slow"` without the rarer faults. In every case each sample must be
committed exactly once without a hand, and a kill may cost one shard of work a kind at most.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from itin.cluster import slurm
from itin.cluster import submission as submissions
from itin.cluster.status import status_of

from ..cluster_faults import Account, Job, counted_itin, kill, note, same_features, with_a_bad_image
from ..features import make_cache

pytestmark = pytest.mark.slurm

SCRIPTS = Path(__file__).parents[1] / "slurm"
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")
SHARD = 16
SAMPLES = 192
FEW = 2 * SHARD
"""Samples with which real encoders are tried, in two parts."""
ONE_KILL = 2 * (SHARD + 4)
"""Features that one kill may cost: a shard and a batch of each of the two kinds that are made together."""
DELAY = 0.08
"""Seconds that a test's encoders take longer for a sample, so that there is time to interfere."""
USERS = ("nobody", "daemon")
"""Two users that every Debian has."""
GROUP = "nogroup"
DEFAULTS = {"SBATCH_ACCOUNT": "lab", "SBATCH_MEM_PER_CPU": "20"}
"""What people set for all of their jobs."""
HOSTILE = {
    **{"SBATCH_TIMELIMIT": "0:01:00", "SBATCH_JOB_NAME": "mine", "SBATCH_PARTITION": "high", "SBATCH_GPUS": "2"},
    **{"SBATCH_OUTPUT": "/dev/null", "SBATCH_ERROR": "/dev/null", "SBATCH_OPEN_MODE": "truncate"},
    **{"SBATCH_ARRAY_INX": "0-1", "SBATCH_NO_REQUEUE": "", "SBATCH_SIGNAL": "B:KILL@60", "SBATCH_EXPORT": "NIL"},
    **{"SQUEUE_STATES": "COMPLETED", "SQUEUE_PARTITION": "high", "SQUEUE_FORMAT": "%i", "SQUEUE_USERS": "nobody"},
    **{"SCANCEL_STATE": "SUSPENDED", "SCANCEL_PARTITION": "high", "SLURM_HINT": "nomultithread"},
    **{"SLURM_NTASKS": "2", "SLURM_MEM_PER_NODE": "50", "SRUN_CPUS_PER_TASK": "2"},
}
"""What would change a submission on its way to Slurm, or hide its jobs."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    missing = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install slurm-wlm munge")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])  # each has a Slurm of its own
    with tempfile.TemporaryDirectory(prefix="itin-slurm-") as name:
        Path(name).chmod(0o755)  # for all users of the cluster
        folder = Path(name) / "slurm"
        try:
            port = os.environ.get("ITIN_SLURM_PORT", str(27810 + 10 * worker))
            subprocess.run(
                [SCRIPTS / "up.sh", folder], env={**os.environ, "ITIN_SLURM_PORT": port}, check=True, timeout=120
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
                yield folder
        finally:
            subprocess.run([SCRIPTS / "down.sh", folder], check=False, timeout=120)


def data_set(folder: Path, draw_mvsa: Callable[..., Path]) -> Path:
    """The real sample, or a drawn one where it is not at hand."""
    real = Path(__file__).resolve().parents[3] / "shared" / "data" / "mvsa-single-sample"
    return real if real.is_dir() else draw_mvsa(folder / "data", pairs=SAMPLES)


@pytest.fixture
def job(cluster: Path, tmp_path: Path, draw_mvsa: Callable[..., Path]) -> Iterator[Job]:
    yield Job(data_set(tmp_path, draw_mvsa), tmp_path / "job", SHARD, limit=SAMPLES)
    subprocess.run(["scancel", f"--user={getpass.getuser()}"], check=False)


def options(*more: str, jobs: int = 4) -> list[str]:
    return ["--jobs", str(jobs), "--itin", counted_itin(), "--partition", "low", "--gpus", "1", *more]


def finish(job: Job, seconds: float = 400) -> None:
    """Waits until the manifests are there and nothing is left in the queue."""
    job.wait(job.complete, seconds)
    job.wait(lambda: not any(slurm.queue(one.name) for one in job.submissions()), 60)


def run_itin(*words: object, environment: Mapping[str, str] | None = None) -> str:
    """Runs itin to its end and returns what it printed."""
    command = [sys.executable, "-m", "itin", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout


class Accepted(NamedTuple):
    """A job as Slurm took it."""

    name: str
    limit: str
    partition: str
    account: str
    memory: str
    gpus: str
    script: str


def accepted(folder: Path) -> set[Accepted]:
    """What Slurm took of the submissions in a folder: jobs that have ended, too."""
    form = "%j|%l|%P|%a|%m|%b|%o"
    lines = slurm.run(["squeue", "-h", "--me", "--states=all", "-o", form]).splitlines()
    jobs = [Accepted(*line.split("|")) for line in lines if str(folder) in line]
    return {job._replace(script=re.sub(r".*/(\w+)\.sbatch.*", r"\1", job.script)) for job in jobs}


def at_work(job: Job) -> bool:
    """All four tasks encode, and something is committed."""
    return job.committed() > 4 and len(job.workers()) == 4


def report(name: str, job: Job, started: float, kills: int, quarantined: int = 0) -> None:
    """Checks what must hold in every case, and notes the figures."""
    account = job.check(quarantined)
    note(name, kills, account, job.wall(started))
    assert account.lost == 0
    assert account.again <= kills * ONE_KILL


def test_plain(cluster: Path, tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    """With real encoders."""
    root = data_set(tmp_path, draw_mvsa)
    job, whole = (Job(root, tmp_path / name, SHARD, limit=FEW, cheap=False) for name in ("job", "whole"))
    printed = job.submit(*options(jobs=2), delay=4 * DELAY)
    started = time.time()
    assert "the parts" in printed
    assert "cancel: scancel --name=itin-" in printed
    job.wait(lambda: job.committed() > 2)
    status = status_of(job.submissions()[0])  # a command of its own may see the end of so short a job
    assert status.running
    assert status.rate > 0
    shown = run_itin("cluster", "status", "--cache", job.cache)
    assert " run, " in shown
    assert "resubmit    job" in shown
    finish(job)
    report("plain", job, started, kills=0)
    assert job.check() == Account(3 * FEW, lost=0, again=0)
    assert len(job.handed_over()) == 3 * FEW
    run_itin("extract", *whole.words)
    same_features(job.cache, whole.cache)
    shown = run_itin("cluster", "status", "--cache", job.cache)
    assert f"{3 * FEW} of {3 * FEW} done (100 %)" in shown
    assert "consolidated: yes" in shown


def test_a_task_is_killed(job: Job, tmp_path: Path) -> None:
    """And an image is bad: it goes into quarantine, and nobody waits for it. The environment asks for other things."""
    job.words[job.words.index("--root") + 1] = str(with_a_bad_image(job.root, tmp_path / "bad"))
    job.variables, job.together = {**DEFAULTS, **HOSTILE}, 4
    job.submit(*options("--time", "0:10:00"), delay=DELAY)
    started = time.time()
    job.wait(lambda: at_work(job))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in job.variables.items():
            patch.setenv(name, value)
        status = status_of(job.submissions()[0])
    assert (len(status.running), status.failures) == (4, ())
    kill(job.workers()[0])
    finish(job)
    assert len(list(job.submissions()[0].logs.glob("consolidate-*"))) == 1
    common = (job.submissions()[0].name, "10:00", "low", "lab", "20M")
    assert accepted(job.cache) == {
        Accepted(*common, "gres:gpu:1", "parts"),
        Accepted(*common, "N/A", "resubmit"),
        Accepted(*common, "N/A", "consolidate"),
    }
    report("a task SIGKILLed", job, started, kills=1, quarantined=1)
    assert "ended with exit code 137" in job.logs()
    assert "submitted again as" in job.logs()
    (failure,) = status_of(job.submissions()[0]).failures
    assert failure.error.startswith("killed by signal 9")


def preempt() -> None:
    """A job of the higher partition that needs a whole node for a moment."""
    subprocess.run(
        ["sbatch", "-p", "high", "-N1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2"], check=True, timeout=60
    )


@pytest.mark.parametrize("how", ["--requeue", pytest.param("--no-requeue", marks=pytest.mark.slow)])
def test_a_task_is_preempted(job: Job, how: str) -> None:
    """What is in hand is to be done in the ten seconds that a task gets; the slow case has real encoders."""
    job.cheap, job.together = how == "--requeue", 4
    job.submit(*options(f"--sbatch-option={how}"), delay=2 * DELAY)
    started = time.time()
    job.wait(lambda: at_work(job))
    preempt()
    finish(job)
    assert "ended with exit code 75" in job.logs()
    report(f"preempted with {how}", job, started, kills=2)


@pytest.mark.parametrize("how", ["warned before", pytest.param("not warned", marks=pytest.mark.slow)])
def test_the_walltime_is_hit(job: Job, how: str) -> None:
    """A minute is the least that Slurm knows, and its clock looks every half minute.

    So it warns 10 to 40 s after the begin, and ends a task after 60 to 90 s.
    """
    more, slower = ([], 4) if how == "warned before" else (["--sbatch-option=--signal=B:CONT@1"], 9)
    job.submit(*options("--time", "1", "--warn", "20", *more), delay=slower * DELAY)
    started = time.time()
    finish(job, 1200)
    assert how != "warned before" or "ended with exit code 75" in job.logs()
    report(f"walltime hit, {how}", job, started, kills=0 if how == "warned before" else 4)


@pytest.mark.parametrize("after", [0, 3, *(pytest.param(after, marks=pytest.mark.slow) for after in (1, 2, 4))])
def test_the_submitting_process_is_killed(job: Job, tmp_path: Path, after: int) -> None:
    """Killed by its own sbatch, once that has submitted the job number `after`; 0 stands for before the first.

    The jobs are the resubmission, the consolidation and two arrays; when all are there it is still to be tied.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("sbatch")
    (tools / "sbatch").write_text(
        f"#!/bin/bash\nn=$(cat {tools}/n 2>/dev/null || echo 0)\n"
        f"[ $n = {after} ] && kill -KILL $PPID && exit\n"
        f'PATH={shlex.quote(os.environ["PATH"])} {real} "$@"; echo $((n + 1)) >{tools}/n\n'
        f"if [ $((n + 1)) = {after} ]; then kill -KILL $PPID; fi\n"
    )
    (tools / "sbatch").chmod(0o755)
    environment = job.environment(DELAY, untied=8)
    killed = {**environment, "PATH": f"{tools}{os.pathsep}{environment['PATH']}"}
    done = subprocess.run(job.command(*options()), env=killed, capture_output=True, text=True, timeout=300, check=False)
    started = time.time()
    assert done.returncode == -signal.SIGKILL
    if after == 0:  # nothing is in the queue: the person who typed the command types it again
        assert not any(slurm.queue(one.name) for one in job.submissions())
        job.submit(*options(), delay=0)
    finish(job)
    if after == 0:  # up.sh sets MaxArraySize to 3: parts 0 to 3 take two arrays
        assert slurm.max_array_size() == 3
        names = sorted(path.name for path in job.submissions()[-1].logs.glob("part-*"))
        assert [name.rpartition("_")[2] for name in names] == ["0.log", "1.log", "2.log", "0.log"]
    report(f"submitting process SIGKILLed after {after} of 4 jobs", job, started, kills=0)


@pytest.mark.slow
def test_the_resubmission_is_killed(job: Job) -> None:
    """Slurm holds the requeued resubmission for two minutes."""
    (job.counts / "kill-resubmission").touch()
    job.submit(*options(), delay=0)
    started = time.time()
    finish(job)
    assert "the resubmission ended with exit code 137" in job.logs()
    report("the resubmission SIGKILLed", job, started, kills=0)


def test_two_submissions_at_once(job: Job) -> None:
    """Of two tasks each, so that all four work at the same time."""
    job.together = 4
    both = [
        subprocess.Popen(job.command(*options(jobs=2)), env=job.environment(DELAY), stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [one.wait(300) for one in both] == [0, 0]
    started = time.time()
    assert len({one.id for one in job.submissions()}) == 2
    finish(job)
    shared_work("two submissions at once", job, started)


def shared_work(name: str, job: Job, started: float) -> None:
    """What must hold where two submissions fill one store: the worst would be that each makes all of it."""
    account = job.check()
    note(name, 0, account, job.wall(started))
    assert account.lost == 0
    assert account.again < account.wanted


@pytest.fixture
def lab() -> Iterator[Path]:
    """A folder that a group shares: all may write, and what is made in it stays the group's."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    with tempfile.TemporaryDirectory(prefix="itin-lab-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            subprocess.run(
                [sys.executable, "-c", "import itin"], check=True, capture_output=True, cwd=folder, user=USERS[0]
            )
        except (subprocess.CalledProcessError, OSError):
            pytest.skip(f"needs an environment that the user {USERS[0]} may read")
        yield folder
        for user in USERS:
            subprocess.run(["scancel", f"--user={user}"], check=False)


def test_two_users_submit_the_same_store_at_once(
    cluster: Path, lab: Path, tmp_path: Path, draw_mvsa: Callable[..., Path]
) -> None:
    job = Job(data_set(lab, draw_mvsa), lab / "job", SHARD, limit=SAMPLES)
    for path in (job.cache, job.counts):
        shutil.chown(path, group=GROUP)
        path.chmod(0o2775)
    environment = {**job.environment(DELAY), "HOME": str(lab), "USER": "", "LOGNAME": ""}
    both = [
        subprocess.Popen(
            job.command(*options(jobs=2)), env=environment, cwd=lab, stdout=subprocess.DEVNULL,
            user=user, group=GROUP, extra_groups=[], umask=0o002,
        )
        for user in USERS
    ]  # fmt: skip
    assert [one.wait(300) for one in both] == [0, 0]
    started = time.time()
    assert {(one.folder / "parts.sbatch").owner() for one in job.submissions()} == set(USERS)
    job.wait(job.complete, 400)
    job.wait(lambda: not any(slurm.queue(one.name, user) for one in job.submissions() for user in USERS), 60)
    assert {path.owner() for path in job.dataset.glob("*/shard-*.h5")} == set(USERS)
    shared_work("two users' submissions at once", job, started)


def test_the_runs_of_a_sweep(cluster: Path, tmp_path: Path) -> None:
    cache, path = make_cache(tmp_path / "cache"), tmp_path / "sweep"
    small = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "2"]
    words = ["sweep", "--m", "0,1,2", "--seeds", "2", *small, "--cache", cache, "--out", path, "--workers", "1"]
    command = [sys.executable, "-m", "itin", "cluster", "submit", "--jobs", "4", "--partition", "low", "--", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, timeout=300)
    end = time.monotonic() + 400
    while not (path / "results.csv").exists():
        assert time.monotonic() < end, [log.read_text() for log in path.glob("cluster/*/logs/*")]
        time.sleep(0.5)
    table = pd.read_csv(path / "results.csv")
    assert table["status"].tolist() == ["done"] * 6
    assert len(list((path / "runs").iterdir())) == 6


def test_what_is_printed_cancels_it(cluster: Path, tmp_path: Path) -> None:
    environment = {**os.environ, **DEFAULTS, **HOSTILE}
    path = tmp_path / "sweep"
    printed = run_itin(*sweep_words(tmp_path, path, "--sbatch-option=--hold"), environment=environment)
    (one,) = (submissions.read(folder) for folder in submissions.find(tmp_path))
    assert sorted(task.role for task in slurm.queue(one.name)) == ["consolidate", "parts", "resubmit"]
    cancel = printed.splitlines()[-1].removeprefix("cancel: ")
    subprocess.run(["bash", "-c", cancel], env=environment, check=True, timeout=60)
    assert slurm.queue(one.name) == []


def sweep_words(folder: Path, path: Path, *options: str) -> list[str]:
    """`itin cluster submit` of a sweep of one run in one part."""
    cache = folder / "cache" if (folder / "cache").exists() else make_cache(folder / "cache")
    words = ["--", "sweep", "--m", "0", "--seeds", "1", "--cache", str(cache), "--out", str(path)]
    return ["cluster", "submit", "--jobs", "1", "--partition", "low", *options, *words]


def test_jobs_inherit_no_other_jobs_variables(cluster: Path, tmp_path: Path) -> None:
    """Submitted from within a job. --export counts where it is given, not where SBATCH_EXPORT is set."""
    to = f"{tmp_path}/$SLURM_JOB_ID"
    dump = ["--itin", f"sh -c 'env >{to}.new && mv {to}.new {to}.env'"]
    commands = [
        shlex.join([sys.executable, "-m", "itin", *sweep_words(tmp_path, tmp_path / name, *dump, *more)])
        for name, more in (("all", ()), ("none", ("--sbatch-option=--export=NONE",)))
    ]
    environment = {**os.environ, "SBATCH_EXPORT": "NONE", "SBATCH_ACCOUNT": "lab", "MARK": "1", "ITIN_DATA": "/lab"}
    outer = ["sbatch", "-p", "low", "--ntasks=2", "--mem-per-cpu=20", "--hint=nomultithread", "--export=ALL"]
    log = tmp_path / "outer.log"
    subprocess.run([*outer, "-o", str(log), "--wrap", " && ".join(commands)], env=environment, check=True, timeout=60)
    end = time.monotonic() + 240
    while len(found := list(tmp_path.glob("*.env"))) < 6:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)
    inherited = {"MARK": 0, "SLURM_EXPORT_ENV": 0}
    for path in found:
        seen = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        assert (seen["SLURM_JOB_ACCOUNT"], seen["ITIN_DATA"]) == ("lab", "/lab")
        other = {name for name in seen if re.match("SBATCH_|SLURM_(NTASKS|NPROCS|MEM|HINT|THREADS)", name)}
        assert not other, path
        inherited = {name: inherited[name] + (name in seen) for name in inherited}
    assert inherited == {"MARK": 3, "SLURM_EXPORT_ENV": 3}
