"""Features that memory cannot hold: mapped from a temporary file, the same numbers, little memory."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from itin.cache import Store, open_store, read_table
from itin.cache.table import write_table
from itin.errors import CacheError
from itin.itin_head.gru.packing import Words
from itin.labels import LABELS
from itin.train.config import TrainConfig
from itin.train.features import batches, memory
from itin.train.features import load as data
from itin.train.features import mapped as mapped_arrays
from itin.train.features.batches import ResidentFeatures
from itin.train.features.load import load_features, size_of
from itin.train.features.shared import open_features, save_features
from itin.train.loop import fit
from itin.train.protocols.split import random_split
from itin.train.sweeps.prepare import SweepData

from ..features import DIM, make_cache, make_stores, results_of, sample

pytestmark = pytest.mark.usefixtures("one_thread")

ARRAYS = ("labels", "regions", "counts", "tokens", "offsets", "context")
CPU = torch.device("cpu")
CONFIG = TrainConfig(d=6, k=4, hidden=4, epochs=2, batch_size=16)


@pytest.fixture(autouse=True)
def _no_place_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps go beside the data, but where a test says otherwise."""
    monkeypatch.delenv("TMPDIR", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("memory"), n=150) / "planted"


def open_stores(folder: Path) -> dict[str, Store]:
    return {path.name.partition("-")[0]: open_store(path) for path in sorted(folder.glob("*-test-*"))}


def load(folder: Path, mapped: bool | None, keep_special: bool = False, m: int = 3) -> Any:
    return load_features(read_table(folder), open_stores(folder), m, keep_special, mapped=mapped)


@pytest.mark.parametrize("keep_special", [False, True])
@pytest.mark.parametrize("block", [128, 7])
def test_mapped_features_are_those_of_memory(
    folder: Path, keep_special: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "BLOCK", block)
    held, mapped = (load(folder, there, keep_special) for there in (False, True))
    assert (held.mapped, mapped.mapped) == (None, folder)
    for name in ARRAYS:
        one, other = getattr(held, name), getattr(mapped, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert mapped.dims == held.dims


def test_nothing_is_left_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    mapped = load(folder, True)
    assert sorted(folder.iterdir()) == before
    if (maps := Path("/proc/self/maps")).exists():
        there = [line for line in maps.read_text().splitlines() if str(folder) in line]
        assert there
        assert all("(deleted)" in line and " rw-s " in line for line in there)
    assert mapped.tokens.shape[0] == mapped.offsets[-1]


@pytest.mark.parametrize("max_words", [None, 3])
def test_what_a_device_cannot_hold_is_gathered_batch_by_batch(
    folder: Path, max_words: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = load(folder, False)
    one = ResidentFeatures(features, CPU, 2, max_words)
    monkeypatch.setattr(batches, "fits", lambda size, device: size < features.regions[:, :2].nbytes)
    other = ResidentFeatures(features, CPU, 2, max_words)
    assert (one.held, other.held) == (True, False)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(150))
    for some in (rows[:40], rows.view(3, 50)):
        for a, b in zip(one.batch(some), other.batch(some), strict=True):
            same(a, b)
    for a, b in zip(one.narrow(1).batch(rows[:9]), other.narrow(1).batch(rows[:9]), strict=True):
        same(a, b)


def test_a_device_holds_what_its_free_memory_and_our_own_reserve_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches.fits(1 << 60, CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (600, 2000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert [batches.fits(size, torch.device("cuda")) for size in (800, 801)] == [True, False]


def same(a: Any, b: Any) -> None:
    if isinstance(a, Words):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.mask, b.mask)
        assert a.packing.sizes == b.packing.sizes
    elif a is None:
        assert b is None
    elif isinstance(a, list):
        assert a == b
    elif isinstance(a, tuple):
        assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))
    else:
        assert torch.equal(a, b)


