"""The world of the snapshots, made once, and as it was made for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..own_encoders import current_folder
from .world import prepare


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the world stands."""
    return tmp_path_factory.mktemp("world").resolve()


@pytest.fixture(scope="module")
def made(place: Path, one_thread: None, quick_workers: None) -> Iterator[Path]:
    """The folder of the world, the current one, beside a copy of it."""
    here, copy = place / "here", place / "copy"
    here.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, current_folder(here):
        for name in ("ITIN_DATA", "ITIN_WEIGHTS", "ITIN_SITE", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        for name, folder in (("ITIN_CACHE", "cache"), ("XDG_CACHE_HOME", "home"), ("TORCH_HOME", "home/torch")):
            patch.setenv(name, folder)
        patch.setenv("COLUMNS", "100")
        if not copy.exists():
            prepare(here)
            shutil.copytree(here, copy)
        yield here


@pytest.fixture
def here(made: Path) -> Iterator[Path]:
    """The folder of the world, which a test may change."""
    yield made
    for path in made.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(made.with_name("copy"), made, dirs_exist_ok=True)
