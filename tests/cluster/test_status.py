"""`itin cluster status`: progress from committed shards, errors from the logs, tasks from squeue where there is one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.cluster import slurm, status
from itin.cluster.slurm import Task
from itin.cluster.status import read_log, status_of
from itin.cluster.submission import ClusterError, Submission
from itin.extract.config import ExtractConfig
from itin.extract.run import extract
from itin.parts import Part

from ..extract.test_run import Fake, config, fakes  # noqa: F401
from .test_submit import no_site, only_submission, submit  # noqa: F401

Fakes = dict[str, Fake]


@pytest.fixture
def one(config: ExtractConfig, fakes: Fakes) -> Submission:  # noqa: F811
    submit(config, "--dry-run", "--jobs", "3")
    return only_submission(config)


def log(folder: Path, *lines: str, job: str = "17_2") -> Path:
    path = folder / f"part-{job}.log"
    path.write_text("\n".join([f"itin: part 2/3 begins on n1, job {job}", *lines]) + "\n")
    return path


def shown(one: Submission) -> list[str]:
    result = CliRunner().invoke(main, ["cluster", "status", str(one.folder)])
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()) for line in result.output.splitlines()]


def test_progress_without_a_scheduler(
    one: Submission,
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = shown(one)
    assert lines[0] == f"{one.id}: itin extract in 3 parts on slurm"
    assert lines[1] == "features 0 of 33 done (0 %)"
    assert lines[2] == "missing parts 0-2"
    assert lines[3] == "rate none yet"
    told = json.loads(CliRunner().invoke(main, ["cluster", "status", "--json", str(one.folder)]).stdout)
    assert (told["missing"]["wanted"], told["rate"], told["seconds_left"]) == (33, 0, None)
    assert lines[4] == "tasks squeue is not available here"
    extract(replace(config, part=Part(1, 3)))
    now = one.created + 100
    monkeypatch.setattr(status.time, "time", lambda: now)
    found = status_of(one)
    assert found.rate == pytest.approx(12 / 100)
    assert found.seconds_left == pytest.approx(21 / 0.12)
    assert shown(one)[3] == "rate 0.1 features/s, time left 0:02:55"
    monkeypatch.setattr(status.time, "time", lambda: one.created + 3600)
    assert status_of(one).rate == 0  # nothing came in the last minutes
    for index in (0, 2):
        extract(replace(config, part=Part(index, 3)))
    extract(replace(config, consolidate=True))
    lines = shown(one)
    assert lines[1] == "features 33 of 33 done (100 %)"
    assert lines[-1] == "consolidated: yes"
    assert status_of(one).seconds_left == 0


def test_tasks_and_the_last_error(one: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [
        Task("17_1", "parts", "RUNNING", "n1"),
        Task("17_2", "parts", "PENDING", "(Priority)"),
        Task("15", "resubmit", "PENDING", "(Dependency)"),
    ]
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(slurm, "queue", lambda name, user, pauses: asked.append((name, user)) or tasks)
    path = log(one.logs, "RuntimeError: CUDA error: out of memory", "itin: part 2/3 ended with exit code 1", job="16_2")
    lines = shown(one)
    assert "tasks 1 run, 1 wait: 17_1 on n1" in lines
    assert "resubmit job 15: PENDING (Dependency)" in lines
    assert "last error part 2, job 16_2 on n1: RuntimeError: CUDA error: out of memory" in lines
    assert str(path) in lines
    assert asked == [(one.name, str(os.getuid()))]  # its owner's jobs, whoever looks
    tasks.clear()
    assert shown(one)[-1] == "None of its jobs is in the queue: submit the same command again to continue."


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["all well", "itin: part 2/3 ended with exit code 0"], None),
        (["Told to stop", "itin: part 2/3 ended with exit code 75"], None),
        (["OSError: [Errno 122] Disk quota exceeded", "bye", "itin: part 2/3 ended with exit code 1"],
         "OSError: [Errno 122] Disk quota exceeded"),
        (["well so far", "itin: part 2/3 ended with exit code 3"], "exit code 3"),
        (["x", "itin: part 2/3 ended with exit code 137"], "killed by signal 9"),
        (["/spool/slurm_script: line 29: 31721 Killed    python -m itin", "itin: part 2/3 ended with exit code 137"],
         "killed by signal 9"),
        (["slurmstepd: error: Detected 1 oom-kill event(s)", "itin: part 2/3 ended with exit code 137"],
         "killed by signal 9 (slurmstepd: error: Detected 1 oom-kill event(s))"),
        (["slurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***"],
         "slurmstepd: error: *** JOB 17 ON n1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***"),
        (["well so far"], "no exit code in the log: killed, or its node was lost"),
        (["well so far", "itin: part 2/3 ended with exit code 1", "itin: part 2/3 begins on n2, job 17_2",
          "itin: part 2/3 ended with exit code 0"], None),
    ],
)  # fmt: skip
def test_what_a_log_tells(lines: list[str], error: str | None, tmp_path: Path) -> None:
    failure = read_log(log(tmp_path, *lines), set())
    assert (failure and failure.error) == error
    if failure:
        assert (failure.what, failure.node, failure.job) == ("part 2", "n1", "17_2")


def test_a_task_that_runs_has_not_failed(tmp_path: Path) -> None:
    assert read_log(log(tmp_path, "an error it got over"), {"17_2"}) is None
    (tmp_path / "part-1_1.log").write_text("bash: line 1: module: command not found\n")
    assert read_log(tmp_path / "part-1_1.log", set()) is None


def test_the_newest_error_is_shown(one: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, user: str, pauses: object) -> list[Task]:
        raise ClusterError("no squeue")

    monkeypatch.setattr(slurm, "queue", nothing)
    for number, job in enumerate(("15_2", "16_2", "14_2")):
        path = log(one.logs, f"Error: {job}", "itin: part 2/3 ended with exit code 1", job=job)
        os.utime(path, (one.created + number, one.created + number))
    path = log(one.logs, "itin: part 2/3 ended with exit code 0", job="18_2")
    found = status_of(one)
    assert not found.reachable
    assert [failure.error for failure in found.failures] == ["Error: 14_2"]


@pytest.mark.parametrize(("resubmit", "named"), [("resubmit", "the resubmission"), ("sweep", "the sweep")])
def test_a_resubmission_and_a_consolidation_that_fail_are_shown(
    one: Submission, monkeypatch: pytest.MonkeyPatch, resubmit: str, named: str
) -> None:
    """Submissions written before have a `sweep` in place of `resubmit`."""
    monkeypatch.setattr(slurm, "queue", lambda name, user, pauses: [])
    log(one.logs, "OSError: broken", "itin: part 2/3 ended with exit code 1")
    for role, job in ((resubmit, "18"), ("consolidate", "19")):
        what = named if role == resubmit else "the consolidation"
        begin, end = f"itin: {what} begins on n2, job {job}", f"itin: {what} ended with exit code 1"
        (one.logs / f"{role}-{job}.log").write_text(f"{begin}\nError: {role} was not well\n{end}\n")
    lines = shown(one)
    assert "last error part 2, job 17_2 on n1: OSError: broken" in lines
    assert f"last error {named}, job 18 on n2: Error: {resubmit} was not well" in lines
    assert "last error the consolidation, job 19 on n2: Error: consolidate was not well" in lines
    assert lines[-1] == "None of its jobs is in the queue: submit the same command again to continue."
