"""The release itself: sdist and wheel are sound, and the wheel alone does the whole job. Needs the extra `release`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from .source import ROOT, copy_of_source

SMOKE = (
    "tests/release/test_smoke.py",
    "tests/itin_head/test_itin.py",
)
"""The tests that the installed wheel must pass, from another folder."""

TOOLS = ("build", "twine", "check_wheel_contents")

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not all(map(find_spec, TOOLS)), reason="needs the extra release: pip install 'itin[release]'"),
]


def run(*command: object, cwd: Path) -> str:
    """What a command prints; it must end with 0, and knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("release")
    copy = copy_of_source(folder / "source")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy, cwd=folder)
    return folder / "dist"


def test_the_tools_find_no_fault(dist: Path) -> None:
    files = sorted(dist.iterdir())
    assert [file.name.split("-1", 1)[0] for file in files] == ["itin", "itin"]
    printed = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist)
    assert printed.count("PASSED") == 2
    (wheel,) = dist.glob("*.whl")
    assert run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=dist) == f"{wheel}: OK\n"


def test_the_sdist_holds_what_a_packager_needs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "setup.cfg"} <= names
    assert not [name for name in names if name.startswith(("tests/", "build/", "runs/"))]


def test_the_wheel_alone_passes_the_smoke_part(dist: Path, tmp_path: Path) -> None:
    """In an environment that has this one's dependencies, and itin from the wheel; no checkout is near."""
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    places = {str(distribution(name).locate_file("")) for name in ("pip", "pytest", "torch")}
    (site / "dependencies.pth").write_text("\n".join(sorted(places)) + "\n")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--ignore-installed", wheel]
    run(*install, cwd=tmp_path)
    away = tmp_path / "away"
    shutil.copytree(ROOT / "tests", away / "tests", ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
    shutil.copy(ROOT / "pyproject.toml", away)
    where = run(python, "-c", "import itin; print(itin.__file__)", cwd=away).strip()
    assert Path(where).parent == site / "itin"
    (version,) = re.findall(r"itin-(.*)-py3", wheel.name)
    assert run(python.with_name("itin"), "--version", cwd=away) == f"itin, version {version}\n"
    printed = run(python, "-m", "pytest", "-q", "-n", "0", "-m", "", *SMOKE, cwd=away)
    assert " passed" in printed
    assert " skipped" not in printed
