"""Errors of submissions: a machine without Slurm, defaults that are none, parts that are not there."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from itin.cluster import dask_engine

from .errors import Case, held, wrote
from .world import EXTRACT, SMALL, tell

SUBMIT = ("cluster", "submit", "--dry-run", "--jobs", 2)
FRESH = (*EXTRACT, "--cache", "new", "--shard-size", 8)
SUBMISSION = "new/mvsa-single/cluster/*"


def without_slurm() -> None:
    """A machine without Slurm."""
    os.environ["PATH"] = "nowhere"  # put back by `held`


def submitted() -> None:
    """A submission of which no part has run yet."""
    assert tell(*SUBMIT, "--", *FRESH).startswith("exit code 0")


def one_part() -> None:
    """A submission of which one part has run."""
    submitted()
    assert tell(*FRESH, "--part", "0/2").startswith("exit code 0")


CASES: dict[str, Case] = {
    "no Slurm": [without_slurm, ("cluster", "submit", "--jobs", 2, "--", *FRESH)],
    "a submission that is not there": [("cluster", "status", "none"), ("cluster", "resubmit", "MVSA")],
    "defaults that cannot be read": [
        wrote("site.yaml", "partition: [gpu"),
        (*SUBMIT, "--site", "site.yaml", "--", *FRESH),
    ],
    "defaults of nothing": [
        wrote("site.yaml", "partitions: gpu\n"),
        (*SUBMIT, "--site", "site.yaml", "--", *FRESH),
        wrote("site.yml", "- gpu\n"),
        (*SUBMIT, "--site", "site.yml", "--", *FRESH),
    ],
    "a default that is no value": [
        wrote("site.yaml", "warn: soon\n"),
        (*SUBMIT, "--site", "site.yaml", "--", *FRESH),
        (*SUBMIT, "--warn", 0, "--", *FRESH),
        (*SUBMIT, "--sbatch-option", "account=lab", "--", *FRESH),
    ],
    "a data set that is not there": [(*SUBMIT, "--", *FRESH[:3], "--root", "none")],
    "a guided search in parts": [(*SUBMIT, "--", "sweep", *SMALL, "--m", "1,2", "--optuna", 2, "--out", "new-sweep")],
    "parts that are missing": [one_part, (*FRESH, "--consolidate")],
    "a part of nothing": [("sweep", "--resume", "none", "--part", "0/2")],
    "a record that is none": [("extract", "--config", "none"), ("extract", "--config", "own.py")],
}


DASK: dict[str, Case] = {
    "a Dask scheduler that does not answer": [
        ("cluster", "submit", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", "--jobs", 2, "--", *FRESH)
    ],
}
"""Those that need the extra dask; where it is missing is in `test_absent_packages.py`."""

ALL = {**CASES, **DASK}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("cluster", ALL, title)


@pytest.mark.parametrize("title", DASK)
def test_error_of_dask(title: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setattr(dask_engine, "connect", partial(dask_engine.connect, timeout=0.5))
    held("cluster", ALL, title)
