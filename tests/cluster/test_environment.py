"""What Slurm's commands and jobs take from the environment; no scheduler is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from itin.cluster import environment, slurm
from itin.cluster.scripts import CONSOLIDATE, PARTS, RESUBMIT, directives
from itin.cluster.site import Site
from itin.extract.config import ExtractConfig

from ..extract.test_run import config, fakes  # noqa: F401
from .test_chain import Slurm, submission
from .test_submit import Fakes, no_site, submit  # noqa: F401

KEPT = {
    "PATH": "/usr/bin:/bin",
    "ITIN_CACHE": "/lab/cache",
    "SLURM_CONF": "/etc/slurm/slurm.conf",
    "SLURM_CLUSTERS": "large",
    "SLURM_JWT": "token",
    "SLURM_UMASK": "0002",
    "MY_SBATCH_NOTE": "not Slurm's",
}
REMOVED = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_TIMELIMIT": "0:01:00",
    "SBATCH_ACCOUNT": "lab",
    "SBATCH_ARRAY_INX": "0-9",
    "SBATCH_WAIT": "",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_SOME_DAY": "unknown today",
    "SQUEUE_STATES": "COMPLETED",
    "SQUEUE_FORMAT2": "JobID",
    "SCANCEL_STATE": "PENDING",
    "SCONTROL_ALL": "1",
    "SINFO_FORMAT": "%N",
    "SRUN_CPUS_PER_TASK": "2",
    "SLURM_JOB_ID": "17",
    "SLURM_NTASKS": "4",
    "SLURM_MEM_PER_CPU": "4096",
    "SLURM_TRES_PER_TASK": "cpu:2",
    "SLURM_HINT": "nomultithread",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_CONFUSING": "begins as SLURM_CONF does",
    "SLURMD_NODENAME": "n1",
}


def test_the_environment_of_slurms_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of any command that goes through `run`, and so of the jobs that sbatch makes."""
    assert environment.without_slurm({**KEPT, **REMOVED}) == KEPT
    tool = tmp_path / "sbatch"
    tool.write_text("#!/bin/sh\n/usr/bin/env\n")
    tool.chmod(0o755)
    for name, value in {**KEPT, **REMOVED}.items():
        monkeypatch.setenv(name, value)
    seen = dict(line.split("=", 1) for line in slurm.run([str(tool)]).splitlines())
    assert KEPT.items() <= seen.items()
    assert not REMOVED.keys() & seen.keys()


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("SBATCH_ACCOUNT", "lab", "--account=lab"),
        ("SBATCH_PARTITION", "a,b", "--partition=a,b"),
        ("SBATCH_QOS", "long", "--qos=long"),
        ("SBATCH_TIMELIMIT", "1-0", "--time=1-0"),
        ("SBATCH_MEM_PER_NODE", "8G", "--mem=8G"),
        ("SBATCH_MEM_PER_CPU", "2G", "--mem-per-cpu=2G"),
        ("SBATCH_GPUS_PER_NODE", "a100:1", "--gpus-per-node=a100:1"),
        ("SBATCH_EXCLUSIVE", "", "--exclusive"),
        ("SBATCH_EXCLUSIVE", "user", "--exclusive=user"),
        ("SBATCH_ACCOUNT", "", None),
        ("SBATCH_ACCOUNT", "a\nrm -r b", None),
        *((f"SBATCH_{name}", "1", None) for name in ("JOB_NAME", "OUTPUT", "ERROR", "ARRAY_INX", "SIGNAL", "REQUEUE")),
        *((f"SBATCH_{name}", "1", None) for name in ("NO_REQUEUE", "OPEN_MODE", "EXPORT", "WAIT", "CLUSTERS", "X")),
    ],
)
def test_defaults_of_the_user(name: str, value: str, option: str | None) -> None:
    assert list(environment.defaults({name: value, "HOME": "/"}, []).values()) == ([option] if option else [])


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ([], {"time", "mem-per-cpu", "gpus", "account", "hint", "cpus-per-gpu"}),
        (["--time=2:00:00"], {"mem-per-cpu", "gpus", "account", "hint", "cpus-per-gpu"}),
        (["-t5", "-A lab", "--gres=gpu:1"], {"mem-per-cpu", "hint", "cpus-per-gpu"}),
        (["--mem=4G", "-G", "-c8"], {"time", "account", "hint"}),
        (["--acc=lab", "--mem-per-gpu 4G", "--threads-per-core=1"], {"time", "gpus", "cpus-per-gpu"}),
        (["--time-min=5", "--comment=-t1", "-Jx"], {"time", "mem-per-cpu", "gpus", "account", "hint", "cpus-per-gpu"}),
    ],
)
def test_what_is_given_beats_the_environment(given: list[str], left: set[str]) -> None:
    variables = {"TIMELIMIT": "1", "MEM_PER_CPU": "1", "GPUS": "1", "ACCOUNT": "a", "HINT": "x", "CPUS_PER_GPU": "1"}
    found = environment.defaults({f"SBATCH_{name}": value for name, value in variables.items()}, given)
    assert {environment.DEFAULTS[name] for name in found} == left


def test_scripts_hold_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ahead of what was asked for. Jobs that use no GPU ask for none."""
    variables = {"SBATCH_TIMELIMIT": "1", "SBATCH_QOS": "long", "SBATCH_GRES": "gpu:4", "SBATCH_JOB_NAME": "mine"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    site = Site(time="0:10:00", light_options=("--qos=short",))
    parts, resubmission, last = (directives(submission(), site, role) for role in (PARTS, RESUBMIT, CONSOLIDATE))
    assert parts[:5] == ["--qos=long", "--gres=gpu:4", "--requeue", "--signal=B:USR1@60", "--time=0:10:00"]
    assert parts[-4] == "--job-name=itin-1"
    assert resubmission[:3] == last[:3] == ["--requeue", "--time=0:10:00", "--qos=short"]
    (with_gpus, *_) = directives(submission(), Site(gpus="1"), PARTS)
    assert with_gpus == "--qos=long"


def test_what_is_taken_is_shown(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slurm, "run", Slurm())
    assert "environment" not in submit(config, "--dry-run")
    for name, value in {"ACCOUNT": "lab", "TIMELIMIT": "1", "QOS": "long", "JOB_NAME": "mine"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    monkeypatch.setenv("SCANCEL_STATE", "PENDING")
    monkeypatch.setenv("SCANCEL_INTERACTIVE", "1")
    lines = submit(config, "--time", "0:10:00").splitlines()
    assert "from the environment: --account=lab (SBATCH_ACCOUNT), --qos=long (SBATCH_QOS)" in lines
    (ignored,) = (line for line in lines if line.startswith("ignored in the environment"))
    assert ignored.endswith(": SBATCH_JOB_NAME, SBATCH_TIMELIMIT")
    assert lines[-1].startswith("cancel: env -u SCANCEL_INTERACTIVE -u SCANCEL_STATE scancel --name=itin-")
