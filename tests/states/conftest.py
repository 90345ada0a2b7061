"""A place for worlds, and a nursery that runs commands under faults."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..own_encoders import current_folder
from .injection import Nursery
from .world import ENCODERS, MODULE, NAME, Pair, World, stores_in

# Hypothesis puts what it learns about the code beside the tests otherwise.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "itin-hypothesis"))


@pytest.fixture(scope="module")
def place(one_thread: None) -> Iterator[Path]:
    """In memory where there is a file system for it: a disk would be waited for thousands of times."""
    memory = Path("/dev/shm")
    inside = memory if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="itin-states-", dir=inside)).resolve()
    folder.chmod(0o755)  # another user runs commands here too
    (folder / "here").mkdir()
    (folder / "here" / f"{MODULE}.py").write_text(ENCODERS)
    (folder / "worlds").mkdir()
    with current_folder(folder / "here"):
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def nursery(place: Path) -> Iterator[Nursery]:
    made = Nursery(place, place / "worlds")
    world = World(place / "warm", place / "here", {f"id {n}": Pair(f"text {n}", (n, n, n)) for n in range(3)})
    made.warm(*world.extract(world.main, 1))
    (store,) = [store for store in stores_in(world.main) if store.name.startswith("context")]
    made.warm("cache", "verify", "--repair", world.main)
    made.warm("cache", "merge", world.main / NAME, "--into", world.away / NAME)
    for form, ending in (("hdf5", "h5"), ("npz", "npz"), ("safetensors", "safetensors")):
        file = world.root / f"export.{ending}"
        made.warm("cache", "export", store, file)
        made.warm("cache", "import", file, "--from", form, "--kind", "context", "--cache", world.main)
    made.warm("cache", "rm", "--yes", store)
    yield made
    made.close()
