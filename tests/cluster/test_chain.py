"""The chain of jobs, against a stand-in for Slurm's commands: order, repetition, healing, giving up."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from itin.cluster import slurm
from itin.cluster import slurm_chain as chain
from itin.cluster.submission import ClusterError, Submission
from itin.cluster.work import Missing


class Slurm:
    """Takes what `slurm.run` would run; jobs are numbered from 1 and stay in the queue until they are taken out."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.queue: dict[str, tuple[str, str]] = {}
        self.dependency: dict[str, str] = {}
        self.array_size = 1001
        self.fail_at = 0

    def __call__(self, command: Sequence[str], pauses: Sequence[float] = ()) -> str:
        self.calls.append(list(command))
        if command[0] == "sbatch":
            if self.fail_at and sum(call[0] == "sbatch" for call in self.calls) >= self.fail_at:
                raise ClusterError("sbatch refused: no")
            job = str(sum(call[0] == "sbatch" for call in self.calls))
            role = next(Path(word).stem for word in command if word.endswith(".sbatch"))
            self.queue[job] = (role, "PENDING")
            self.dependency[job] = next((w.partition("=")[2] for w in command if w.startswith("--dependency")), "")
            return f"{job};cluster\n" if len(self.calls) % 2 else f"{job}\n"
        if command[0] == "squeue":
            lines = [
                f"{job}{'_0' if role == 'parts' else ''}|{state}|(Priority)|/a b/cluster/1/{role}.sbatch 0"
                for job, (role, state) in self.queue.items()
            ]
            return "\n".join(lines) + "\n"
        if command[:2] == ["scontrol", "update"]:
            settings = dict(word.split("=", 1) for word in command[2:])
            self.dependency[settings["JobId"]] = settings["Dependency"]
            return ""
        return f"Configuration data\nMaxArraySize            = {self.array_size}\n"

    def submitted(self) -> list[tuple[str, ...]]:
        """What each sbatch was given, without `--parsable` and folders."""
        return [
            tuple(Path(word).name if "/" in word else word for word in call[2:])
            for call in self.calls
            if call[0] == "sbatch"
        ]


