"""What an extraction makes of its slowest part: decoding, encoding and committing go on beside one another.

    python tests/bench/overlap.py --root ../shared/data/mvsa-single-sample

The encoder only waits, so many milliseconds an image, as for a GPU, and returns features of the real size (36 regions
of 2048 numbers). Each part is measured alone and then all of them together, in turns. Shown are images a second, the
rate of all together as a share of the slowest part's (to reach: 0.95), and the processor time of all, in milliseconds
an image. Where there are fewer images than asked for, they come again under other ids.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from PIL import Image

from itin.cache import StoreWriter
from itin.extract.config import ExtractConfig
from itin.extract.data.samples import Sample
from itin.extract.data.survey import open_config, survey
from itin.extract.encoders.contract import Arrays, EncoderSpec
from itin.extract.fill import fill, image_as_scanned
from itin.extract.jpeg import faster_decoder
from itin.extract.lanes import Lane
from itin.extract.progress import SilentProgress

REGIONS, DIM = 36, 2048


class WaitingEncoder:
    """Waits for a time that grows with the batch, and returns the same features for every image."""

    def __init__(self, milliseconds: float, batch_size: int) -> None:
        self.batch_size = batch_size
        self._seconds = milliseconds / 1000
        dims = {"feature": DIM, "max_regions": REGIONS}
        self.spec = EncoderSpec("regions", "waiting", {"random_init": 0}, {}, dims)
        rng = np.random.default_rng(0)
        floats = {name: rng.random(REGIONS, np.float32) for name in ("scores", "object_scores", "attribute_scores")}
        names = {name: np.zeros(REGIONS, np.int32) for name in ("objects", "attributes")}
        regions = np.maximum(rng.standard_normal((REGIONS, DIM), np.float32), 0)
        self.features: Arrays = {"regions": regions, "boxes": rng.random((REGIONS, 4), np.float32), **floats, **names}

    def prepare(self, image: np.ndarray) -> tuple[int, ...]:
        """Return the size: photos are not resized."""
        return image.shape

    def encode(self, batch: list[Any]) -> list[Arrays]:
        """Wait, and return the features."""
        time.sleep(self._seconds * len(batch))
        return [self.features] * len(batch)


class Bench:
    """The parts of an extraction, each alone, and all together."""

    def __init__(self, samples: Sequence[Sample], options: argparse.Namespace, milliseconds: float) -> None:
        self.samples, self.options = samples, options
        self.encoder = WaitingEncoder(milliseconds, options.batch_size)

    def decode(self) -> None:
        """Decode all images, in threads."""
        with ThreadPoolExecutor(self.options.workers) as pool:
            for _ in pool.map(lambda sample: image_as_scanned(sample).shape, self.samples):
                pass

    def encode(self) -> None:
        """Only wait."""
        for begin in range(0, len(self.samples), self.encoder.batch_size):
            self.encoder.encode(list(self.samples[begin : begin + self.encoder.batch_size]))

    def commit(self) -> None:
        """Commit the features of all images."""
        with tempfile.TemporaryDirectory(dir=self.options.folder) as folder:
            writer, rows = self._store(Path(folder))
            size = self.options.shard_size
            for begin in range(0, len(rows), size):
                stored = {int(row): writer.stored(self.encoder.features) for row in rows[begin : begin + size]}
                writer.commit(begin // size, stored)

    def all(self) -> None:
        """Extract."""
        with tempfile.TemporaryDirectory(dir=self.options.folder) as folder:
            writer, rows = self._store(Path(folder))
            positions = np.arange(len(self.samples))
            lane = Lane(self.encoder, writer, positions, rows, SilentProgress())  # type: ignore[arg-type]
            fill([lane], self.samples, self.options.workers, Event(), shuffled=False)
            assert (lane.made, lane.left) == (len(self.samples), 0)

    def _store(self, folder: Path) -> tuple[StoreWriter, np.ndarray]:
        spec = self.encoder.spec
        identity = {
            **{"kind": spec.kind, "name": spec.name, "weights": {}, "preprocessing": {}},
            **{"dims": spec.dims, "dtype": "float16"},
        }
        writer = StoreWriter(folder, identity)
        rows = writer.extend([(sample.id, sample.image_sha256) for sample in self.samples], self.options.shard_size)
        return writer, np.array(rows)


def seconds(work: Callable[[], None]) -> float:
    """Return the seconds that a work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def repeated(samples: Sequence[Sample], number: int) -> list[Sample]:
    """Return so many samples; those after the last are the first ones again, under other ids."""
    times = enumerate(itertools.chain.from_iterable(itertools.repeat(samples)))
    return [replace(sample, id=f"{sample.id}-{at}") for at, sample in itertools.islice(times, number)]


def resized(root: Path, folder: Path, factor: float) -> Path:
    """Return a copy of a data set whose images are so many times as wide and as high."""
    to = folder / f"x{factor:g}"
    (to / "data").mkdir(parents=True)
    for path in root.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    for path in (root / "data").iterdir():
        if path.suffix == ".jpg":
            with Image.open(path) as image:
                size = tuple(round(side * factor) for side in image.size)
                image.convert("RGB").resize(size).save(to / "data" / path.name, quality=90)  # type: ignore[arg-type]
        else:
            (to / "data" / path.name).write_bytes(path.read_bytes())
    return to


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a folder of MVSA-Single")
    parser.add_argument("--number", type=int, default=1024, help="images, in all")
    parser.add_argument("--milliseconds", default="2,5,20", help="that the encoder waits an image")
    parser.add_argument("--factors", default="1,2.67", help="sizes of the images, as multiples of their own")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--shard-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the stores are written; by default the system's")
    options = parser.parse_args()
    print("| images | ms an image | decode | encode | commit | all together | of the slowest | processor ms |")
    print("|---|---|---|---|---|---|---|---|")
    for factor in map(float, options.factors.split(",")):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            root = options.root if factor == 1 else resized(options.root, Path(folder), factor)
            data, cache = open_config(ExtractConfig("mvsa-single", root=root, cache=Path(folder) / "cache"))
            samples = survey(data, cache, options.workers, lambda _: None).scan.samples
            samples = repeated(samples, options.number)
            pixels = statistics.median(sample.width * sample.height for sample in samples) / 1e6
            for milliseconds in map(float, options.milliseconds.split(",")):
                bench = Bench(samples, options, milliseconds)
                parts = {"decode": bench.decode, "encode": bench.encode, "commit": bench.commit, "all": bench.all}
                times: dict[str, list[float]] = {name: [] for name in parts}
                for _ in range(options.rounds):
                    for name, work in parts.items():
                        begun = time.process_time()
                        times[name].append(seconds(work))
                        busy = time.process_time() - begun  # at last of all together
                rates = {name: len(samples) / statistics.median(each) for name, each in times.items()}
                together = rates.pop("all")
                shown = [f"{pixels:.2f} megapixels", f"{milliseconds:g}", *(f"{rate:.0f}" for rate in rates.values())]
                shares = [f"{together / min(rates.values()):.2f}", f"{busy / len(samples) * 1000:.2f}"]
                print(f"| {' | '.join([*shown, f'{together:.0f}', *shares])} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    decoder = "simplejpeg" if faster_decoder() else "Pillow"
    print(
        f"\n{len(samples)} images, decoded by {decoder}, in shards of {options.shard_size}; peak memory {peak:.0f} MB"
    )


if __name__ == "__main__":
    main()
