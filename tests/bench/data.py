"""How fast archives and tables are listed and read, without decoding, and what a large set takes.

    python tests/bench/data.py list       members of a tar: ours, Python's tarfile, `tar t`
    python tests/bench/data.py read       pairs of tars: ours, webdataset; rows of Parquet: ours, pyarrow
    python tests/bench/data.py scale      plan, scan and extraction of a million pairs in 100 files: time and memory

Measurements take turns with their baselines, and the ratio of the medians is shown; on a shared machine use `--clock
cpu`. The page cache is warm. `scale --form tars|parquet` runs `itin extract` as a process of its own with encoders that
cost nothing and shows the memory that it holds as encoding begins, at the end, and at most (ru_maxrss), for two sizes,
so that what grows is seen; then it lists and reads the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itin.extract.data.datasets import open_dataset

TEXT = "a text of a post, as long as they are in the mean: “what a day at the beach” #sun"


def pictures(count: int, kilobytes: float) -> list[bytes]:
    """JPEGs of about so many kilobytes, all different."""
    side = max(8, int((kilobytes * 1024 / 0.9) ** 0.5))
    made = []
    for seed in range(count):
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=60)
        made.append(out.getvalue())
    return made


def write_tars(folder: Path, tars: int, pairs: int, images: list[bytes]) -> list[Path]:
    """Write archives as img2dataset does: an image, its text and a JSON object of each pair."""
    paths = []
    for number in range(tars):
        paths.append(folder / f"{number:05d}.tar")
        with tarfile.open(paths[-1], "w", format=tarfile.USTAR_FORMAT) as archive:
            for n in range(pairs):
                key, image = f"{number:05d}{n:05d}", images[(number * pairs + n) % len(images)]
                image += f"{number * pairs + n:012d}".encode()  # no two are equal
                values = {"key": key, "caption": TEXT, "label": "abc"[n % 3]}
                for ending, data in (("jpg", image), ("txt", TEXT.encode()), ("json", json.dumps(values).encode())):
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return paths


def turns(work: dict[str, Callable[[], int]], rounds: int, clock: Callable[[], float]) -> dict[str, tuple[float, int]]:
    """Run each work in turns; return the median seconds and the number of things done by name."""
    times: dict[str, list[float]] = {name: [] for name in work}
    done = {}
    for _ in range(rounds):
        for name, one in work.items():
            begin = clock()
            done[name] = one()
            times[name].append(clock() - begin)
    return {name: (statistics.median(times[name]), done[name]) for name in work}


def show(title: str, found: dict[str, tuple[float, int]], base: str) -> None:
    """Print a table of rates, each against the baseline."""
    print(f"\n{title}\n\n| reader | things | seconds | a second | against {base} |\n|---|---|---|---|---|")
    rate = {name: count / seconds for name, (seconds, count) in found.items()}
    for name, (seconds, count) in found.items():
        print(f"| {name} | {count} | {seconds:.3f} | {rate[name]:.0f} | {rate[name] / rate[base]:.2f} |")


def listing(options: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> None:
    show_listing(write_tars(folder, 1, options.pairs, pictures(64, options.kilobytes)), options.rounds, clock)


def show_listing(paths: list[Path], rounds: int, clock: Callable[[], float]) -> None:
    from itin.extract.data.places.opening import open_file
    from itin.extract.data.places.tar import members

    def ours() -> int:
        return sum(not one.problem for path in paths for one in members(open_file(path), path.stat().st_size))

    def theirs() -> int:
        count = 0
        for path in paths:
            with tarfile.open(path, "r:") as archive:
                count += sum(1 for _ in archive)
        return count

    def tar() -> int:
        return sum(
            subprocess.run(["tar", "tf", path], capture_output=True, check=True).stdout.count(b"\n") for path in paths
        )

    show("Members of tars, listed", turns({"itin": ours, "tarfile": theirs}, rounds, clock), "tarfile")
    begin, before = time.perf_counter(), os.times()
    count, after = tar(), os.times()
    seconds = sum(after[2:4]) - sum(before[2:4]) if clock is time.process_time else time.perf_counter() - begin
    print(f"| tar t | {count} | {seconds:.3f} | {count / seconds:.0f} | |")


def write_tables(folder: Path, files: int, pairs: int, images: list[bytes]) -> list[Path]:
    """Write Parquet files as the hub stores images: a struct of bytes and path, 1,000 rows a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"id": pa.string(), "image": kind, "text": pa.string(), "label": pa.string()})
    paths = []
    for number in range(files):
        paths.append(folder / f"{number:05d}.parquet")
        with pq.ParquetWriter(paths[-1], schema) as writer:
            for start in range(number * pairs, (number + 1) * pairs, 1000):
                rows = range(start, min(start + 1000, (number + 1) * pairs))
                cells = [{"bytes": images[n % len(images)] + f"{n:012d}".encode(), "path": None} for n in rows]
                columns = {"id": [f"{n:010d}" for n in rows], "text": [TEXT] * len(rows)}
                labels = ["abc"[n % 3] for n in rows]
                writer.write_table(pa.table({**columns, "image": cells, "label": labels}, schema))
    return paths


