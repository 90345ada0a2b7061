"""What is installed: every package that is in the tree, its data, and nothing of ours at the top of site-packages."""

from __future__ import annotations

import configparser
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from .release.source import copy_of_source

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = {"tests", "docs", "build", "dist"}


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def in_tree() -> set[str]:
    """The packages that the folders make: those with an __init__.py, below the root."""
    found = {"itin"}
    for path in ROOT.rglob("__init__.py"):
        parts = path.relative_to(ROOT).parts[:-1]
        if parts and not any(part.startswith(".") or part in NOT_SHIPPED for part in parts):
            found.add(".".join(["itin", *parts]))
    return found


def shipped_files() -> set[str]:
    """The modules and data files that a wheel must hold."""
    packages = in_tree()
    files = set()
    for package in packages:
        folder = ROOT.joinpath(*package.split(".")[1:])
        files |= {f"{package.replace('.', '/')}/{path.name}" for path in folder.glob("*.py")}
        files |= {f"{package.replace('.', '/')}/{path.name}" for path in folder.glob("*.[ch]pp")}
        files |= {f"{package.replace('.', '/')}/templates/{path.name}" for path in folder.glob("templates/*")}
    return files | {"itin/py.typed"}


def test_setup_cfg_lists_every_package() -> None:
    listed = set(setup_cfg()["options"]["packages"].split())
    assert listed == in_tree()


def test_the_root_holds_no_stray_module() -> None:
    assert not (ROOT / "conftest.py").exists()
    text = (ROOT / "__init__.py").read_text()
    assert "import" not in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    copy = copy_of_source(folder / "source")
    code = (
        "import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); "
        "print(getattr(build_meta, 'build_' + sys.argv[3])(sys.argv[2]))"
    )
    build = [sys.executable, "-c", code, str(copy), str(folder)]
    for kind in ("sdist", "wheel"):
        done = subprocess.run([*build, kind], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    assert list(folder.glob("*.tar.gz"))
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == shipped_files()
        (metadata,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "itin = itin.cli:program" in archive.read(metadata).decode()


@pytest.mark.parametrize("how", ["wheel", "editable", "strict"])
def test_every_kind_of_install_works(how: str, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into an environment that borrows this one's dependencies; run from an empty folder."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    venv.create(tmp_path / "env", with_pip=False, system_site_packages=False)
    python = tmp_path / "env" / "bin" / "python"
    site = tmp_path / "env" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for folder in {str(distribution(name).locate_file("")) for name in ("pip", "click", "setuptools")}:
        with (site / "outer.pth").open("a") as file:
            file.write(folder + "\n")
    copy = wheel.parent / "source"
    what = {
        "wheel": [str(wheel)],
        "editable": ["-e", str(copy)],
        "strict": ["-e", str(copy), "--config-settings", "editable_mode=strict"],
    }[how]
    install = [str(python), "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--ignore-installed", "-q"]
    done = subprocess.run([*install, *what], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = (
        "import sys, itin, itin.cli, itin.cache.format.schema, itin.extract.config, itin.train.config; "
        "import itin.itin_head.config; "
        "print(itin.__file__); bad = {'cache', 'train', 'extract', 'cli'} & set(sys.modules); assert not bad, bad; "
        "import importlib.util; assert importlib.util.find_spec('cache') is None"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=empty)
    assert done.returncode == 0, done.stderr
    expected = str(copy) if how == "editable" else str(site if how == "wheel" else copy / "build")
    assert done.stdout.startswith(expected)
    done = subprocess.run([str(python), "-m", "itin", "--version"], capture_output=True, text=True, cwd=empty)
    assert done.returncode == 0, done.stderr