def test_mapped_training_is_training_in_memory(folder: Path) -> None:
    held, mapped = (load(folder, there) for there in (False, True))
    split = random_split(held.ids, 0)
    results = [fit(CONFIG, features, split) for features in (held, mapped)]
    assert all(torch.equal(value, results[1].state_dict[name]) for name, value in results[0].state_dict.items())
    assert results[0].metrics == results[1].metrics
    stacks = [results_of([CONFIG], features, split)[0] for features in (held, mapped)]
    assert stacks[0].metrics == stacks[1].metrics  # type: ignore[union-attr]


def test_without_regions(folder: Path) -> None:
    mapped = load(folder, True, m=0)
    assert mapped.regions.shape == (150, 0, 0)
    batch = ResidentFeatures(mapped, CPU, 0).batch(torch.arange(5))
    assert batch.regions is None


def test_shared_without_holding_them(folder: Path, tmp_path: Path) -> None:
    held, mapped = (load(folder, there) for there in (False, True))
    save_features(mapped, tmp_path / "shared")
    again = open_features(tmp_path / "shared")
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(held, name))


def test_a_sweep_has_them_on_the_disk_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, kept in ((None, True), (1, False)):
        monkeypatch.setattr(data, "available", lambda free=free: free)
        place = SweepData(read_table(folder), open_stores(folder), [CONFIG])
        before = place.features[CONFIG.view]
        key = place.key(CONFIG)
        place.setup(tmp_path / str(free), tmp_path / "runs")
        after = place.features[CONFIG.view]
        assert (after is before) is kept
        assert np.array_equal(after.tokens, before.tokens)
        assert place.key(CONFIG) == key
        gone = weakref.ref(before)
        del before, after
        assert (gone() is not None) is kept


def test_nothing_is_an_array_too(tmp_path: Path) -> None:
    array = mapped_arrays.to_disk(iter([np.zeros((0, 5), np.float16)] * 2), 0, tmp_path)
    assert array.shape == (0, 5)
    assert array.dtype == np.float16


