"""The machine of states: all that may happen to a cache, in any order, and what must be true after each step."""

from __future__ import annotations

import errno
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from itin.cache import open_store
from itin.cache.upkeep.find import is_store
from itin.cache.upkeep.verify import verify
from itin.cli import main as itin

from ..keeper import EXIT_CODES
from ..zoo.keeper import bound_by_permissions
from .injection import Ended, Fault, How, Nursery
from .promise import Job, Promise, is_unfinished, is_unplanned
from .world import NAME, Pair, World, rows_of, stores_in

DAY = 24 * 3600
FORMS = {"h5": "hdf5", "npz": "npz", "safetensors": "safetensors"}

caches = st.sampled_from(["main", "main", "main", "away"])
factors = st.sampled_from([1, 1, 1, 2])
faults = st.builds(
    Fault,
    st.sampled_from([How.KILL, How.TORN, How.FULL, How.FAIL, How.JUMP]),
    st.one_of(st.integers(1, 12), st.integers(1, 80)),
    st.sampled_from([errno.EIO, errno.ENOSPC]),
    st.sampled_from([-2 * DAY, 2 * DAY]),
)
jobs = st.one_of(
    st.tuples(st.just("extract"), caches, factors),
    st.tuples(st.just("part"), caches, factors),
    st.tuples(st.sampled_from(["merge", "repair", "rm", "export", "import"]), caches, factors),
)


def lost_plan(store: Path) -> str:
    """What is said of a store whose shards do not show how their rows were planned."""
    return f"the plan of {store} cannot be made again from its shards"


