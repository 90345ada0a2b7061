"""A site's defaults: one YAML file, which the command line overrides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from itin.cluster.site import Site, SiteError, read_site, site_file

SMALL = """
partition: gpu
gpus: a100:1
time: '4:00:00'
sbatch_options: [--account=lab, --mem=32G]
light_options: [--partition=cpu]
prologue: |
  module load cuda
  source venv/bin/activate
warn: 120
at_once: 8
"""


def test_a_site_file(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SMALL)
    site = read_site(tmp_path / "site.yaml")
    assert site == Site(
        partition="gpu",
        gpus="a100:1",
        time="4:00:00",
        sbatch_options=("--account=lab", "--mem=32G"),
        light_options=("--partition=cpu",),
        prologue=("module load cuda", "source venv/bin/activate"),
        warn=120,
        at_once=8,
    )
    assert site.overridden({}) == site
    assert site.overridden({"partition": "short"}) == Site(**{**site.__dict__, "partition": "short"})


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ({"time": "1:00"}, ["--account=lab", "-p gpu", "--gres gpu:2", "--signal=B:USR1@9"]),
        ({"partition": "cpu"}, ["-t5", "--tim=7", "--account=lab", "--gres gpu:2", "--signal=B:USR1@9"]),
        ({"gpus": "a100:1"}, ["-t5", "--tim=7", "--account=lab", "-p gpu", "--signal=B:USR1@9"]),
        ({"warn": 30}, ["-t5", "--tim=7", "--account=lab", "-p gpu", "--gres gpu:2"]),
        ({"at_once": 3}, ["-t5", "--tim=7", "--account=lab", "-p gpu", "--gres gpu:2", "--signal=B:USR1@9"]),
        ({"time": "1:00", "sbatch_options": ("--time=2",)}, ["--time=2"]),
    ],
)
def test_a_typed_option_wins_over_the_site_in_any_form(typed: dict[str, Any], left: list[str]) -> None:
    """For sbatch the last of two options that set the same counts, and those of a site come after itin's."""
    theirs = ("-t5", "--tim=7", "--account=lab", "-p gpu", "--gres gpu:2", "--signal=B:USR1@9")
    site = Site(sbatch_options=theirs, light_options=("--time=9",)).overridden(typed)
    assert list(site.sbatch_options) == left
    assert site.light_options == ("--time=9",)
    assert {name: getattr(site, name) for name in typed} == typed


@pytest.mark.parametrize(
    "text", ["on", "no", "yes", "true", "0123", "1e3", "1_000", "0x1f", "2026-01-02", "12:30:00", "="]
)
def test_values_are_texts(text: str, tmp_path: Path) -> None:
    """YAML 1.1 reads each of these as a truth value, a number or a date, unless it is told not to."""
    lines = [f"partition: {text}", f"itin: {text}", f"prologue: [{text}]", f"light_options: ['-p', -{text}]"]
    (tmp_path / "site.yaml").write_text("\n".join(lines))
    assert read_site(tmp_path / "site.yaml") == Site(
        partition=text, itin=text, prologue=(text,), light_options=("-p", f"-{text}")
    )


@pytest.mark.parametrize("time", ["2:00:00", "90", "1-00:00:00", "0:30"])
def test_times_need_no_quotes(time: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(f"time: {time}\ngpus: 010\nwarn: 0120\npartition: ~\nat_once: '8'\n")
    assert read_site(tmp_path / "site.yaml") == Site(time=time, gpus="010", warn=120, at_once=8)


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert site_file() == tmp_path / "itin" / "site.yaml"
    assert read_site() == Site()
    monkeypatch.setenv("ITIN_SITE", str(tmp_path / "mine.yaml"))
    assert read_site() == Site()
    (tmp_path / "mine.yaml").write_text("gpus: 2\n")
    assert read_site() == Site(gpus="2")
    (tmp_path / "mine.yaml").write_text("")
    assert read_site() == Site()


def test_jobs_call_the_python_that_submits() -> None:
    assert Site().command == f"{sys.executable} -m itin"
    assert Site(itin="apptainer exec itin.sif itin").command == "apptainer exec itin.sif itin"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patrition: gpu", "expected: some of partition, gpus"),
        ("patrition: gpu", "found:    patrition"),
        ("- gpu", "found:    a list"),
        ("partition: [cpu, gpu]", "partition: expected one text, got ['cpu', 'gpu']"),
        ("warn: 1e2", "warn: expected a whole number, got '1e2'"),
        ("warn: true", "warn: expected a whole number, got 'true'"),
        ("time: soon", "time: expected Slurm's form, such as 2:00:00"),
        ("gpus: many", "gpus: expected a number or type:number, got 'many'"),
        ("warn: 0", "warn: expected an integer from 1 to 65535, got 0"),
        ("warn: soon", "warn: expected a whole number, got 'soon'"),
        ("at_once: 0", "at_once: expected an integer of at least 1"),
        ("sbatch_options: [account=lab]", "an option of sbatch begins with '-', got 'account=lab'"),
        ("sbatch_options: {nice: 3}", "sbatch_options: expected a list of texts, got {'nice': '3'}"),
        ("sbatch_options: [--nice, ~]", "sbatch_options: expected a list of texts, got ['--nice', None]"),
        ("a: [", "cannot read the site's defaults"),
    ],
)
def test_what_is_wrong_with_it_is_said(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(SiteError) as caught:
        read_site(tmp_path / "site.yaml")
    assert message in str(caught.value)
    assert str(tmp_path / "site.yaml") in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="cannot read the site's defaults"):
        read_site(tmp_path / "none.yaml")


@pytest.mark.parametrize("options", [{"light_options": ("x",)}, {"sbatch_options": ("--a\n#SBATCH --b",)}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="an option of sbatch begins with '-'"):
        Site(**options)
