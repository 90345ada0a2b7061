"""Work that is killed hundreds of times by chance, beside the same undisturbed: memory, files, threads, results.

    python -m tests.long_runs extract --pairs 20000 --kills 300
    python -m tests.long_runs sweep --runs 200 --kills 300

from the repository's root. Each life is a process of its own, forked from this one, which has imported all that it
needs; it is killed after it has brought some shards or runs more, at a random instant, until there have been so many
kills or `--minutes` have passed; the last life ends by itself. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itin.cache import find_stores, open_store
from itin.cache.upkeep.verify import verify
from itin.cli import main as itin
from itin.train.sweeps.folder import Sweep

from ..features import make_cache
from ..zoo.sound import ENCODERS

POLL = 0.01
"""Seconds between two looks at a process."""

PICTURES = 200


@dataclass
class Life:
    """The largest figures of one process, as it was looked at."""

    bytes: int = 0
    files: int = 0
    threads: int = 0


@dataclass
class Lives:
    """What became of work that was killed."""

    kills: int = 0
    seconds: float = 0.0
    idle_kills: int = 0
    """Kills before the life had brought anything."""
    first: Life = field(default_factory=Life)
    """The largest figures of the first half of the lives."""
    second: Life = field(default_factory=Life)
    """Those of the second half, the last life included."""


def look(pid: int, life: Life) -> None:
    """Take the figures of a process; nothing where it has just ended."""
    try:
        told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
        life.bytes = max(life.bytes, 1024 * int(told["VmHWM"].split()[0]))
        life.threads = max(life.threads, int(told["Threads"]))
        life.files = max(life.files, files)
    except (OSError, KeyError):
        return


def start(words: Sequence[object], log: Path) -> int:
    """Fork a process that runs a command of itin."""
    if pid := os.fork():
        return pid
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        itin([str(word) for word in words], prog_name="itin", standalone_mode=True)
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    os._exit(0)


def undisturbed(words: Sequence[object], log: Path) -> tuple[Life, float]:
    """Run a command to its end; return its figures and its time."""
    began, life, pid = time.monotonic(), Life(), start(words, log)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        look(pid, life)
        time.sleep(POLL)
    return life, time.monotonic() - began


@dataclass(frozen=True)
class Kills:
    """How work is killed."""

    kills: int
    """How often at most."""
    minutes: float
    """After how many minutes a life may end by itself."""
    most: int
    """How many pieces, shards or runs, a life brings at most before it is killed."""
    rng: random.Random


def killed(words: Sequence[object], log: Path, done: Callable[[], int], how: Kills) -> Lives:
    """Run a command again and again until it has ended by itself, and kill it at random instants before."""
    rng = how.rng
    found, lives, began = Lives(), [], time.monotonic()
    while True:
        before, life, pid = done(), Life(), start(words, log)
        last = found.kills >= how.kills or time.monotonic() - began > 60 * how.minutes
        more, instant = min(rng.choice((0, 1, 1, 2, 3, 5)), how.most), rng.expovariate(20)
        at: float | None = time.monotonic() + rng.uniform(0, 1) if not more else None
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            look(pid, life)
            if at is None and not last and done() >= before + more:
                at = time.monotonic() + instant
            if at is not None and not last and time.monotonic() >= at:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(POLL)
        lives.append(life)
        if ended != (0, 0):
            assert ended[1] == 0, f"{os.waitstatus_to_exitcode(ended[1])}: {log.read_text()[-2000:]}"
            break
        found.kills += 1
        found.idle_kills += done() == before
    found.seconds = time.monotonic() - began
    half = len(lives) // 2
    found.first, found.second = (
        Life(*(max(getattr(one, name) for one in part) for name in ("bytes", "files", "threads")))
        for part in (lives[:half] or lives, lives[half:])
    )
    return found


# An extraction -------------------------------------------------------------------------------------------------------


def draw(folder: Path, pairs: int) -> None:
    """Write a table of so many pairs, on some pictures of a few pixels."""
    folder.mkdir()
    for number in range(min(PICTURES, pairs)):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label"])
        for number in range(pairs):
            words = " ".join(f"w{number * k % 997}" for k in range(1, 3 + number % 9))
            writer.writerow([number, f"{number % PICTURES}.png", f"{words} number {number}", "ab"[number % 2]])


def content(cache: Path) -> dict[str, str]:
    """The digest of all ids and values of each store, in the order of the ids."""
    found = {}
    for path in find_stores(cache / "pairs"):
        store = open_store(path)
        order = np.argsort(store.ids)
        digest = hashlib.sha256("\n".join(sorted(store.ids)).encode())
        for sample in store.samples(order):
            digest.update(sample[store.kind].tobytes())
        assert not verify(path).problems
        assert store.manifest["complete"]
        assert len(set(store.ids)) == len(store.ids)
        found[path.name] = f"{len(store)} {digest.hexdigest()}"
    return found


def extract(root: Path, pairs: int, how: Kills) -> dict[str, Any]:
    draw(root / "pairs", pairs)
    (root / "encoders.py").write_text(ENCODERS)
    os.chdir(root)

    def words(cache: Path) -> list[object]:
        encoders = ("--text-encoder", "encoders:Letters", "--context-encoder", "encoders:Colour")
        where = ("--root", root / "pairs", "--name", "pairs", "--cache", cache)
        return ["extract", "--dataset", "folder", *where, "--only", "tokens,context", *encoders, "--shard-size", 64]

    def shards() -> int:
        return sum(1 for _ in (root / "killed").glob("pairs/*/shard-*.h5"))

    quiet, seconds = undisturbed(words(root / "whole"), root / "log")
    lives = killed(words(root / "killed"), root / "log", shards, how)
    whole, other = content(root / "whole"), content(root / "killed")
    left = [path.name for path in (root / "killed").rglob(".tmp-*")]
    return told(quiet, seconds, lives, whole == other and len(whole) == 2, pairs=pairs, temporary_files=len(left))


# A sweep -------------------------------------------------------------------------------------------------------------


def sweep(root: Path, runs: int, stack: int, how: Kills) -> dict[str, Any]:
    cache = make_cache(root / "cache", 60)
    os.chdir(root)

    def words(out: Path) -> list[object]:
        if (out / "sweep.json").exists():
            return ["sweep", "--resume", out, "--cache", cache, "--device", "cpu", "--workers", 1, "--stack", stack]
        axes = ["--lr", "0.01,0.02,0.03,0.05", "--seeds", max(1, runs // 4)]
        head = f"--head text-only --d 4 --hidden 4 --epochs 2 --batch-size 16 --workers 1 --stack {stack} --device cpu"
        return ["sweep", "--cache", cache, "--out", out, *axes, *head.split(), "--plan"]

    for out in ("whole", "killed"):
        undisturbed(words(root / out), root / "log")
    quiet, seconds = undisturbed(words(root / "whole"), root / "log")

    def done() -> int:
        return sum(1 for path in (root / "killed" / "runs").glob("*") if not path.name.startswith("."))

    lives = killed(words(root / "killed"), root / "log", done, how)
    tables = [Sweep(root / out).results().sort_values("key") for out in ("whole", "killed")]
    assert tables[0]["key"].tolist() == tables[1]["key"].tolist()
    finished = set(tables[1]["status"]) == {"done"} and len(tables[1]) == runs
    apart = {
        name: float(np.abs(tables[0][name].to_numpy() - tables[1][name].to_numpy()).max())
        for name in ("val_loss", "val_accuracy", "best_epoch")
    }
    same = finished and apart["val_loss"] < 1e-5 and not apart["val_accuracy"] and not apart["best_epoch"]
    return told(quiet, seconds, lives, same, runs=runs, apart=apart, status=sorted(set(tables[1]["status"])))


def told(quiet: Life, seconds: float, lives: Lives, same: bool, **more: Any) -> dict[str, Any]:
    return {**more, "same": same, "undisturbed": asdict(quiet), "undisturbed_seconds": seconds, **asdict(lives)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("extract", "sweep"))
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes after which the next life may end")
    parser.add_argument("--most", type=int, default=5, help="shards or runs that a life brings at most before the kill")
    parser.add_argument("--stack", type=int, default=4, help="runs of a sweep that are trained together")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import itin.commands.extract
    import itin.commands.sweep
    import itin.extract.run
    import itin.train.sweeps.run  # noqa: F401 - what the lives are forked with

    how = Kills(given.kills, given.minutes, given.most, random.Random(given.seed))
    with tempfile.TemporaryDirectory(prefix="long-") as folder:
        root = Path(folder).resolve()
        if given.work == "extract":
            print(json.dumps(extract(root, given.pairs, how)), flush=True)
        else:
            print(json.dumps(sweep(root, given.runs, given.stack, how)), flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
