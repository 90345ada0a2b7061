"""The files around a release against setup.cfg: one version, one list of Pythons, one set of checks."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .source import ROOT, tracked

SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""Those of Keep a Changelog, in its order."""


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pythons() -> list[str]:
    """The versions of Python that the package names as tested."""
    return re.findall(r"Python :: (3\.\d+)$", setup()["metadata"]["classifiers"], re.M)


def test_one_version_everywhere() -> None:
    version = setup()["metadata"]["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    released = re.findall(r"^## \[([^\]]+)\] - \d{4}-\d\d-\d\d$", text("CHANGELOG.md"), re.M)
    assert released[0] == version
    for name in tracked():
        if name.endswith(".py") and not name.startswith(("tests/", "docs/")):
            assert not re.search(r"^_?_?version_?_? *=", text(name), re.M | re.I), name


def test_changelog_keeps_its_form() -> None:
    log = text("CHANGELOG.md")
    assert "https://keepachangelog.com/en/1.1.0/" in log
    for release in log.split("\n## [")[1:]:
        headings = re.findall(r"^### (.*)$", release, re.M)
        assert headings == [name for name in SECTIONS if name in headings]
        above, *sections = re.split(r"^### .*$", release, flags=re.M)
        assert "\n- " not in above, "a line stands under no heading"
        assert all(section.lstrip().startswith(("- ", "#### ")) for section in sections)


def test_the_paper_is_cited() -> None:
    (paper,) = yaml.safe_load(text("CITATION.cff"))["references"]
    assert f"https://doi.org/{paper['doi']}" in text("README.md")
    assert [one["family-names"] for one in paper["authors"]] == ["Zhu", "Li", "Yang", "Zhao", "Liu", "Qian"]
    assert (paper["journal"], paper["volume"]) == ("IEEE Transactions on Multimedia", 25)


@pytest.fixture
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    return found


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_tests_every_python(jobs: dict[str, Any]) -> None:
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert set(pythons()) <= set(matrix["python"])
    least = setup()["options"]["python_requires"].removeprefix(">=")
    assert matrix["include"] == [{"python": least, "versions": "lowest"}]
    lowest = [step["run"] for step in jobs["tests"]["steps"] if step.get("if") == "matrix.versions == 'lowest'"]
    assert lowest[0].endswith("-c tests/release/lowest.txt")
    assert lowest[1].startswith("pytest")


def test_the_workflow_checks_what_ci_run_checks(jobs: dict[str, Any]) -> None:
    said = [command for job in jobs.values() for command in commands(job)]
    for command in (
        "ruff check .",
        "ruff format --check .",
        "mypy -p itin",
        "python docs/build.py",
        "pytest -n 0 -m release tests/release/test_build.py",
    ):
        assert command in said
        assert f".venv/bin/{command}" in text(".ci/run")


def test_all_checks_stop_at_once_where_the_disk_is_full(tmp_path: Path) -> None:
    df = tmp_path / "df"
    df.write_text("#!/bin/sh\necho Filesystem\necho /dev/x 1 1 $((24 * 1024 * 1024)) 50% $2\n", encoding="utf-8")
    df.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    done = subprocess.run([ROOT / ".ci/run"], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"{tmp_path}: expected 25 GB free for the environments of the checks, found 24 GB" in done.stdout
    assert "TMPDIR=FOLDER .ci/run" in done.stdout
    assert [one.name for one in tmp_path.iterdir()] == ["df"]


def test_only_a_tag_that_passed_everything_is_published(jobs: dict[str, Any]) -> None:
    publish = jobs.pop("publish")
    assert publish["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(publish["needs"]) == set(jobs)
    assert publish["permissions"] == {"id-token": "write"}
    assert not any("permissions" in job for job in jobs.values())
    assert "secrets." not in text(".github/workflows/ci.yml")


def test_both_images_hold_the_same() -> None:
    docker, apptainer = text("Dockerfile"), text("itin.def")
    (base,) = re.findall(r"^FROM (python:(3\.\d+)-slim)$", docker, re.M)
    assert re.findall(r"^From: (.*)$", apptainer, re.M) == [base[0]]
    assert base[1] in pythons()
    install = r"pip install --no-cache-dir \S.*\[([a-z,]+)\]"
    (extras,) = {re.findall(install, one)[0] for one in (docker, apptainer)}
    assert set(extras.split(",")) <= set(setup()["options.extras_require"])


def test_the_image_is_given_all_that_builds_the_package() -> None:
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    packages = setup()["options"]["packages"].split()
    assert {package.split(".")[1] for package in packages if "." in package} <= allowed
    assert {"*.py", "py.typed", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= allowed
    assert all(any(ROOT.glob(name)) for name in allowed)


def test_hooks_run_what_the_tests_install() -> None:
    (repo,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    installed = {re.split(r"[>=\[]", line)[0] for line in setup()["options.extras_require"]["test"].split("\n")}
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].split()[0] in installed
