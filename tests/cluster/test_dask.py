"""The same parts on a Dask cluster of real processes, and the same faults. Run with `pytest -m dask`.

Scheduler and workers listen on loopback only.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from itin.cluster.status import status_of

from ..cluster_faults import COUNTED, Account, Job, kill, note, same_features, with_a_bad_image

pytestmark = pytest.mark.dask

SHARD = 16
SAMPLES = 192
FEW = 6 * SHARD
"""Samples with which real encoders are tried: a shard a part."""
ONE_KILL = 2 * (SHARD + 4)
DELAY = 0.08
HERE = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


class Cluster:
    """A scheduler and workers, each a process."""

    def __init__(self, folder: Path, environment: dict[str, str], tls: list[str]) -> None:
        self.folder = folder
        self.environment = environment
        self.tls = tls
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start("scheduler", "--port", "0", "--scheduler-file", str(folder / "scheduler.json"))
        self.address = ""
        end = time.monotonic() + 120
        while not (folder / "scheduler.json").exists():
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)
        self.address = json.loads((folder / "scheduler.json").read_text())["address"]

    def start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts one process."""
        command = [sys.executable, "-m", "dask", what, *arguments, *HERE, *self.tls]
        with (self.folder / "log.txt").open("ab") as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))
        return self.processes[-1]

    def worker(self, *more: str) -> subprocess.Popen[bytes]:
        """Starts a worker that counts."""
        own = ["--nthreads", "1", "--memory-limit", "0", "--preload", str(COUNTED), "--local-directory"]
        return self.start("worker", self.address, *own, str(self.folder), *more)

    def log(self) -> str:
        """What all processes said."""
        return (self.folder / "log.txt").read_text(errors="replace")[-4000:]

    def listens(self) -> set[str]:
        """The interfaces on which its processes take connections."""
        import psutil  # comes with distributed

        own = {process.pid for process in self.processes}
        found = [one for one in psutil.net_connections("inet") if one.pid in own and one.status == psutil.CONN_LISTEN]
        return {one.laddr.ip for one in found}

    def close(self) -> None:
        """Ends what was started."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path, draw_mvsa: Callable[..., Path]) -> Job:
    pytest.importorskip("distributed", reason="needs the extra dask")
    real = Path(__file__).resolve().parents[3] / "shared" / "data" / "mvsa-single-sample"
    root = real if real.is_dir() else draw_mvsa(tmp_path / "data", pairs=SAMPLES)
    return Job(root, tmp_path / "job", SHARD, limit=getattr(request, "param", SAMPLES))


@pytest.fixture
def start(job: Job, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    clusters: list[Cluster] = []

    def start(delay: float = DELAY, tls: tuple[str, ...] = ()) -> Cluster:
        folder = tmp_path / f"dask-{len(clusters)}"
        folder.mkdir()
        clusters.append(Cluster(folder, job.environment(delay), list(tls)))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.close()


def options(cluster: Cluster, *more: str) -> list[str]:
    return ["--engine", "dask", "--scheduler", cluster.address, "--jobs", "6", *more]


def submit(job: Job, cluster: Cluster, *more: str) -> subprocess.Popen[bytes]:
    """Submits in the background."""
    with (job.folder / "submit.log").open("ab") as log:
        return subprocess.Popen(
            job.command(*options(cluster, *more)), env=job.environment(), stdout=log, stderr=subprocess.STDOUT
        )


def report(name: str, job: Job, started: float, kills: int, quarantined: int = 0) -> None:
    account = job.check(quarantined)
    note(f"Dask: {name}", kills, account, job.wall(started))
    assert account.lost == 0
    assert account.again <= kills * ONE_KILL


def first_work(job: Job) -> float:
    """When the first sample was handed to an encoder."""
    lines = [path.read_text().split(maxsplit=1)[0] for path in job.counts.glob("*.txt") if path.stat().st_size]
    return min(map(float, lines))


@pytest.mark.parametrize("job", [FEW], indirect=True)
def test_plain(job: Job, start: Callable[..., Cluster], tmp_path: Path) -> None:
    """With real encoders."""
    job.cheap, job.together = False, 2
    cluster = start()
    for _ in range(2):
        cluster.worker("--no-nanny")
    process = submit(job, cluster)
    assert process.wait(400) == 0, (job.folder / "submit.log").read_text() + cluster.log()
    assert "Done." in (job.folder / "submit.log").read_text()
    report("plain", job, first_work(job), kills=0)
    assert len(list(job.counts.glob("*.txt"))) == 2
    status = status_of(job.submissions()[0])
    assert (status.missing.pieces, status.consolidated) == (0, True)
    whole = Job(job.root, tmp_path / "whole", SHARD, limit=FEW)
    subprocess.run([sys.executable, "-m", "itin", "extract", *whole.words], check=True, capture_output=True)
    same_features(job.cache, whole.cache)


def test_a_worker_is_killed(job: Job, start: Callable[..., Cluster], tmp_path: Path) -> None:
    """Its nanny starts another one; what it had begun is begun again, there or elsewhere. And an image is bad."""
    job.words[job.words.index("--root") + 1] = str(with_a_bad_image(job.root, tmp_path / "bad"))
    job.together = 2
    cluster = start()
    cluster.worker("--nworkers", "2")
    process = submit(job, cluster)
    job.wait(lambda: job.committed() > 4 and len(job.workers()) == 2)
    kill(job.workers()[0])
    assert process.wait(400) == 0, (job.folder / "submit.log").read_text() + cluster.log()
    report("a worker SIGKILLed", job, first_work(job), kills=1, quarantined=1)


def test_a_worker_is_told_to_go(job: Job, start: Callable[..., Cluster]) -> None:
    """Preempted, or at the end of its walltime: SIGTERM, and nobody starts it again before a while has passed."""
    job.together = 2
    cluster = start()
    workers = [cluster.worker("--no-nanny") for _ in range(2)]
    process = submit(job, cluster)
    job.wait(lambda: job.committed() > 4 and len(job.workers()) == 2)
    workers[0].send_signal(signal.SIGTERM)
    time.sleep(5)
    cluster.worker("--no-nanny")
    assert process.wait(400) == 0, (job.folder / "submit.log").read_text() + cluster.log()
    report("a worker preempted", job, first_work(job), kills=1)


def test_the_submitting_process_is_killed(job: Job, start: Callable[..., Cluster]) -> None:
    cluster = start()
    for _ in range(2):
        cluster.worker("--no-nanny")
    process = submit(job, cluster)
    job.wait(lambda: job.committed() > 2)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    job.wait(job.complete, 400)
    report("submitting process SIGKILLed", job, first_work(job), kills=0)


def test_two_submissions_at_once(job: Job, start: Callable[..., Cluster]) -> None:
    job.together = 2
    cluster = start()
    for _ in range(2):
        cluster.worker("--no-nanny")
    both = [submit(job, cluster, "--no-wait") for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    assert len(job.submissions()) == 2
    job.wait(job.complete, 400)
    account = job.check()
    note("Dask: two submissions at once", 0, account, job.wall(first_work(job)))
    assert account.lost == 0
    assert account.again < account.wanted


def test_over_tls(job: Job, start: Callable[..., Cluster], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout"]
    subprocess.run([*make, key, "-out", certificate], check=True, capture_output=True)
    files = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    cluster = start(delay=0, tls=("--protocol", "tls", *files))
    assert cluster.address.startswith("tls://127.0.0.1:")
    cluster.worker("--no-nanny")
    process = submit(job, cluster, "--tls-ca", certificate, "--tls-cert", certificate, "--tls-key", key)
    job.wait(lambda: len(job.workers()) == 1)
    assert cluster.listens() == {"127.0.0.1"}
    assert process.wait(400) == 0, (job.folder / "submit.log").read_text() + cluster.log()
    assert job.check() == Account(3 * SAMPLES, lost=0, again=0)
    plain = cluster.address.replace("tls://", "tcp://")
    code = "import sys; from itin.cluster.dask_engine import connect; connect(sys.argv[1], timeout=5)"
    done = subprocess.run([sys.executable, "-c", code, plain], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
