"""The sound world, made once for each test file, and the current folder that its encoders are imported from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from itin.cache import find_stores

from ..own_encoders import current_folder
from .keeper import told
from .sound import World, prepare


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may open, as pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-")).resolve()
    folder.chmod(0o755)
    (folder / "here").mkdir()  # beside all else: paths below the current folder are shown short
    with current_folder(folder / "here"):
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def sound(place: Path, one_thread: None) -> World:
    world = prepare(place)
    assert told(world, *world.extract).startswith("exit code 0")
    (store,) = find_stores(world.folder, "tokens")
    return replace(world, store=store.name)


@pytest.fixture
def fresh(place: Path) -> Iterator[Path]:
    """A folder for copies."""
    folder = place / "copies"
    folder.mkdir()
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)
