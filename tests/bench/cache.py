"""How fast the cache is, and why it is laid out as it is.

    python tests/bench/cache.py load      what training loads, against np.fromfile of the same bytes
    python tests/bench/cache.py layouts   size, writing, loading and random access of ways to lay features out
    python tests/bench/cache.py write     what committing costs, beside the time that extraction takes
    python tests/bench/cache.py scale     a store of a million small samples

Each measurement is repeated in turns with its baseline, and the ratio of the medians is shown: on a shared machine only
ratios of one run mean something, and where it is very busy, those of `--clock cpu`. The page cache is warm; memory is
fresh each time, as it is in a process that loads once (glibc would hand the same pages out again).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from itin.cache import Store, StoreWriter, open_store

DIM, MAX_REGIONS, TOKENS, TOKEN_DIM, CONTEXT = 2048, 36, 30, 768, 512


def identity(kind: str, feature: int, max_regions: int = MAX_REGIONS) -> dict[str, object]:
    """The identity of a made-up store."""
    dims = {"feature": feature, "max_regions": max_regions} if kind == "regions" else {"feature": feature}
    return {"kind": kind, "name": "bench", "weights": {}, "preprocessing": {}, "dims": dims, "dtype": "float16"}


def samples(kind: str, count: int, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Made-up features: like those of a ReLU, half of them zero."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        if kind == "context":
            yield {"context": np.maximum(rng.normal(size=CONTEXT), 0).astype(np.float32)}
        elif kind == "tokens":
            n = int(rng.integers(8, 2 * TOKENS - 8))
            numbers = np.arange(n, dtype=np.int32)
            tokens = rng.normal(size=(n, TOKEN_DIM)).astype(np.float32)
            yield {"tokens": tokens, "token_ids": numbers, "word_ids": numbers}
        else:
            floats = {
                name: rng.random(MAX_REGIONS).astype(np.float32) for name in ("object_scores", "attribute_scores")
            }
            numbers = rng.integers(0, 400, MAX_REGIONS).astype(np.int32)
            yield {
                "regions": np.maximum(rng.normal(size=(MAX_REGIONS, DIM)), 0).astype(np.float32),
                "boxes": rng.random((MAX_REGIONS, 4)).astype(np.float32),
                "scores": np.sort(rng.random(MAX_REGIONS).astype(np.float32))[::-1],
                "objects": numbers,
                "attributes": numbers,
                **floats,
            }


def make(parent: Path, kind: str, count: int, shard_size: int = 128) -> Store:
    """A store of made-up samples."""
    feature = {"regions": DIM, "tokens": TOKEN_DIM, "context": CONTEXT}[kind]
    writer = StoreWriter(parent, identity(kind, feature))
    rows = writer.extend(((f"{i}", f"{i:064x}") for i in range(count)), shard_size)
    for piece in writer.missing(rows):
        made = samples(kind, len(piece.rows), piece.block)
        writer.commit(piece.block, {row: writer.stored(one) for row, one in zip(piece.rows, made, strict=True)})
    writer.finish({})
    return open_store(writer.folder)


FRESH = "MALLOC_MMAP_THRESHOLD_"
"""glibc takes memory from so many bytes on from the kernel each time."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = time.perf_counter


