"""The promise: what is committed is there with its exact bytes or its damage is named; no id twice; `verify` is right.

Held against a plain dictionary of what each input must give (`world.py`); shards are read by h5py alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from itin.cache import open_store
from itin.cache.format.sealed_json import from_json, to_json
from itin.cache.upkeep.find import is_store
from itin.cache.upkeep.verify import verify

from .injection import Ended
from .world import NAME, Key, World, rows_of, stores_in

UNFINISHED = ("is not in the manifest", "has no manifest.json")
"""What `verify` says about a sound store that an extraction is not through with."""

Job = tuple[str, str, int]
"""What is done, in which cache, and which encoders it is about."""


class Promise:
    """What the caches of a world hold, by what has been seen of them, and what has been done to their files."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.committed: dict[Path, dict[Key, bytes]] = {}
        """By store what is committed, but for what was lost with a damaged file."""
        self.damaged: dict[Path, bytes | None] = {}
        """The damaged files with what is in them; None for one that is gone."""
        self.newer: dict[Path, tuple[bytes, dict[Key, bytes]]] = {}
        """Those of them that are of a later format: what was in them, and the rows."""
        self.finished: set[Path] = set()
        """The stores that the last command on them was through with."""
        self.settled: set[Path] = set()
        """The caches whose table too is the last extraction's."""
        self.shaken: set[Path] = set()
        """The stores that were damaged, and have not been found whole since."""
        self._checked: dict[Path, object] = {}

    def stores(self) -> list[Path]:
        return [store for cache in (self.world.main, self.world.away) for store in stores_in(cache)]

    def of(self, cache: Path, factor: int) -> list[Path]:
        """The stores that an extraction fills."""
        names = ("tokens-states_encoders_Letters", "context-states_encoders_Colour")
        two = "Two" if factor == 2 else ""
        return [store for store in stores_in(cache) if store.name.rpartition("-")[0] in [name + two for name in names]]

    def bad(self, stores: Collection[Path]) -> bool:
        """Whether some of the stores are damaged, or were and may be still."""
        return any(store in self.shaken for store in stores) or any(store_of(path) in stores for path in self.damaged)

    # What was done ---------------------------------------------------------------------------------------------------

    def damage(self, path: Path, how: str, where: int) -> bool:
        """Damage a file of a store; return whether that was possible."""
        store, data = store_of(path), path.read_bytes()
        changed: bytes | None = data[: where % len(data)] if how == "cut" else None
        if how == "flip":
            place = where % len(data)
            changed = data[:place] + bytes([data[place] ^ 1 << where % 8]) + data[place + 1 :]
        elif how == "newer":
            changed = newer(path, data)
        elif how == "gone" and not self._listed(path):
            return False
        rows = dict(rows_of(path)) if path.suffix == ".h5" else {}
        for key in rows:
            self.committed[store].pop(key)
        self.damaged[path] = changed
        if how == "newer":
            self.newer[path] = data, rows
        self.finished.discard(store)
        self.shaken.add(store)
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        return True

    def _listed(self, path: Path) -> bool:
        """Whether the manifest names a file, so that it can be missed."""
        manifest = store_of(path) / "manifest.json"
        if not manifest.exists() or manifest in self.damaged:
            return False
        record = json.loads(manifest.read_bytes())
        return path.name in [entry["file"] for entry in (*record["plan"], *record["shards"])]

    def restore(self) -> None:
        """Put back what was in the files of a later format."""
        for path, (data, rows) in self.newer.items():
            path.write_bytes(data)
            del self.damaged[path]
            self.committed[store_of(path)] |= rows
        self.newer.clear()

    def disturbed(self, cache: Path) -> None:
        """Take down that a command on a cache may not get through."""
        self.finished -= set(stores_in(cache))
        self.settled.discard(cache)

    def expects(self, job: Job, words: list[object]) -> bool | None:
        """Whether a command must succeed; None where that depends."""
        what, cache = job[0], getattr(self.world, job[1])
        if what in ("extract", "part"):
            sound = any(pair.state != "junk" for pair in self.world.pairs.values())
            depends = self.bad(self.of(cache, job[2])) or self.world.poisoned or what == "part"
            return None if depends or not sound else True
        if what == "rm":
            return is_store(Path(str(words[-1])))
        if what == "merge":
            source, target = Path(str(words[2])).parent, Path(str(words[4])).parent
            plans = [store for store in stores_in(source) if is_store(store)]
            if not plans:
                return False
            return None if self.bad([*stores_in(source), *stores_in(target)]) else True
        return None

    def completed(self, job: Job, words: list[object], done: Ended) -> None:
        """Check what a command that was not disturbed has done."""
        what, cache = job[0], getattr(self.world, job[1])
        if what in ("extract", "part"):
            self.disturbed(cache)
            if done.code == 0 and what == "extract":
                self.settled.add(cache)
                for store in self.of(cache, job[2]):
                    if not self.bad([store]):
                        self.finished.add(store)
                        self._complete(store, "--retry-quarantined" in words)
        elif what == "merge":
            self.disturbed(cache)
            source = Path(str(words[2])).parent
            for store in stores_in(source) if done.code == 0 else []:
                target = cache / NAME / store.name
                if is_store(store) and not any(store_of(path) == target for path in self.damaged):  # which it trusts
                    assert self.committed[store].items() <= self.committed[target].items()
                    if not self.bad([store, target]):
                        self.finished.add(target)
        elif what == "repair" and done.code == 0:
            for store in stores_in(cache):
                problems = verify(store).problems if is_store(store) and not is_unplanned(store) else []
                assert all(is_unfinished(problem.what) for problem in problems), problems
        elif what == "export" and done.code == 0 and str(words[3]).endswith(".h5"):
            exported = dict(rows_of(Path(str(words[3]))))
            assert exported.items() <= self.committed[Path(str(words[2]))].items()

    def _complete(self, store: Path, retried: bool) -> None:
        """Check that a full extraction has left nothing out, and put nothing into quarantine without cause."""
        kind = store.name.partition("-")[0]
        wanted, refused = self.world.wanted(kind), self.world.refused(kind)
        held, quarantined = self.committed[store].keys(), self.quarantined(store)
        assert wanted <= held | quarantined, wanted - held - quarantined
        if retried:
            assert quarantined & wanted <= refused

    def quarantined(self, store: Path) -> set[Key]:
        """The rows in quarantine, as their records say."""
        records = [json.loads(path.read_bytes()) for path in (store / "quarantine").glob("row-*.json")]
        return {(record["id"], record["sha256"]) for record in records}

    def verified(self, cache: Path, done: Ended) -> None:
        """Check the exit code of `itin cache verify`."""
        stores = set(stores_in(cache))
        if any(store_of(path) in stores for path in self.damaged):
            assert done.code == 1, done.said
        elif cache in self.settled and stores <= self.finished:
            assert done.code == 0, done.said

    # What must be true -----------------------------------------------------------------------------------------------

    def keep(self, removed: Collection[Path] = ()) -> None:
        """Check that all that was committed is there, byte by byte and once.

        Args:
            removed: the stores that a command was told to remove.
        """
        for path in [path for path in self.newer if store_of(path) in removed and not path.exists()]:
            del self.newer[path]
        for path, (_, _) in self.newer.items():
            assert path.exists(), f"{path}, of a later format, is gone"
            assert path.read_bytes() == self.damaged[path], f"{path}, of a later format, has changed"
        for path, data in list(self.damaged.items()):
            repaired = data is None and not self._listed(path)  # nothing names it any more
            if (path.read_bytes() if path.exists() else None) != data or repaired or not store_of(path).exists():
                del self.damaged[path]
        stores = self.stores()
        for store in [*stores, *self.committed.keys() - set(stores)]:
            found: dict[Key, bytes] = {}
            for shard in sorted(store.glob("shard-*.h5")):
                for key, value in rows_of(shard) if shard not in self.damaged else ():
                    assert key not in found, f"{key} twice in {store}"
                    assert value == self.world.expected(store, key), f"{key} has a wrong value in {shard}"
                    found[key] = value
            lost = self.committed.get(store, {}).keys() - found.keys()
            assert not lost or store in removed, f"{sorted(lost)} lost in {store}"
            self.committed[store] = found
        self.finished &= set(stores)
        self.shaken &= set(stores)

    def check(self) -> None:
        """Check that `verify` names each damaged file and nothing else, and that what it finds whole is read right."""
        for store in self.stores():
            if not is_store(store):
                assert not self.committed[store], f"{store} is no store any more"
                continue
            seen = store in self.finished, store in self.shaken, stamp(store)
            if self._checked.get(store) == seen:
                continue
            problems = verify(store).problems
            told = [problem.what for problem in problems]
            bad = [path for path in self.damaged if store_of(path) == store]
            for path in bad:
                assert any(str(path) in what for what in told), f"{path} is damaged, and verify says {told}"
            if not bad and not problems:
                self.shaken.discard(store)
            if not bad and store not in self.shaken:
                assert all(is_unfinished(what) for what in told), told
                if store in self.finished:
                    assert not told, told
                if not told:
                    self._read(store)
            self._checked[store] = seen

    def _read(self, store: Path) -> None:
        """Check what the cache itself reads."""
        opened = open_store(store)
        values = [one[opened.kind].tobytes() for one in opened.samples(np.arange(len(opened)))]
        keys = list(zip(opened.ids, opened.sha256, strict=True))
        assert len(set(keys)) == len(keys)
        assert dict(zip(keys, values, strict=True)) == self.committed[store]


def store_of(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "quarantine" else path.parent


def is_unplanned(store: Path) -> bool:
    """Whether nothing in a store says what its features are; the next extraction plans its shards again."""
    return not list(store.glob("plan*.json")) and not (store / "manifest.json").exists()


def is_unfinished(what: str) -> bool:
    return any(words in what for words in UNFINISHED)


def stamp(store: Path) -> list[tuple[str, int, int, int]]:
    """What tells whether a file of a store has changed."""
    found = [(path, path.stat()) for path in sorted(store.rglob("*"))]
    return [(path.name, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found]


def newer(path: Path, data: bytes) -> bytes:
    """A file as a later format would have it."""
    if path.suffix == ".json":
        return to_json({**from_json(path, data), "format": 99})
    begin = data.index(b'"format": ') + len(b'"format": ')
    return data[:begin] + b"9" + data[begin + 1 :]
