"""What the tests on real schedulers share: a data set, a submission, and the account of what was made how often."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from itin.cache import open_store, read_table
from itin.cluster import submission as submissions
from itin.cluster.submission import Submission
from itin.extract.data.datasets import open_dataset

COUNTED = Path(__file__).parent / "slurm" / "counted.py"
KINDS = ("regions", "tokens", "context")


@dataclass(frozen=True)
class Account:
    """What became of a submission."""

    wanted: int
    """Features, over all kinds."""
    lost: int
    """Features that are neither committed nor in quarantine."""
    again: int
    """Features that were handed to an encoder, more than once."""


@dataclass
class Job:
    """A data set and where its features go.

    Args:
        root: the data set in MVSA's layout.
        folder: an empty folder for the cache, the counts and the encoders.
        shard: samples a shard.
        limit: samples that are wanted.
        variables: more of the environment in which it is submitted.
        together: so many tasks begin to encode at the same time, however long each took to start.
        cheap: whether cheap encoders take the place of untrained real ones, which load for seconds in every process.
    """

    root: Path
    folder: Path
    shard: int = 16
    limit: int = 1000
    variables: dict[str, str] = field(default_factory=dict)
    together: int = 0
    cheap: bool = True

    def __post_init__(self) -> None:
        self.cache, self.counts, bert = (self.folder / name for name in ("cache", "counts", "bert"))
        for path in (self.cache, self.counts, bert):
            path.mkdir(parents=True)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        (bert / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
        encoders = ["--regions", "grid-resnet18", "--text-encoder", str(bert), "--random-init", "0"]
        where = ["--dataset", "mvsa-single", "--root", str(self.root), "--cache", str(self.cache)]
        size = ["--shard-size", str(self.shard), "--max-regions", "4", "--workers", "1", "--batch-size", "4"]
        self.words = [*where, *encoders, *size, "--limit", str(self.limit), "--labelled-only"]

    def environment(self, delay: float = 0.0, untied: int | None = None) -> dict[str, str]:
        """The environment in which jobs count, and take `delay` seconds a sample."""
        more = {} if untied is None else {"ITIN_UNTIED": str(untied)}
        own = {"ITIN_COUNTS": str(self.counts), "ITIN_DELAY": str(delay), "ITIN_TOGETHER": str(self.together)}
        if self.cheap:
            more["ITIN_CHEAP"] = str(Path(__file__).parent)
        return {**os.environ, "OMP_NUM_THREADS": "1", **own, **more, **self.variables}

    def command(self, *options: str) -> list[str]:
        """`itin cluster submit` of this job."""
        return [sys.executable, str(COUNTED), "cluster", "submit", *options, "--", "extract", *self.words]

    def submit(self, *options: str, delay: float = 0.0, code: int = 0) -> str:
        """Submits and returns what was printed."""
        done = subprocess.run(
            self.command(*options),
            env=self.environment(delay),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    @property
    def dataset(self) -> Path:
        """The data set's folder in the cache."""
        return self.cache / "mvsa-single"

    def submissions(self) -> list[Submission]:
        """All submissions, oldest first."""
        return [submissions.read(folder) for folder in submissions.find(self.cache)]

    def handed_over(self) -> Counter[tuple[str, str]]:
        """(store, row) -> how often it was handed to an encoder, over all processes."""
        counted: Counter[tuple[str, str]] = Counter()
        for path in self.counts.glob("*.txt"):
            for line in path.read_text().splitlines():
                _, store, row = line.split()
                counted[store, row] += 1
        return counted

    def workers(self) -> list[int]:
        """Processes that encode now."""
        found = [int(path.stem) for path in self.counts.glob("*.txt")]
        return sorted(pid for pid in found if Path(f"/proc/{pid}").exists())

    def committed(self) -> int:
        """Shards that are there."""
        return len(list(self.dataset.glob("*/shard-*.h5")))

    def wait(self, ready: Callable[[], bool], seconds: float = 240) -> float:
        """Waits until something is so; returns the time when it was."""
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"nothing came of it in {seconds} s\n{self.logs()}"
            time.sleep(0.2)
        return time.time()

    def complete(self) -> bool:
        """Whether every store has its manifest."""
        return len(list(self.dataset.glob("*/manifest.json"))) == len(KINDS)

    def logs(self) -> str:
        """All logs, for the message of a failed test."""
        paths = sorted(self.dataset.glob("cluster/*/logs/*"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in paths)

    def check(self, quarantined: int = 0) -> Account:
        """Every sample is committed exactly once, or in quarantine: so many images are."""
        table = read_table(self.dataset).samples
        wanted = set(table["id"][: self.limit])
        lost = 0
        for kind in KINDS:
            (path,) = self.dataset.glob(f"{kind}-*")
            store = open_store(path)
            assert len(store.ids) == len(set(store.ids))
            assert set(store.ids) <= wanted
            refused = {row["id"] for row in store.manifest["quarantined"]} & wanted
            assert len(refused) == (0 if kind == "tokens" else quarantined)
            lost += len(wanted - refused - set(store.ids))
        counted = self.handed_over()
        return Account(len(wanted) * len(KINDS), lost, sum(counted.values()) - len(counted))

    def wall(self, started: float) -> float:
        """Seconds from `started` to the last manifest."""
        return max(path.stat().st_mtime for path in self.dataset.glob("*/manifest.json")) - started


def with_a_bad_image(root: Path, folder: Path) -> Path:
    """The same data set, but that its first image is cut short."""
    (folder / "data").mkdir(parents=True)
    for path in (root / "labelResultAll.txt", *(root / "data").iterdir()):
        (folder / path.relative_to(root)).symlink_to(path)
    image = open_dataset("mvsa-single", folder, labelled_only=True).entries[0].image
    content = image.read_bytes()
    image.unlink()
    image.write_bytes(content[: len(content) // 2])
    return folder


def same_features(one: Path, other: Path) -> None:
    """The stores of two caches hold the same features, whoever made them."""
    for kind in KINDS:
        (left,), (right,) = (list((cache / "mvsa-single").glob(f"{kind}-*")) for cache in (one, other))
        first, second = open_store(left), open_store(right)
        assert left.name == right.name
        rows, others = first.index(first.ids), second.index(first.ids)
        if kind == "tokens":
            made, expected = first.read_ragged(rows), second.read_ragged(others)
            for name, values in made.items():
                np.testing.assert_allclose(values, expected[name], atol=2e-2, rtol=2e-2)
        else:
            name = "context" if kind == "context" else "regions"
            np.testing.assert_allclose(first.read(name, rows), second.read(name, others), atol=2e-2, rtol=2e-2)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Sends a signal to one process."""
    os.kill(pid, number)


def note(name: str, kills: int, account: Account, wall: float) -> None:
    """Prints a line of the table in docs/clusters.md, and keeps it in $ITIN_FIGURES if that is set."""
    line = json.dumps({"run": name, "kills": kills, **asdict(account), "wall": round(wall, 1)})
    print(line)
    if os.environ.get("ITIN_FIGURES"):
        with Path(os.environ["ITIN_FIGURES"]).open("a") as file:
            file.write(line + "\n")


def counted_itin() -> str:
    """The command by which jobs call the counting itin."""
    return shlex.join([sys.executable, str(COUNTED)])