def test_the_place_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, beside, last = (tmp_path / name for name in ("scratch", "beside", "last"))
    for path in (scratch, beside, last):
        path.mkdir()
    room = {scratch: 5, beside: 7, last: 9}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=room[path] * 10**9))
    monkeypatch.setattr(mapped_arrays, "TEMPORARY_FILES", last)
    monkeypatch.delenv("TMPDIR", raising=False)
    found = [mapped_arrays.folder_with_room(size * 10**9, beside) for size in (4, 7, 8)]
    assert found == [beside, beside, last]
    monkeypatch.setenv("TMPDIR", str(scratch))
    found = [mapped_arrays.folder_with_room(size * 10**9, beside) for size in (4, 6, 8)]
    assert found == [scratch, beside, last]
    with pytest.raises(CacheError, match=r"room for 20\.0 GB[\s\S]*5\.0 GB in .*scratch[\s\S]*set TMPDIR"):
        mapped_arrays.folder_with_room(20 * 10**9, beside)


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CacheError, match=rf"{tmp_path}[\s\S]*room for 3\.0 GB[\s\S]*File too large"):
            mapped_arrays.to_disk(iter([np.zeros(50_000)]), 3 * 10**9, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_memory_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = open_stores(folder)
    rows = {kind: np.arange(150) for kind in stores}
    words = int(stores["tokens"].lengths(rows["tokens"]).sum())
    sizes = {"context": 2 * 150 * 4, "tokens": 2 * words * 5, "regions": 2 * 150 * 3 * 6}  # float16
    assert size_of(stores, rows, 3) == sizes
    assert size_of(stores, rows, 0) == {**sizes, "regions": 0}
    few = {kind: stores[kind] for kind in ("tokens", "context")}
    assert size_of(few, {kind: rows[kind] for kind in few}, 0) == {kind: sizes[kind] for kind in few}
    size = sum(sizes.values()) + sizes["tokens"]
    for free, mapped in ((None, False), (2 * size, False), (size, True)):
        monkeypatch.setattr(data, "available", lambda free=free: free)
        assert (load(folder, None).mapped is not None) is mapped


def test_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.available()
    assert free is None or free > 2**20
    proc, group = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (group / "mine").mkdir(parents=True)
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "CGROUP", group)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert memory.available() is None
    (proc / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    5000 kB\nHugePages: x\n\n")
    assert memory.available() == 5000 * 1024
    (group / "memory.max").write_text("3000000\n")
    (group / "memory.current").write_text("1000000\n")
    assert memory.available() == 2000000
    (proc / "self" / "cgroup").write_text("1:name=x:/\n0::/mine\n")
    (group / "mine" / "memory.max").write_text("900\n")
    (group / "mine" / "memory.current").write_text("1000\n")
    (group / "mine" / "memory.stat").write_text("anon 5\ninactive_file 400\n")
    assert memory.available() == 300
    (group / "mine" / "memory.max").write_text("max\n")
    assert memory.available() == 5000 * 1024
    limits = {resource.RLIMIT_AS: (9_000_000, 0), resource.RLIMIT_DATA: (7_000_000, 0)}
    monkeypatch.setattr(resource, "getrlimit", lambda limit: limits[limit])
    (proc / "self" / "status").write_text("Name: x\nVmSize:\t 5000 kB\nVmData:\t 6000 kB\n")
    assert memory.available() == 7_000_000 - 6000 * 1024


# Under a limit -------------------------------------------------------------------------------------------------------

BYTES = 96 << 20
"""Of the words in the stores below, more than the limit leaves."""

CHILD = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from itin.cache import open_store, read_table
from itin.train.config import TrainConfig
from itin.train.features.load import load_features
from itin.train.loop import fit
from itin.train.protocols.split import random_split
from itin.train.sweeps.prepare import SweepData

torch.set_num_threads(1)
folder = Path(sys.argv[1])
table = read_table(folder)
stores = {path.name.partition("-")[0]: open_store(path) for path in sorted(folder.glob("*-test-*"))}
config = TrainConfig(m=1, d=4, k=4, hidden=4, epochs=1, batch_size=16)
few = load_features(type("T", (), {"dataset": table.dataset, "samples": table.samples[:40]}), stores, 1, mapped=True)
fit(config, few, random_split(few.ids, 0))  # what is imported and built once is there now
data = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
limit = data * 1024 + (72 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    load_features(table, stores, 1, mapped=False)
    sys.exit("memory was enough")
except (MemoryError, RuntimeError) as error:  # an array, or a thread that reads into it
    refused = type(error).__name__
features = load_features(table, stores, 1)
result = fit(config, features, random_split(features.ids, 0))
print(refused, features.mapped == folder, len(features), result.history[0]["train_loss"])
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose words alone are larger than what the child below may allocate."""
    folder = tmp_path_factory.mktemp("large") / "large"
    n, E, words = 800, 768, 80
    samples = [
        {"id": f"s{i}", "label": LABELS[i % 3], "image_sha256": f"{i:064x}", "text_sha256": f"{i:064x}"}
        for i in range(n)
    ]
    assert n * E * words * 2 >= BYTES * 0.97
    write_table(folder, {"name": "large", "root": "/"}, samples, [])
    rng = np.random.default_rng(0)
    numbers = np.arange(-1, words - 1, dtype=np.int32)
    numbers[-1] = -1
    one = {kind: sample(kind, 5) for kind in ("regions", "context")} | {
        "tokens": {
            "tokens": rng.normal(size=(words, E)).astype(np.float32),
            "token_ids": np.full(words, 7, np.int32),
            "word_ids": numbers,
        }
    }
    make_stores(folder, samples, lambda kind, _: one[kind], dims={"regions": DIM, "tokens": E, "context": DIM}, size=64)
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc and a limit on memory")
def test_more_than_memory_can_be_trained_on(large: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(large)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    refused, mapped, samples, loss = child.stdout.split()
    assert refused in ("MemoryError", "RuntimeError")
    assert (mapped, samples) == ("True", "800")
    features = load_features(read_table(large), open_stores(large), 1)
    assert features.mapped is None
    config = TrainConfig(m=1, d=4, k=4, hidden=4, epochs=1, batch_size=16)
    assert float(loss) == fit(config, features, random_split(features.ids, 0)).history[0]["train_loss"]