class Work:
    """A work that lacks what it is told to lack."""

    name = "extract"

    def __init__(self) -> None:
        self.parts: dict[int, int] = {0: 10, 1: 10, 5: 1}

    def missing(self, submission: Submission) -> Missing:
        return Missing(self.parts, 100, 0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    stand_in = Slurm()
    monkeypatch.setattr(slurm, "run", stand_in)
    return stand_in


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    stand_in = Work()
    monkeypatch.setattr(chain, "work_of", lambda name: stand_in)
    return stand_in


def submission(retries: int = 2, at_once: int | None = None) -> Submission:
    return Submission(
        folder=Path("/cache/data/cluster/1"),
        id="1",
        engine="slurm",
        work="extract",
        words=(),
        parts=8,
        retries=retries,
        at_once=at_once,
        stores=(),
        limit=None,
        created=0.0,
        directory="/",
    )


def test_the_resubmission_is_there_before_the_parts(cluster: Slurm) -> None:
    made = chain.launch(submission(), [0, 1, 5], left=2, missing=21)
    assert cluster.submitted() == [
        ("--begin=now+600", "resubmit.sbatch", "2", "21"),
        ("--kill-on-invalid-dep=yes", "--dependency=afterok:1", "consolidate.sbatch"),
        ("--array=0-1,5", "parts.sbatch", "0"),
    ]
    assert (made.resubmission, made.consolidation, made.arrays) == ("1", "2", ["3"])
    assert cluster.calls[-1] == ["scontrol", "update", "JobId=1", "Dependency=afterany:3", "StartTime=now"]


def test_a_submission_written_before_keeps_its_script(cluster: Slurm, tmp_path: Path) -> None:
    (tmp_path / "sweep.sbatch").touch()
    chain.launch(replace(submission(), folder=tmp_path), [0], left=2, missing=1)
    assert cluster.submitted()[0] == ("--begin=now+600", "sweep.sbatch", "2", "1")


def test_arrays_are_split_at_the_size_that_the_cluster_takes(cluster: Slurm) -> None:
    cluster.array_size = 4
    made = chain.launch(submission(at_once=3), [0, 1, 3, 4, 7, 13], left=2, missing=6)
    assert cluster.submitted()[2:] == [
        ("--array=0-1,3%3", "parts.sbatch", "0"),
        ("--array=0,3%3", "parts.sbatch", "4"),
        ("--array=1%3", "parts.sbatch", "12"),
    ]
    assert cluster.dependency["1"] == "afterany:3:4:5"
    assert made.arrays == ["3", "4", "5"]


def test_nothing_missing_needs_only_the_consolidation(cluster: Slurm) -> None:
    chain.launch(submission(), [], left=2, missing=0)
    assert cluster.submitted() == [("consolidate.sbatch",)]


def test_a_resubmission_that_finds_nothing_missing(cluster: Slurm, work: Work) -> None:
    chain.launch(submission(), [0], left=2, missing=21)
    del cluster.queue["3"]
    work.parts = {}
    assert chain.resubmit(submission(), 2, 21) == "nothing is missing"
    assert len(cluster.submitted()) == 3
    del cluster.queue["2"]  # the submitting process never came to it
    assert chain.resubmit(submission(), 2, 21) == "nothing is missing; the consolidation is job 4"
    assert cluster.submitted()[3:] == [("consolidate.sbatch",)]


def test_a_resubmission_submits_only_parts_that_lack_something(cluster: Slurm, work: Work) -> None:
    chain.launch(submission(), range(8), left=2, missing=90)
    del cluster.queue["3"]
    said = chain.resubmit(submission(), 0, 90)
    assert said == "21 of 100 are missing, in parts 0-1,5: submitted again as 5, resubmission 4"
    assert cluster.submitted()[3:] == [
        ("--begin=now+600", "resubmit.sbatch", "2", "21"),  # something had come of it: all retries are left again
        ("--array=0-1,5", "parts.sbatch", "0"),
    ]
    assert cluster.dependency["2"] == "afterok:4"  # the consolidation that waited now waits for the new resubmission
    assert cluster.dependency["4"] == "afterany:5"


def test_retries_that_bring_nothing_are_counted(cluster: Slurm, work: Work) -> None:
    chain.resubmit(submission(), 2, 21)
    assert cluster.submitted()[0] == ("--begin=now+600", "resubmit.sbatch", "1", "21")
    cluster.queue.clear()
    chain.resubmit(submission(), 1, 21)
    cluster.queue.clear()
    with pytest.raises(ClusterError) as caught:
        chain.resubmit(submission(), 0, 21)
    message = str(caught.value)
    assert "21 of 100 are missing, in parts 0-1,5, and 2 retries in a row brought nothing new" in message
    assert "itin cluster status /cache/data/cluster/1" in message


def test_no_retries(cluster: Slurm, work: Work) -> None:
    with pytest.raises(ClusterError, match="in parts 0-1,5, and --retries is 0"):
        chain.resubmit(submission(retries=0), 0, 90)
    assert not cluster.submitted()


def test_a_resubmission_that_nobody_tied_ties_another(cluster: Slurm, work: Work) -> None:
    """The submitting process was killed after the array: the resubmission begins by the clock, while the array runs."""
    cluster.queue |= {"11": ("parts", "RUNNING"), "12": ("parts", "PENDING"), "13": ("parts", "COMPLETING")}
    said = chain.resubmit(submission(), 2, 21)
    assert said == "array 11, 12 has not ended: job 1 resubmits after it"
    assert cluster.submitted() == [
        ("--dependency=afterany:11:12", "resubmit.sbatch", "2", "21"),
        ("--kill-on-invalid-dep=yes", "--dependency=afterok:1", "consolidate.sbatch"),
    ]


def test_a_refusal_is_passed_on(cluster: Slurm) -> None:
    cluster.fail_at = 3
    with pytest.raises(ClusterError, match="sbatch refused: no"):
        chain.launch(submission(), [0], left=2, missing=1)
    assert list(cluster.queue.values()) == [("resubmit", "PENDING"), ("consolidate", "PENDING")]


def test_arrays() -> None:
    assert slurm.arrays([], 10) == []
    assert slurm.arrays(range(25), 10) == [(0, "0-9"), (10, "0-9"), (20, "0-4")]


def test_slurms_own_words_are_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "sbatch"
    tool.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
    tool.chmod(0o755)
    with pytest.raises(ClusterError, match="refused: sbatch: error: invalid partition specified: x"):
        slurm.run([str(tool)])

    def slow(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("squeue", 1)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(ClusterError, match="squeue did not answer within 120 s"):
        slurm.run(["squeue"], pauses=())


def test_a_busy_controller_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(slurm, "time", SimpleNamespace(sleep=pauses.append))
    tool, counter = tmp_path / "squeue", tmp_path / "n"
    tool.write_text(
        f"#!/bin/sh\necho x >>{counter}\n[ $(wc -l <{counter}) -gt 2 ] && echo done && exit\n"
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2\nexit 1\n"
    )
    tool.chmod(0o755)
    assert slurm.run([str(tool)]) == "done\n"
    assert pauses == [2.0, 10.0]
    counter.unlink()
    with pytest.raises(ClusterError, match=r"failed: slurm_load_jobs error: Unable to contact(.|\n)*try again later"):
        slurm.run([str(tool)], pauses=(1.0,))
    assert pauses == [2.0, 10.0, 1.0]


def test_the_queue(cluster: Slurm) -> None:
    cluster.queue |= {"11": ("parts", "RUNNING"), "12": ("sweep", "PENDING"), "13": ("consolidate", "COMPLETING")}
    assert slurm.queue("itin-1") == [
        slurm.Task("11_0", "parts", "RUNNING", "(Priority)"),
        slurm.Task("12", "resubmit", "PENDING", "(Priority)"),
    ]
    assert "--name=itin-1" in cluster.calls[-1]


def test_a_cluster_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "run", lambda command, pauses=(): "")
    assert slurm.max_array_size() == 1001
    assert slurm.queue("x") == []