class States(RuleBasedStateMachine):
    """A data set, its caches, and commands on them.

    Args:
        nursery: runs commands under faults.
        place: an empty folder for worlds, and the folder with the encoders.
        count: called after every step.
    """

    def __init__(self, nursery: Nursery, place: Path, count: Callable[[str], None]) -> None:
        super().__init__()
        self.nursery, self.count = nursery, count
        self.world = World(place / "worlds" / "w", place / "here")
        self.promise = Promise(self.world)
        self.ahead = self.named = 0
        self.log: list[str] = []
        self.said = ""
        """What the last command said."""

    # Commands --------------------------------------------------------------------------------------------------------

    def words(self, job: Job, chance: random.Random) -> tuple[list[object], list[Path]]:
        """A job's command, and the stores whose rows it may remove."""
        what, cache, factor = job
        world, folder = self.world, getattr(self.world, cache)
        stores = [path for path in stores_in(folder) if ("Two-" in path.name) == (factor == 2)]
        store = chance.choice(stores) if stores else folder / NAME / "none"
        kind = store.name.partition("-")[0]
        out = world.root / "exports" / f"{kind}{factor}.{chance.choice(list(FORMS))}"
        if what in ("extract", "part"):
            more = ["--part", chance.choice(["0/2", "1/2", "1/3"])] if what == "part" else []
            return world.extract(folder, factor, *more, *["--retry-quarantined"] * chance.randrange(2)), []
        if what == "merge":
            other = world.away if folder == world.main else world.main
            return ["cache", "merge", other / NAME, "--into", folder / NAME], []
        if what == "repair":
            return ["cache", "verify", "--repair", folder], []
        if what == "rm":
            return ["cache", "rm", "--yes", store], [store]
        out.parent.mkdir(exist_ok=True)
        if what == "export":
            out.unlink(missing_ok=True)
            return ["cache", "export", store, out], []
        outs = sorted(out.parent.glob("[!.]*"))
        out = chance.choice(outs) if outs else out
        kind, factor = out.stem[:-1], int(out.stem[-1])
        name = ["--kind", kind, "--name", f"imported{factor}", "--allow-missing"]
        return ["cache", "import", out, "--from", FORMS[out.suffix[1:]], *name, "--cache", folder], []

    def here(self, words: Sequence[object]) -> Ended:
        """Run a command in this process, undisturbed but for the clock."""
        real, ahead = time.time, self.ahead
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: real() + ahead)
            done = CliRunner().invoke(itin, [str(word) for word in words], prog_name="itin")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ended(done.exit_code, done.output)

    def note(self, what: str, done: Ended) -> Ended:
        """Check how a command has ended."""
        self.log.append(f"{what}: {done.code}")
        self.said = done.said
        assert "Traceback" not in done.said, done.said
        assert done.killed or done.code in EXIT_CODES, done.said
        return done

    # Rules -----------------------------------------------------------------------------------------------------------

    @initialize(count=st.integers(4, 8), made=st.lists(st.tuples(caches, factors), max_size=2))
    def begin(self, count: int, made: list[tuple[str, int]]) -> None:
        self.more(count)
        for cache, factor in made:
            self.undisturbed(("extract", cache, factor), 0)

    @rule(count=st.integers(1, 3))
    def more(self, count: int) -> None:
        """New rows in the table."""
        for _ in range(count):
            self.named += 1
            self.world.pairs[f"id {self.named}"] = self.pair()
        self.world.write()

    def pair(self) -> Pair:
        """A pair that there has not been before."""
        self.named += 1
        number = self.named
        return Pair(f"pair {'x' * (number % 5 + 1)} {chr(97 + number % 26)}{number}", (number % 256, number // 256, 7))

    @rule(which=st.integers(0, 99), how=st.sampled_from(["image", "text", "cut", "junk", "sound", "gone"]))
    def change(self, which: int, how: str) -> None:
        """A changed image or text, a bad image, one that is sound again, a row that is gone."""
        if len(self.world.pairs) < 3:
            return
        id = list(self.world.pairs)[which % len(self.world.pairs)]
        old, new = self.world.pairs[id], self.pair()
        if how == "gone":
            del self.world.pairs[id]
        elif how in ("image", "text"):
            text, colour = (old.text, new.colour) if how == "image" else (new.text, old.colour)
            self.world.pairs[id] = Pair(text, colour)
        elif sum(pair.state == "sound" for pair in self.world.pairs.values()) > 2:
            self.world.pairs[id] = Pair(old.text, old.colour, how)
        self.world.write()

    @rule(which=st.integers(0, 99), text=st.booleans(), on=st.booleans())
    def poison(self, which: int, text: bool, on: bool) -> None:
        """An input that the encoder fails on for a while: it goes into quarantine, and comes out by a retry."""
        pairs = list(self.world.pairs.values())
        self.world.poisoned = {pairs[which % len(pairs)].poisons[0 if text else 1]} if on else set()
        self.world.write()

    @rule(seconds=st.sampled_from([-3 * DAY, -3600, 3600, 2 * DAY, 400 * DAY]))
    def clock(self, seconds: int) -> None:
        """The clock jumps."""
        self.ahead = seconds if not self.ahead else 0

    @rule(job=jobs, seed=st.integers(0, 2**16))
    def undisturbed(self, job: Job, seed: int) -> None:
        """A command runs to its end."""
        words, removed = self.words(job, random.Random(seed))
        before = self.promise.expects(job, words)
        done = self.note(" ".join(map(str, job)), self.here(words))
        if before is not None:
            assert (done.code == 0) == before, done.said
        self.promise.keep(removed)
        self.promise.completed(job, words, done)

    @rule(cache=caches, factor=factors)
    def extract(self, cache: str, factor: int) -> None:
        """The most usual command once more."""
        self.undisturbed(("extract", cache, factor), 0)

    @rule(job=jobs, fault=faults, grown=st.integers(0, 3), seed=st.integers(0, 2**16))
    def disturbed(self, job: Job, fault: Fault, grown: int, seed: int) -> None:
        """A command whose n-th call that writes fails, is the last, finds the disk full, or sees the clock jump."""
        if grown:
            self.more(grown)
        words, removed = self.words(job, random.Random(seed))
        self.promise.disturbed(getattr(self.world, job[1]))
        fault = Fault(fault.how, fault.at, fault.error, fault.seconds, self.ahead)
        self.note(f"{' '.join(map(str, job))}, {fault}", self.nursery.run(words, fault))
        self.promise.keep(removed)

    @rule(
        first=jobs,
        second=jobs,
        at=st.one_of(st.integers(1, 12), st.integers(1, 70)),
        killed=st.booleans(),
        grown=st.booleans(),
        seed=st.integers(0, 99),
    )
    def together(self, first: Job, second: Job, at: int, killed: bool, grown: bool, seed: int) -> None:
        """Two processes: the first stops at its n-th call, the second runs, and the first goes on or is killed."""
        chance = random.Random(seed)
        self.more(1)
        if "rm" in (first[0], second[0]):
            return  # who removes a store that is written to has what they asked for
        words, others = self.words(first, chance)[0], self.words(second, chance)[0]
        for cache in {first[1], second[1]}:
            self.promise.disturbed(getattr(self.world, cache))
        child = self.nursery.start(words, Fault(How.PAUSE, at, ahead=self.ahead))
        stopped = child.stops()
        if grown:
            self.more(1)
        self.note(f"beside it {' '.join(map(str, second))}", self.here(others))
        if stopped:
            self.promise.keep([])
            child.signal(signal.SIGKILL if killed else signal.SIGCONT)
        self.note(f"{' '.join(map(str, first))} stopped at {at}, killed {killed}", child.end())
        self.promise.keep([])

    @rule(job=jobs, which=st.integers(0, 9), seed=st.integers(0, 99))
    def forbidden(self, job: Job, which: int, seed: int) -> None:
        """A command by a user who may not write to one of the stores; root runs it as another user."""
        words, removed = self.words(job, random.Random(seed))
        cache = getattr(self.world, job[1])
        self.promise.disturbed(cache)
        stores = stores_in(cache)
        if not stores:
            return
        store = stores[which % len(stores)]
        store.chmod(0o555)
        try:
            with bound_by_permissions(self.world.root):
                done = self.here(words)
        finally:
            store.chmod(0o755)
        self.note(f"{' '.join(map(str, job))}, forbidden to write to {store.name[:7]}", done)
        self.promise.keep(removed)

    @precondition(lambda self: any(stores_in(self.world.main)))
    @rule(which=st.integers(0, 999), how=st.sampled_from(["flip", "cut", "gone", "newer"]), where=st.integers(0, 2**16))
    def damage(self, which: int, how: str, where: int) -> None:
        """A file of a store is damaged, lost, or one of a later format version."""
        files = [path for store in stores_in(self.world.main) for path in sorted(store.rglob("*")) if path.is_file()]
        files = [path for path in files if not path.name.startswith(".tmp") and path not in self.promise.damaged]
        if files and self.promise.damage(path := files[which % len(files)], how, where):
            self.log.append(f"damage: {how} {path.parent.name[:7]} {path.name}")

    @precondition(lambda self: self.promise.newer)
    @rule()
    def update(self) -> None:
        """The later itin puts back what it had changed."""
        self.promise.restore()

    @rule(cache=caches)
    def verified(self, cache: str) -> None:
        """`itin cache verify` ends with the exit code that the stores deserve."""
        folder = getattr(self.world, cache)
        if stores_in(folder):
            done = self.note(f"verify {cache}", self.here(["cache", "verify", folder / NAME]))
            self.promise.verified(folder, done)

    @invariant()
    def kept(self) -> None:
        """What the promise says, after every step."""
        self.count(self.log[-1] if self.log else "")
        try:
            self.promise.keep([])
            self.promise.check()
        except BaseException:
            print("\n".join([*self.log, self.said]))
            raise

    def teardown(self) -> None:
        """In the end a resumed extraction gives what an undisturbed one gives."""
        try:
            if self.world.pairs:
                self.ending()
        except BaseException:
            print("\n".join([*self.log, self.said]))
            raise
        finally:
            shutil.rmtree(self.world.root)

    def remove(self, store: Path) -> None:
        self.note("rm", self.here(["cache", "rm", "--yes", store]))
        self.promise.keep([store])

    def ending(self) -> None:
        world, promise = self.world, self.promise
        self.ahead, world.poisoned = 0, set()
        world.write()
        promise.restore()
        repairs = ["cache", "verify", "--repair", world.main / NAME]
        done = self.note("at last repair", self.here(repairs)) if stores_in(world.main) else None
        promise.keep([])
        for store in stores_in(world.main):
            problems = verify(store).problems if is_store(store) else []
            if is_unplanned(store) and not any(problem.alone for problem in problems):
                continue  # the extraction plans it
            if not all(is_unfinished(problem.what) for problem in problems):
                assert done is not None
                flipped = any(problem.alone for problem in problems)  # a bit that makes another version of it
                assert flipped or lost_plan(store) in done.said, done.said
                self.remove(store)
        for cache, more in ((world.main, ["--retry-quarantined"]), (world.root / "fresh", [])):
            done = self.note("at last extract", self.here(world.extract(cache, 1, *more)))
            for store in [one for one in promise.of(cache, 1) if is_unplanned(one)]:
                if lost_plan(store) in done.said:
                    self.remove(store)
                    done = self.note("at last extract", self.here(world.extract(cache, 1, *more)))
            assert done.code == 0, done.said
        promise.keep([])
        promise.check()
        for fresh in stores_in(world.root / "fresh"):
            kind = fresh.name.partition("-")[0]
            store = world.main / NAME / fresh.name
            undisturbed = {key: value for path in fresh.glob("shard-*.h5") for key, value in rows_of(path)}
            assert undisturbed.keys() == world.wanted(kind) - world.refused(kind)
            assert undisturbed.items() <= promise.committed[store].items()
            assert verify(store).problems == []
            opened = open_store(store)
            ids, digests = zip(*undisturbed, strict=True) if undisturbed else ((), ())
            rows = opened.index(ids, digests)
            found = [one[kind].tobytes() for one in opened.samples(rows)]
            assert dict(zip(undisturbed, found, strict=True)) == undisturbed
            assert promise.quarantined(store) & world.wanted(kind) == world.refused(kind)
