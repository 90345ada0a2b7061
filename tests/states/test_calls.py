"""Each system call that writes in turn fails, finds the disk full, or is the last before a kill.

After each the promise holds, an error names its cause, and the next run completes to the undisturbed result.
A sample of the calls by default, every one in the slow suite.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..keeper import EXIT_CODES
from ..zoo.damage import flip
from ..zoo.keeper import timeless
from .injection import Ended, Fault, How, Nursery
from .promise import Promise
from .world import NAME, Pair, World, stores_in

HEAD = ("--head", "text-only", "--d", 4, "--k", 4, "--hidden", 4, "--epochs", 1, "--batch-size", 8, "--device", "cpu")
RECIPE = HEAD[: HEAD.index("--device")]
KINDS = (Fault(How.FAIL), Fault(How.FAIL, error=errno.ENOSPC), Fault(How.FULL), Fault(How.KILL), Fault(How.TORN))
SAMPLE = 6
"""Calls of each subject that are tried by default."""

Words = list[object]
Result = dict[str, bytes]


def files(folder: Path, but: tuple[str, ...] = ()) -> Result:
    """The files below a folder by path, without times, and without what killed writers leave."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: timeless(path.read_bytes())
        for name, path in found.items()
        if not any(part.startswith(".tmp-") for part in path.parts) and path.name not in but
    }


def state(folder: Path) -> str:
    """All files and folders below a folder in one digest, without times and the chance in temporary names."""
    found = []
    for path in folder.rglob("*"):
        name = re.sub(r"\.tmp-[^/]*", ".tmp-", path.relative_to(folder).as_posix())
        found.append((name, timeless(path.read_bytes()) if path.is_file() else b""))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


@dataclass(frozen=True)
class Subject:
    """A command whose calls are tried.

    Args:
        words: the command.
        prepare: what it needs, done to a world whose main cache holds two thirds of the pairs.
        again: the commands that complete what it had begun, after it has ended in some way.
        result: what is there in the end.
        slow: whether it is left to the slow suite.
        needs: a package that it needs.
    """

    words: Callable[[World], Words]
    prepare: Callable[[World, Nursery], None] = lambda world, nursery: None
    again: Callable[[World], list[Words]] | None = None
    result: Callable[[World], Result] = lambda world: files(world.main)
    slow: bool = False
    needs: str = ""


def store(world: World, kind: str = "context") -> Path:
    return next(path for path in stores_in(world.main) if path.name.startswith(kind))


def grow(world: World, nursery: Nursery) -> None:
    for number in range(3):
        world.pairs[f"new {number}"] = Pair(f"a new pair {number}", (9, 9, number))
    world.write()


def fill_away(world: World, nursery: Nursery) -> None:
    grow(world, nursery)
    nursery.warm(*world.extract(world.away, 1))