def in_turns(repeats: int, **work: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each piece of work (by the processor's clock, the least), done in turns for fairness."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, one in work.items():
            started = clock()
            one()
            times[name].append(clock() - started)
    middle = min if clock is time.process_time else statistics.median
    return {name: middle(values) for name, values in times.items()}


def load(folder: Path, count: int, repeats: int) -> None:
    """What a training run loads, with all ids and with a random 80% of them."""
    stores = {kind: make(folder, kind, count) for kind in ("regions", "tokens", "context")}
    rng = np.random.default_rng(0)
    for m in (1, 2, 5):
        everything = np.arange(count)
        some = np.sort(rng.permutation(count)[: int(0.8 * count)])
        for what, rows in (("all", everything), ("80%", some)):
            parts = {
                "regions": lambda rows=rows, m=m: open_store(stores["regions"].path).read("regions", rows, first=m),
                "tokens": lambda rows=rows: open_store(stores["tokens"].path).read_ragged(rows)["tokens"],
                "context": lambda rows=rows: open_store(stores["context"].path).read("context", rows),
            }
            for name, read in parts.items():
                read().tofile(folder / f"{name}.raw")
            raw = {f"raw {name}": lambda name=name: np.fromfile(folder / f"{name}.raw", np.float16) for name in parts}
            whole = {
                "together": lambda parts=parts: [read() for read in parts.values()],
                "raw together": lambda raw=raw: [read() for read in raw.values()],
            }
            seconds = in_turns(repeats, **raw, **parts, **whole)
            ratios = {name: seconds[name] / seconds[f"raw {name}"] for name in (*parts, "together")}
            size = sum((folder / f"{name}.raw").stat().st_size for name in parts) / 1e6
            shown = "  ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
            print(f"m = {m}, {what:3}: {size:5.0f} MB, raw {seconds['raw together'] * 1e3:4.0f} ms; times raw: {shown}")


@contextmanager
def hdf5(path: Path, mode: str) -> Iterator[h5py.File]:
    """An HDF5 file; removed first when it is written."""
    if mode == "w":
        path.unlink(missing_ok=True)
    with h5py.File(path, mode, locking=False) as file:
        yield file


def layouts(folder: Path, count: int, repeats: int) -> None:
    """Regions of one shard after the other in several layouts; each against .npy, in one run."""
    made = list(samples("regions", count))
    regions = np.stack([one["regions"] for one in made]).astype(np.float16)  # (N, M, D)
    print(f"regions {regions.shape} float16, {regions.nbytes / 1e6:.0f} MB")
    rng = np.random.default_rng(0)
    picks = rng.integers(0, count, 64)
    m = 2

    def write_store() -> None:
        writer = StoreWriter(Path(tempfile.mkdtemp(dir=folder)), identity("regions", DIM))
        rows = writer.extend(((f"{i}", f"{i:064x}") for i in range(count)), 128)
        for piece in writer.missing(rows):
            writer.commit(piece.block, {row: {**made[row], "regions": regions[row]} for row in piece.rows})
        writer.finish({})
        stores.append(writer.folder)

    stores: list[Path] = []
    places = {
        name: folder / f"{name.replace(' ', '-')}.h5" for name in ("contiguous", "chunked", "lzf", "gzip", "group")
    }

    def write_h5(name: str, **options: object) -> None:
        with hdf5(places[name], "w") as file:
            file.create_dataset("regions", data=regions, **options)

    def write_groups() -> None:
        with hdf5(places["group"], "w") as file:
            for i in range(count):
                file.create_dataset(f"{i}/regions", data=regions[i])

    def groups(rows: np.ndarray, first: int | None) -> np.ndarray:
        with hdf5(places["group"], "r") as file:
            return np.stack([file[f"{row}/regions"][:first] for row in rows.tolist()])

    def h5(name: str, rows: np.ndarray | None, first: int | None) -> np.ndarray:
        with hdf5(places[name], "r") as file:
            if rows is None:
                return np.asarray(file["regions"][:, :first])
            return np.stack([file["regions"][row] for row in rows.tolist()])

    def npy(rows: np.ndarray | None, first: int | None) -> np.ndarray:
        if rows is None and first is None:
            return np.load(folder / "regions.npy")
        mapped = np.load(folder / "regions.npy", mmap_mode="r")
        return np.array(mapped[:, :first] if rows is None else mapped[rows])

    def store(rows: np.ndarray | None, first: int | None) -> np.ndarray:
        return open_store(stores[-1]).read("regions", np.arange(count) if rows is None else rows, first)

    everything = np.arange(count)
    chunk = (1, MAX_REGIONS, DIM)
    write: dict[str, Callable[[], None]] = {
        ".npy": lambda: np.save(folder / "regions.npy", regions),
        "this cache": write_store,
        "HDF5 contiguous": lambda: write_h5("contiguous"),
        "HDF5 chunked": lambda: write_h5("chunked", chunks=chunk),
        "HDF5 padded lzf": lambda: write_h5("lzf", chunks=chunk, compression="lzf"),
        "HDF5 padded gzip": lambda: write_h5("gzip", chunks=chunk, compression="gzip"),
        "group a sample": write_groups,
    }
    read: dict[str, Callable[[np.ndarray | None, int | None], np.ndarray]] = {
        ".npy": npy,
        "this cache": store,
        "HDF5 contiguous": lambda rows, first: h5("contiguous", rows, first),
        "HDF5 chunked": lambda rows, first: h5("chunked", rows, first),
        "HDF5 padded lzf": lambda rows, first: h5("lzf", rows, first),
        "HDF5 padded gzip": lambda rows, first: h5("gzip", rows, first),
        "group a sample": lambda rows, first: groups(everything if rows is None else rows, first),
    }
    written = in_turns(min(repeats, 3), **write)
    full = in_turns(min(repeats, 5), **{name: lambda one=one: one(None, None) for name, one in read.items()})
    some = in_turns(min(repeats, 5), **{name: lambda one=one: one(None, m) for name, one in read.items()})
    random = in_turns(min(repeats, 5), **{name: lambda one=one: one(picks, None) for name, one in read.items()})
    sizes = {
        ".npy": (folder / "regions.npy").stat().st_size,
        "this cache": sum(path.stat().st_size for path in stores[-1].iterdir()),
        **{name: path.stat().st_size for name, path in zip(list(write)[2:], places.values(), strict=True)},
    }
    print("| layout | MB for 1000 | write MB/s | load all | load first 2 | random samples |\n|---|---|---|---|---|---|")
    for name in write:
        cells = [f"{times[name] / times['.npy']:.1f}" for times in (full, some, random)]
        rate = regions.nbytes / 1e6 / written[name]
        print(f"| {name} | {sizes[name] / count / 1e3:.0f} | {rate:.0f} | {' | '.join(cells)} |")


def write(folder: Path, count: int, repeats: int) -> None:
    """What keeping costs, a sample: casting, packing with checksums, and putting on disk."""
    for kind, feature in (("regions", DIM), ("tokens", TOKEN_DIM), ("context", CONTEXT)):
        made = list(samples(kind, 128))
        writer = StoreWriter(folder, identity(kind, feature))
        total = repeats * 128
        rows = writer.extend(((f"{i}", f"{i:064x}") for i in range(total)), 128)
        cast, commit = [], []
        for piece in writer.missing(rows):
            started = clock()
            stored = {row: writer.stored(one) for row, one in zip(piece.rows, made, strict=True)}
            cast.append(clock() - started)
            writer.commit(piece.block, stored)
            commit.append(clock() - started - cast[-1])
        print(
            f"{kind:8} cast {statistics.median(cast) / 128 * 1e3:.3f} ms a sample, "
            f"commit {statistics.median(commit) / 128 * 1e3:.3f} ms a sample"
        )


SCALE = """
import resource, sys, time
from pathlib import Path
import numpy as np
from itin.cache import StoreWriter, open_store
from itin.cache.upkeep.info import info
parent, count, step = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
identity = {"kind": "context", "name": "bench", "weights": {}, "preprocessing": {}, "dims": {"feature": 4},
            "dtype": "float16"}
made = range(0 if step in ("open", "info") else count)
rows = [(f"sample-{i:07d}", f"{i * 2654435761 % 2**256:064x}") for i in made]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, busy = time.perf_counter(), time.process_time()
memory = []
if step == "open":
    store = open_store(next(parent.iterdir()))
    assert len(store) == count
elif step == "info":
    assert info(next(parent.iterdir())).rows == count
elif step == "index":
    store = open_store(next(parent.iterdir()))
    assert store.index([a for a, _ in rows], [b for _, b in rows]).tolist() == list(range(count))
elif step == "load":
    store = open_store(next(parent.iterdir()))
    assert store.read("context", np.arange(count)).shape == (count, 4)
else:
    writer = StoreWriter(parent, identity)
    numbers = writer.extend(rows, 128)
    pieces = writer.missing(numbers)
    if step == "fill":
        one = writer.stored({"context": np.zeros(4, np.float32)})
        for number, piece in enumerate(pieces):
            writer.commit(piece.block, dict.fromkeys(piece.rows, one))
            if number % (len(pieces) // 4) == 0:
                memory.append(int(open("/proc/self/statm").read().split()[1]) * 4 // 1024)
    if step == "finish":
        assert not pieces
        writer.finish({})
seconds, busy = time.perf_counter() - started, time.process_time() - busy
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{step:8} {seconds:6.1f} s, {busy:5.1f} of them on the processor, "
      f"{(peak - before) / 1024:5.0f} MB more at its peak" + (f"; memory on the way, MB: {memory}" if memory else ""))
"""


def scale(folder: Path, count: int) -> None:
    """Planning, filling, resuming before there is a manifest, finishing, resuming, info, opening, finding all ids."""
    print(f"{count} samples, shards of 128")
    print("plan: rows planned; fill: shards committed; resume: what is missing, without a manifest and with one;")
    print("index: rows of all ids and digests found; load: all features")
    for step in ("plan", "fill", "resume", "finish", "resume", "info", "open", "index", "load"):
        subprocess.run([sys.executable, "-c", SCALE, str(folder), str(count), step], check=True)


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "layouts", "write", "scale"))
    parser.add_argument("--count", type=int, help="samples; by default 4511, 512, -, 1000000")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to work; by default the folder for temporary files")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options = parser.parse_args()
    if FRESH not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, FRESH: str(4 << 20)})
    global clock
    clock = CLOCKS[options.clock]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.what == "load":
            load(folder, options.count or 4511, options.repeats)
        elif options.what == "layouts":
            layouts(folder, options.count or 512, options.repeats)
        elif options.what == "write":
            write(folder, 128, options.repeats)
        else:
            scale(folder, options.count or 1_000_000)


if __name__ == "__main__":
    main()
