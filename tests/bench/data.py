"""How fast archives and tables are listed and read, without decoding, and what a large set takes.

    python tests/bench/data.py list       members of a tar: ours, Python's tarfile, `tar t`
    python tests/bench/data.py read       pairs of tars: ours, webdataset; rows of Parquet: ours, pyarrow
    python tests/bench/data.py scale      plan, scan and extraction of a million pairs in 100 tars: time and memory

Measurements take turns with their baselines, and the ratio of the medians is shown; on a shared machine use `--clock
cpu`. The page cache is warm. `scale` runs `itin extract` as a process of its own with encoders that cost nothing and
shows the largest memory that it held (ru_maxrss) for two sizes, so that what grows is seen.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    from itin.extract.data.places.opening import open_file
    from itin.extract.data.places.tar import members

    (path,) = write_tars(folder, 1, options.pairs, pictures(64, options.kilobytes))

    def ours() -> int:
        return sum(1 for one in members(open_file(path), path.stat().st_size) if not one.problem)

    def theirs() -> int:
        with tarfile.open(path, "r:") as archive:
            return sum(1 for _ in archive)

    def tar() -> int:
        done = subprocess.run(["tar", "tf", path], capture_output=True, check=True)
        return done.stdout.count(b"\n")

    show("Members of a tar, listed", turns({"itin": ours, "tarfile": theirs}, options.rounds, clock), "tarfile")
    begin = time.perf_counter()
    count = tar()
    print(f"| tar t (wall time) | {count} | {time.perf_counter() - begin:.3f} | |")


def reading(options: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import webdataset

    images = pictures(64, options.kilobytes)
    paths = write_tars(folder, 4, options.pairs // 4, images)
    columns: dict[str, list[object]] = {"image": [], "text": []}
    for n in range(options.pairs):
        columns["image"].append({"bytes": images[n % 64] + b"%d" % n, "path": None})
        columns["text"].append(TEXT)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(columns["image"], kind), "text": columns["text"]})
    (folder / "p").mkdir()
    pq.write_table(table, folder / "p" / "t.parquet", row_group_size=1000)
    del table, columns

    def ours(kind: str, root: Path) -> int:
        stream = open_dataset(kind, root).stream
        return sum(len(found.data) > 0 for found in stream.pairs(lambda *_: None))

    def theirs() -> int:
        urls = [str(path) for path in paths]
        pairs = webdataset.WebDataset(urls, shardshuffle=False)
        return sum(len(pair["jpg"]) > 0 for pair in pairs)

    def parquet() -> int:
        count = 0
        for batch in pq.ParquetFile(folder / "p" / "t.parquet").iter_batches(64, use_threads=False):
            texts = batch.column("text").to_pylist()
            for cell, _ in zip(batch.column("image").field("bytes"), texts, strict=True):
                count += len(cell.as_py()) > 0
        return count

    def batches() -> int:
        file = pq.ParquetFile(folder / "p" / "t.parquet")
        return sum(len(batch) for batch in file.iter_batches(64, use_threads=False))

    found = turns({"itin": lambda: ours("webdataset", folder), "webdataset": theirs}, options.rounds, clock)
    show("Pairs of tars, read", found, "webdataset")
    readers = {"itin": lambda: ours("folder", folder / "p"), "pyarrow": parquet, "pyarrow, no cell taken": batches}
    found = turns(readers, options.rounds, clock)
    show("Rows of Parquet, read", found, "pyarrow")


def scale(options: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> None:
    images = pictures(64, options.kilobytes)
    print("\n| pairs | tars | step | wall s | processor s | largest memory, MiB |\n|---|---|---|---|---|---|")
    for pairs in (options.pairs // 10, options.pairs) if not options.once else (options.pairs,):
        root = folder / f"{pairs}"
        root.mkdir()
        write_tars(root, options.tars, pairs // options.tars, images)
        for step in ("plan", "part 0/4", "scan again")[: 2 if options.once else 3]:
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, __file__, "step", "--step", step, "--folder", root],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            cpu, memory = done.stdout.split()[-2:]
            wall = time.perf_counter() - begin
            print(f"| {pairs} | {options.tars} | {step} | {wall:.1f} | {cpu} | {memory} |", flush=True)
        for path in root.glob("*.tar"):
            path.unlink()


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


def one_step(options: argparse.Namespace) -> None:
    from itin.extract.config import ExtractConfig
    from itin.extract.run import extract
    from itin.parts import Part

    part = Part.parse(options.step.removeprefix("part ")) if options.step.startswith("part") else None
    config = ExtractConfig(
        "webdataset", root=options.folder, name="d", cache=options.folder / "cache", part=part, plan=part is None,
        shard_size=1024,
    )  # fmt: skip
    summary = extract(config, load=lambda *_: [Free(kind) for kind in ("regions", "tokens", "context")])
    assert len(summary.scan.samples) > 0
    assert not summary.scan.rejected
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{used.ru_utime + used.ru_stime:.1f} {used.ru_maxrss / 1024:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("list", "read", "scale", "step"))
    parser.add_argument("--pairs", type=int, help="pairs; by default 20,000, of `scale` a million")
    parser.add_argument("--once", action="store_true", help="of `scale`, only this size, and no second scan")
    parser.add_argument("--tars", type=int, default=100)
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
