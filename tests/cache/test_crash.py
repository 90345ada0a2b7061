"""Writers killed at random instants: nothing half-written is ever seen, nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from itin import disk
from itin.cache import open_store
from itin.cache.upkeep.verify import verify

from . import nursery as cache_nursery

COUNT, SHARD = 200, 4


class Nursery:
    """Forks writers and readers quickly; see `cache_nursery.py`."""

    def __init__(self) -> None:
        quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        name = cache_nursery.__name__
        self._process = subprocess.Popen(
            [sys.executable, "-m", name],
            cwd=Path(cache_nursery.__file__).parents[name.count(".")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=quiet,
        )

    def ask(self, *words: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def torture(nursery: Nursery, parent: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """One store filled by three racing writers that are killed and replaced until it is done, or enough were killed;
    returns how many kills hit a writer at work, and how many shards were read meanwhile."""
    parent.mkdir()
    reader = nursery.ask("reader", parent)
    writers = [nursery.ask("writer", parent, COUNT, SHARD) for _ in range(3)]
    hit = 0
    while writers and hit < kills:
        time.sleep(chance.random() * 0.04)
        victim = chance.choice(writers)
        os.kill(victim, signal.SIGKILL)  # where it has ended already, it waits there to be asked for its end
        ended = nursery.ask("wait", victim)
        writers.remove(victim)
        assert ended in (0, -signal.SIGKILL), error_of(parent)
        if ended:
            hit += 1
            writers.append(nursery.ask("writer", parent, COUNT, SHARD))
    for writer in writers:
        assert nursery.ask("wait", writer) == 0, error_of(parent)
    last = nursery.ask("writer", parent, COUNT, SHARD)
    assert nursery.ask("wait", last) == 0, error_of(parent)
    (parent / "stop").touch()
    assert nursery.ask("wait", reader) == 0, error_of(parent)
    reads = sum(int(path.read_text()) for path in parent.glob("reads-*"))
    check(parent)
    return hit, reads


def error_of(parent: Path) -> str:
    return "\n".join(path.read_text() for path in parent.glob("error-*"))


def check(parent: Path) -> None:
    """Every row is there exactly once, every byte is right, and only what kills left lies about."""
    (folder,) = [path for path in parent.iterdir() if path.is_dir()]
    report = verify(folder)
    assert report.problems == []
    quarantined = COUNT // cache_nursery.IN_QUARANTINE
    store = open_store(folder)
    assert store.manifest["complete"]
    assert report.rows == len(store) == COUNT - quarantined
    every = {f"id-{row}" for row in range(COUNT)}
    assert {record["id"] for record in store.manifest["quarantined"]} == every - set(store.ids)
    assert len(store.manifest["quarantined"]) == quarantined
    rows = store.index(store.ids)
    cache_nursery.check(np.array([int(sample[3:]) for sample in store.ids]), store.read("regions", rows))
    known = ("plan", "shard-", "manifest.json", "quarantine", disk.TEMPORARY)
    assert all(path.name.startswith(known) for path in folder.iterdir())


def run(nursery: Nursery, folder: Path, kills: int) -> tuple[int, int]:
    chance = random.Random(7)
    hit = reads = store = 0
    while hit < kills:
        more = torture(nursery, folder / str(store), kills - hit, chance)
        hit, reads, store = hit + more[0], reads + more[1], store + 1
    return hit, reads


def test_survives_kills(nursery: Nursery, tmp_path: Path) -> None:
    hit, reads = run(nursery, tmp_path, kills=25)
    assert hit >= 25
    assert reads > 20


@pytest.mark.slow
def test_survives_three_hundred_kills(nursery: Nursery, tmp_path: Path) -> None:
    hit, reads = run(nursery, tmp_path, kills=300)
    assert hit >= 300
    assert reads > 300


def test_a_kill_leaves_only_temporary_files(nursery: Nursery, tmp_path: Path) -> None:
    """What a killed writer was at lies under a temporary name, which no reader looks at and `finish` sweeps later."""
    for _ in range(5):
        writer = nursery.ask("writer", tmp_path, COUNT, SHARD)
        time.sleep(0.03)
        os.kill(writer, signal.SIGKILL)
        nursery.ask("wait", writer)
    assert nursery.ask("wait", nursery.ask("writer", tmp_path, COUNT, SHARD)) == 0
    check(tmp_path)
    (folder,) = tmp_path.iterdir()
    long_ago = time.time() - 25 * 3600
    for path in folder.glob(f"{disk.TEMPORARY}*"):
        os.utime(path, (long_ago, long_ago))
    assert nursery.ask("wait", nursery.ask("writer", tmp_path, COUNT, SHARD)) == 0
    assert not list(folder.glob(f"{disk.TEMPORARY}*"))