def reading(options: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> None:
    images = pictures(64, options.kilobytes)
    for form, write in (("tars", write_tars), ("parquet", write_tables)):
        (folder / form).mkdir()
        show_reading(form, write(folder / form, 4, options.pairs // 4, images), options.rounds, clock)


def show_reading(form: str, paths: list[Path], rounds: int, clock: Callable[[], float]) -> None:
    import pyarrow.parquet as pq
    import webdataset

    def ours() -> int:
        stream = open_dataset("webdataset" if form == "tars" else "folder", paths[0].parent).stream
        return sum(len(found.data) > 0 for found in stream.pairs(lambda *_: None))

    def theirs() -> int:
        pairs = webdataset.WebDataset(list(map(str, paths)), shardshuffle=False)
        return sum(len(pair["jpg"]) > 0 for pair in pairs)

    def batches() -> Iterator[Any]:
        for path in paths:
            yield from pq.ParquetFile(path).iter_batches(64, use_threads=False)

    def parquet() -> int:
        count = 0
        for batch in batches():
            texts = batch.column("text").to_pylist()
            for cell, _ in zip(batch.column("image").field("bytes"), texts, strict=True):
                count += len(cell.as_py()) > 0
        return count

    if form == "tars":
        show("Pairs of tars, read", turns({"itin": ours, "webdataset": theirs}, rounds, clock), "webdataset")
        return

    def rows() -> int:
        return sum(len(row["image"]["bytes"]) > 0 for batch in batches() for row in batch.to_pylist())

    readers = {"itin": ours, "pyarrow": parquet, "pyarrow, each row as a dict of Python objects": rows,
               "pyarrow, no cell taken": lambda: sum(map(len, batches()))}  # fmt: skip
    show("Rows of Parquet, read", turns(readers, rounds, clock), "pyarrow")


def scale(options: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> None:
    """Plan, extract a part and extract the rest, each as a process of its own; then list and read the same files."""
    images = pictures(64, options.kilobytes)
    title = (
        f"| pairs | files ({options.form}) | step | wall s | processor s | MiB as encoding begins | ends | at most |"
    )
    write = write_tars if options.form == "tars" else write_tables
    for pairs in (options.pairs // 10, options.pairs) if not options.once else (options.pairs,):
        root = folder / f"{pairs}"
        root.mkdir()
        paths = write(root, options.files, pairs // options.files, images)
        print(f"\n{title}\n|{'---|' * 8}", flush=True)
        for step in ("plan", "part 0/4", "the rest", "plan again"):
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, __file__, "step", "--step", step, "--form", options.form, "--folder", root],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            wall = time.perf_counter() - begin
            print(f"| {pairs} | {options.files} | {step} | {wall:.1f} | {done.stdout.splitlines()[-1]} |", flush=True)
        if options.form == "tars":
            show_listing(paths, options.rounds, clock)
        show_reading(options.form, paths, options.rounds, clock)
        shutil.rmtree(root)


class Free:
    """An encoder that costs nothing: the first bytes of a digest of its input."""

    batch_size = 32

    def __init__(self, kind: str) -> None:
        from itin.extract.encoders.contract import EncoderSpec

        dims = {"feature": 4, "max_regions": 1} if kind == "regions" else {"feature": 4}
        self.spec = EncoderSpec(kind, "free", {"random_init": 0, "sha256": "0" * 64}, {}, dims)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image.reshape(-1, 3)[0]

    def encode(self, batch: list[object]) -> list[dict[str, np.ndarray]]:
        return [self._one(one) for one in batch]

    def _one(self, one: object) -> dict[str, np.ndarray]:
        data = one.encode() if isinstance(one, str) else np.asarray(one).tobytes()
        vector = np.frombuffer(hashlib.sha256(data).digest()[:4], np.uint8).astype(np.float32)
        if self.spec.kind == "context":
            return {"context": vector}
        if self.spec.kind == "tokens":
            zero = np.zeros(1, np.int32)
            return {"tokens": vector[None], "token_ids": zero, "word_ids": zero}
        flat, none = np.zeros(1, np.float32), np.full(1, -1, np.int32)
        return {"regions": vector[None], "boxes": np.zeros((1, 4), np.float32), "scores": flat, "objects": none,
                "object_scores": flat, "attributes": none, "attribute_scores": flat}  # fmt: skip


class Memory:
    """The progress of an extraction, which looks at what the process holds as encoding begins."""

    def start(self, kind: str, total: int, done: int) -> None:
        self.begins = resident()  # that of the last kind stays

    def advance(self, kind: str, count: int) -> None:
        pass


def resident() -> float:
    """Return the memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def one_step(options: argparse.Namespace) -> None:
    from itin.extract.config import ExtractConfig
    from itin.extract.run import extract
    from itin.parts import Part

    part = Part.parse(options.step.removeprefix("part ")) if options.step.startswith("part") else None
    config = ExtractConfig(
        "webdataset" if options.form == "tars" else "folder",
        root=options.folder,
        name="d",
        cache=options.folder / "cache",
        part=part,
        plan=options.step.startswith("plan"),
        shard_size=1024,
    )
    memory = Memory()
    summary = extract(config, memory, load=lambda *_: [Free(kind) for kind in ("regions", "tokens", "context")])
    assert len(summary.scan.samples) > 0
    assert not summary.scan.rejected
    assert config.plan or all(not store.left for store in summary.stores)
    used = resource.getrusage(resource.RUSAGE_SELF)
    held = f"{memory.begins:.0f} | {resident():.0f} | {used.ru_maxrss / 1024:.0f}"
    print(f"{used.ru_utime + used.ru_stime:.1f} | {held}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("list", "read", "scale", "step"))
    parser.add_argument("--pairs", type=int, help="pairs; by default 20,000, of `scale` a million")
    parser.add_argument("--once", action="store_true", help="of `scale`, only this size, not a tenth of it before")
    parser.add_argument("--form", choices=("tars", "parquet"), default="tars", help="of `scale`")
    parser.add_argument("--files", type=int, default=100, help="of `scale`")
    parser.add_argument("--kilobytes", type=float, help="size of an image; by default 60, of `scale` 0.5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "step":
        one_step(options)
        return
    options.pairs = options.pairs or (1_000_000 if options.what == "scale" else 20_000)
    options.kilobytes = options.kilobytes or (0.5 if options.what == "scale" else 60)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        {"list": listing, "read": reading, "scale": scale}[options.what](options, Path(folder), clock)


if __name__ == "__main__":
    main()
