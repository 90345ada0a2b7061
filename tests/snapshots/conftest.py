"""The world of the snapshots: made once for each test file, and for each test as it was made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..own_encoders import current_folder
from .world import prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_thread: None, quick_workers: None) -> Iterator[Path]:
    """The folder of the world, the current one, and a copy of it beside it."""
    here = tmp_path_factory.mktemp("world").resolve() / "here"
    here.mkdir()
    with pytest.MonkeyPatch.context() as patch, current_folder(here):
        for name in ("ITIN_DATA", "ITIN_WEIGHTS", "ITIN_SITE", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        for name, folder in (("ITIN_CACHE", "cache"), ("XDG_CACHE_HOME", "home"), ("TORCH_HOME", "home/torch")):
            patch.setenv(name, folder)
        patch.setenv("COLUMNS", "100")
        prepare(here)
        shutil.copytree(here, here.with_name("copy"))
        yield here


@pytest.fixture
def here(made: Path) -> Iterator[Path]:
    """The folder of the world, which a test may change."""
    yield made
    for path in made.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(made.with_name("copy"), made, dirs_exist_ok=True, symlinks=True)