def damage(world: World, nursery: Nursery) -> None:
    """A shard, a plan and a record of the quarantine in one store, and a shard under a wrong name in the other."""
    tokens, context = store(world, "tokens"), store(world)
    for path in (context / "shard-00001.h5", context / "plan.json", next(context.glob("quarantine/*"))):
        flip(path, path.stat().st_size // 2)
    (tokens / "shard-00001.h5").rename(tokens / "shard-00001 (1).h5")


def repair(world: World) -> Words:
    return ["cache", "verify", "--repair", world.main / NAME]


def removal(world: World) -> Words:
    return ["cache", "rm", "--yes", world.main / NAME]


def removal_again(world: World) -> list[Words]:
    return [removal(world)] if files(world.main) else []


def target(world: World, name: str) -> Path:
    return world.root / "out" / name


def exported(name: str, form: str, needs: str = "", slow: bool = True) -> Subject:
    """An export; where it was through with it, it is not made again."""

    def words(world: World) -> Words:
        return ["cache", "export", store(world, "tokens"), target(world, name), "--to", form]

    def prepare(world: World, nursery: Nursery) -> None:
        target(world, name).parent.mkdir()

    def again(world: World) -> list[Words]:
        return [] if target(world, name).exists() else [words(world)]

    return Subject(words, prepare, again, lambda world: files(world.root / "out"), slow, needs)


def importing(world: World) -> Words:
    return ["cache", "import", target(world, "a.npz"), "--from", "npz", "--kind", "tokens", "--cache", world.main]


def export_first(world: World, nursery: Nursery) -> None:
    target(world, "a.npz").parent.mkdir()
    nursery.warm("cache", "export", store(world, "tokens"), target(world, "a.npz"))


def training(world: World) -> Words:
    return ["train", "--cache", world.main, *HEAD, "--out", target(world, "run")]


def train_again(world: World) -> list[Words]:
    return [] if target(world, "run").exists() else [training(world)]


def sweeping(world: World) -> Words:
    return ["sweep", "--cache", world.main, *RECIPE, *SWEEP, "--seeds", 2, "--out", target(world, "sweep")]


SWEEP = ("--device", "cpu", "--stack", 1)
"""One run at a time, so that a resumed sweep computes the same bytes."""


def sweep_again(world: World) -> list[Words]:
    """Whatever has happened, it goes on with --resume or begins."""
    there = (target(world, "sweep") / "sweep.json").exists()
    resume: Words = ["sweep", "--resume", target(world, "sweep"), "--retry-failed", "--cache", world.main, *SWEEP]
    return [resume if there else sweeping(world)]


def runs_of(world: World) -> Result:
    """Configuration, weights and scores of each run by its key; of the table what does not depend on time."""
    sweep, found = target(world, "sweep"), {}
    for run in sorted((sweep / "runs").iterdir()):
        if not run.name.startswith(".tmp-"):
            key = json.loads((run / "config.json").read_bytes())["key"]
            assert key not in found
            names = ("config.json", "metrics.json", "model.safetensors", "predictions.csv")
            found[key] = b"".join((run / name).read_bytes() for name in names)
    rows = (sweep / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + len(found)
    left = {path.name for path in sweep.iterdir() if not path.name.startswith(".tmp-")}
    assert left - {"results.parquet"} == {".lock", "failed", "results.csv", "runs", "sweep.json"}
    assert not list((sweep / "failed").glob("[!.]*"))
    return found


SUBJECTS = {
    "extract": Subject(lambda world: world.extract(world.away, 1), result=lambda world: files(world.root / "away")),
    "extract new rows": Subject(lambda world: world.extract(world.main, 1), grow),
    "merge": Subject(lambda world: ["cache", "merge", world.away / NAME, "--into", world.main / NAME], fill_away),
    "repair": Subject(
        repair, damage, lambda world: [repair(world), world.extract(world.main, 1, "--retry-quarantined")]
    ),
    "rm": Subject(removal, again=removal_again),
    "export hdf5": exported("a.h5", "hdf5", slow=False),
    "export npz-files": exported("folder", "npz-files", slow=False),
    "export hdf5-groups": exported("a.hdf5", "hdf5-groups"),
    "export npz": exported("a.npz", "npz"),
    "export safetensors": exported("a.safetensors", "safetensors"),
    "export mmsa-fet": exported("a.pkl", "mmsa-fet"),
    "export parquet": exported("a.parquet", "parquet", "pyarrow"),
    "export arrow": exported("a.arrow", "arrow", "pyarrow"),
    "export lmdb": exported("lmdb", "lmdb", "lmdb"),
    "export datasets": exported("datasets", "datasets", "datasets"),
    "import": Subject(importing, export_first),
    "train": Subject(
        training, again=train_again, result=lambda world: files(world.root / "out", ("environment.json", "history.csv"))
    ),
    "sweep": Subject(sweeping, again=sweep_again, result=runs_of),
}


def unsynced(calls: list[str]) -> list[str]:
    """The names that were given, or written to, without a sync of the folder or the file: a power cut may take them."""
    left = []
    for number, (call, path) in enumerate(one.split(" ", 1) for one in calls):
        if ".features-" in path:  # a sweep's scratch, which the next call removes
            continue
        if call in ("link", "rename", "mkdir") and not Path(path).name.startswith(".tmp-"):
            left += [path] * (f"fsync {Path(path).parent}" not in calls[number:])
        elif call in ("write", "pwrite", "truncate"):
            left += [path] * (f"fsync {path}" not in calls[number:])
    return left


@dataclass
class Trial:
    """A subject, the world that it starts from, and what an undisturbed run does.

    Args:
        world: where it is tried; made anew from `base` each time.
    """

    subject: Subject
    nursery: Nursery
    base: Path
    world: World
    calls: list[str] = field(default_factory=list)
    result: Result = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    """The states from which the next run has completed the work: many faults leave the same files."""

    def fresh(self) -> Promise:
        """The world as it was, and the promise about what is committed in it."""
        shutil.rmtree(self.world.root, ignore_errors=True)
        shutil.copytree(self.base, self.world.root)
        promise = Promise(self.world)
        if self.subject.words is not repair:
            promise.keep()
        return promise

    def complete(self, first: Ended) -> None:
        """Run what completes the work; it ends well."""
        for words in [self.subject.words(self.world)] if self.subject.again is None else self.subject.again(self.world):
            done = self.nursery.run(words)
            assert done.code == 0, f"{first}\nand then {done.said}"

    def undisturbed(self) -> None:
        self.fresh()
        words = self.subject.words(self.world)
        self.nursery.warm(*words)
        self.fresh()
        self.calls = self.nursery.calls(words)
        if self.subject.words is repair:
            self.complete(Ended(0, ""))
        self.result = self.subject.result(self.world)

    def fails(self, fault: Fault) -> None:
        """Run it with a fault, and check all that must hold."""
        promise = self.fresh()
        done = self.nursery.run(self.subject.words(self.world), fault)
        what = f"{fault} of {len(self.calls)}, {self.calls[fault.at - 1]}:\n{done.said}"
        assert "Traceback" not in done.said, what
        if fault.how in (How.KILL, How.TORN):
            assert done.killed, what
        else:
            assert done.code in EXIT_CODES, what
            if done.code:
                assert re.search(r"Error: |runs of .* failed|quarantine", done.said), what
        removed = stores_in(self.world.main) if self.subject.words is removal else []
        if self.subject.words is not repair:
            promise.keep([*removed, *promise.committed] if removed or self.subject.words is removal else [])
            promise.check()
        left = state(self.world.root)
        if left in self.completed:
            return
        self.complete(done)
        promise.keep([*promise.committed] if self.subject.words is removal else [])
        found = self.subject.result(self.world)
        assert found.keys() == self.result.keys(), what
        assert [name for name in found if found[name] != self.result[name]] == [], what
        self.completed.add(left)


@pytest.fixture(scope="module")
def base(place: Path, nursery: Nursery) -> World:
    """A world whose pairs are in the cache, one of them in quarantine."""
    pairs = {f"id {n}": Pair(f"pair {'x' * (n % 5 + 1)} {n}", (n, 2 * n, 7)) for n in range(12)}
    world = World(place / "worlds" / "base", place / "here", pairs)
    world.pairs["id 4"].state = "cut"
    world.write()
    nursery.warm(*world.extract(world.main, 1))
    return world


def trial(name: str, base: World, nursery: Nursery, place: Path) -> Trial:
    subject = SUBJECTS[name]
    if subject.needs and find_spec(subject.needs) is None:
        pytest.skip(f"needs {subject.needs}")
    own = place / "worlds" / "now"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(base.root, own)
    world = World.__new__(World)
    vars(world).update({**vars(base), "root": own, "pairs": dict(base.pairs)})
    world.write()
    nursery.warm(*world.extract(world.main, 1))  # the data set's folder is another now
    subject.prepare(world, nursery)
    kept = place / "bases" / name.replace(" ", "-")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(own, kept)
    made = Trial(subject, nursery, kept, world)
    made.undisturbed()
    return made


def faults(count: int) -> Iterator[Fault]:
    """A sample: calls over the whole length, each kind of fault in turn."""
    for number in range(SAMPLE):
        kind = KINDS[number % len(KINDS)]
        yield Fault(kind.how, 1 + (count - 1) * number // (SAMPLE - 1), kind.error)


@pytest.mark.parametrize("name", [name for name, subject in SUBJECTS.items() if not subject.slow])
def test_a_sample_of_the_calls(name: str, base: World, nursery: Nursery, place: Path) -> None:
    made = trial(name, base, nursery, place)
    assert not unsynced(made.calls)
    for fault in faults(len(made.calls)):
        made.fails(fault)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_call(name: str, base: World, nursery: Nursery, place: Path) -> None:
    """All failures are told at the end, so that one does not hide the others."""
    made, wrong, tried, started = trial(name, base, nursery, place), [], 0, time.monotonic()
    for at, call in enumerate(made.calls, 1):
        for kind in KINDS:
            if kind.how == How.TORN and not call.startswith(("write", "pwrite")):
                continue
            tried += 1
            try:
                made.fails(Fault(kind.how, at, kind.error))
            except AssertionError as error:
                wrong.append(f"{name}: {error}"[:3000])
    print(
        f"{name}: {len(made.calls)} calls, {tried} faults, {len(made.completed)} different states after them, "
        f"{len(wrong)} wrong, {time.monotonic() - started:.0f} s"
    )
    if os.environ.get("ITIN_STATES_LOG"):
        with Path(os.environ["ITIN_STATES_LOG"]).open("a") as log:
            log.write("\n\n".join([*wrong, ""]))
    assert not wrong, "\n\n".join(wrong)
