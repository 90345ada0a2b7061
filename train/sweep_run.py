"""Running a sweep: features shared by worker processes, results kept as they come."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import disk
from ..errors import CacheError, RunError
from . import protocols
from .axes import Place, Plan
from .config import TrainConfig, View
from .find import stores_of_view
from .identity import Identity
from .pool import DONE, EPOCH, Event, Job, Jobs, Pool, Setup, StoreFacts, TableFacts
from .presets import short_name
from .protocols import Splitter
from .runs import load_run
from .splits import Split
from .sweep import Definition, Result, Sweep, missing, result_of, write_results

if TYPE_CHECKING:
    from .data import Features, TableLike
    from .stacks import Stacks

RESULTS_SECONDS = 5.0
"""How often the table of results is written while runs finish."""


class Source(Jobs, Protocol):
    """Jobs that depend on what came out before."""

    @property
    def total(self) -> int:
        """How many runs there are to be, those that are there already not counted, as far as is known."""
        ...

    def ended(self, result: Result) -> None:
        """A run has ended."""
        ...


class Listed:
    """The runs of a plan, each once.

    Args:
        places: those to be trained, with their keys, each key once.
    """

    def __init__(self, places: Sequence[tuple[Place, str]]) -> None:
        self._left = deque(Job(key, folder_name(place.config, key), place.config) for place, key in places)
        self._total = len(places)

    @property
    def total(self) -> int:
        """All of them."""
        return self._total

    def next(self) -> Job | None:
        """The next one, in order."""
        return self._left.popleft() if self._left else None

    def ended(self, result: Result) -> None:
        """Nothing depends on it."""


class Workplace:
    """The features that a sweep runs on, and the keys of runs on them.

    Args:
        table: the data set's table.
        stores: `itin.cache.Store` by kind, `find.CROP` among them where a view needs it.
        regions: the most regions an image that is looked at.
        views: which features are needed.
        protocol: how samples become parts.
        parts: the part of each id, where the protocol fixes it and the sweep has recorded it.
        split: the description of these parts.
        allow_missing: whether many labelled samples may have no features or no part.
    """

    def __init__(
        self,
        table: TableLike,
        stores: Mapping[str, Any],
        regions: int,
        views: Iterable[View],
        protocol: protocols.Protocol | None = None,
        parts: Mapping[str, str] | None = None,
        split: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
    ) -> None:
        from .data import load_features

        self.table, self.stores = table, stores
        self._stores = {view: stores_of_view(stores, view) for view in sorted(set(views))}
        self.features: dict[View, Features] = {
            view: load_features(table, own, regions, view.keep_special, allow_missing=allow_missing)
            for view, own in self._stores.items()
        }
        one = next(iter(self.features.values()))
        for features in self.features.values():
            if features.ids != one.ids:
                raise CacheError(
                    f"the context features of the images and of their centres in {table.dataset.get('name')} are not of"
                    " the same samples, so that runs on them could not be compared",
                    expected=f"{len(one.ids)} samples in both",
                    found=f"{len(set(features.ids) ^ set(one.ids))} in one of them alone",
                    next_step="run `itin extract` again with both context encoders: it makes what is missing",
                )
        self.ids, self.dataset, self.mapped, self.outside = one.ids, one.dataset, one.mapped, one.outside
        self.protocol = protocol or protocols.Protocol()
        if parts is not None:
            self.splitter = Splitter(self.protocol, self.ids, one.labels, parts=dict(parts), origin=dict(split or {}))
        else:
            self.splitter = Splitter.of(self.protocol, self.ids, one.labels, table, allow_missing)
        self._identities = {
            view: Identity(features, table, self._stores[view]) for view, features in self.features.items()
        }
        self._splits: dict[tuple[int, int], tuple[Split, str]] = {}

    @property
    def samples(self) -> str:
        """Digest of the samples with their labels and inputs."""
        return next(iter(self._identities.values())).samples

    def setup(self, folder: Path, runs: Path, **options: Any) -> Setup:
        """Put the features where workers can map them, and return what workers need."""
        from .shared import open_features, save_features

        paths = {}
        for number, (view, features) in enumerate(list(self.features.items())):
            paths[view] = folder / str(number)
            save_features(features, paths[view])
            if features.mapped:  # on the disk once, not twice
                self.features[view] = open_features(paths[view])
        columns = [name for name in ("id", "image_sha256", "text_sha256") if name in self.table.samples]
        table = TableFacts(dict(self.table.dataset), self.table.samples[columns])
        stores = {
            view: {kind: StoreFacts.of(store) for kind, store in own.items()} for view, own in self._stores.items()
        }
        return Setup(paths, table, stores, runs, self.splitter, **options)

    def key(self, config: TrainConfig) -> str:
        """The key of a run."""
        return self._identities[config.view].of(config, self._case(config)[1])

    def split_for(self, config: TrainConfig) -> Split:
        """The parts that a configuration is trained on."""
        return self._case(config)[0]

    def _case(self, config: TrainConfig) -> tuple[Split, str]:
        """The parts, and their digest."""
        case = self.splitter.case(config.split_seed, config.fold)
        if case not in self._splits:
            split = self.splitter.split(config.split_seed, config.fold)
            self._splits[case] = split, next(iter(self._identities.values())).parts(split)
        return self._splits[case]

    def work(self, config: TrainConfig) -> float:
        """The operations of a run's GRU, `recurrence.operations`."""
        from .loop import work_of

        return work_of(config, self.features[config.view], self.split_for(config))


def create(path: Path, plan: Plan, place: Workplace, **definition: Any) -> Sweep:
    """Make a sweep folder.

    Args:
        path: the folder, which must not exist; its parents are made.
        plan: its places.
        place: the features.
        definition: `mode`, `axes`, `seeds`, `number` and `folder` of `sweep.Definition`.

    Raises:
        RunError: something stands there, or it cannot be written.
    """
    try:
        path.mkdir(parents=True)
        (path / "runs").mkdir()
        (path / "failed").mkdir()
    except OSError as error:
        raise RunError(
            f"cannot make the sweep folder {path}: {error.strerror or error}",
            expected="a name that is free",
            next_step=f"choose another --out, or go on with it: itin sweep --resume {path}",
        ) from error
    fixed = place.splitter.parts
    if fixed is not None:
        lines = ["id,part", *(_csv_row(sample, part) for sample, part in fixed.items())]
        disk.replace(path / "split.csv", ("\n".join(lines) + "\n").encode())
    made = Definition(
        places=[(one, place.key(one.config)) for one in plan.places],
        left_out=plan.left_out,
        dataset=place.dataset,
        stores={
            kind: {"path": str(store.path.resolve()), "fingerprint": store.fingerprint}
            for kind, store in place.stores.items()
        },
        split=place.splitter.split().description if fixed is not None else None,
        protocol=place.protocol.name,
        duplicates=place.protocol.duplicates,
        samples=place.samples,
        untrained=any(store.untrained for store in place.stores.values()),
        created=datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"),
        **definition,
    )
    disk.replace(path / "sweep.json", made.to_json())
    return Sweep(path)


def extend(sweep: Sweep, plan: Plan, place: Workplace) -> None:
    """Add the places of a plan that a sweep does not have yet; what it has stays as it is.

    Args:
        sweep: a sweep on the same features, which must be `locked`.
        plan: what is to be there.
        place: the features.
    """
    definition = sweep.definition
    there = {(one.axis, key) for one, key in definition.places}
    more = [(one, place.key(one.config)) for one in plan.places]
    definition.places += [(one, key) for one, key in more if (one.axis, key) not in there]
    definition.seeds = sorted({*definition.seeds, *(one.config.seed for one in plan.places)})
    disk.replace(sweep.path / "sweep.json", definition.to_json())


def check_same(sweep: Sweep, place: Workplace) -> None:
    """Raise RunError unless these are the features that a sweep was begun on."""
    definition = sweep.definition
    for kind, entry in definition.stores.items():
        store = place.stores.get(kind)
        if store is None or store.fingerprint != entry["fingerprint"]:
            raise RunError(
                f"the sweep {sweep.path} was begun on other {kind} features",
                expected=f"fingerprint {entry['fingerprint'][:12]}",
                found="no store" if store is None else f"fingerprint {store.fingerprint[:12]}",
                next_step="name the sweep's own cache with --cache, or start a new sweep",
            )
    changed = [key for one, key in definition.places if place.key(one.config) != key]
    if place.samples != definition.samples or changed:
        raise RunError(
            f"the sweep {sweep.path} was begun on other samples",
            expected=f"the samples, labels and parts of {definition.created}",
            found="others: the data set was extracted again or changed since",
            next_step="start a new sweep",
        )


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from running the same sweep; ends with the process, however it ends.

    Args:
        path: the sweep's folder.
        shared: for a part of the sweep: with other parts, but not with the whole.

    Raises:
        RunError: another process runs it.
    """
    with (path / ".lock").open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except ImportError:  # no such locks on this system
            pass
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                yield  # a file system without such locks
                return
            raise RunError(
                f"the sweep {path} is running already",
                expected="one process at a time",
                found="another process that holds its .lock",
                next_step="wait for it, or end it: nothing that has finished is lost",
            ) from error
        yield


def run(
    sweep: Sweep,
    place: Workplace,
    source: Callable[[Sweep, Workplace, dict[str, Result]], Source] | None = None,
    *,
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
    gru: str = "auto",
    retry: bool = False,
    stack: int | None = None,
    graphs: bool = False,
    precision: str = "float32",
    begin: Callable[[Source, dict[str, Result]], None] | None = None,
    listen: Callable[[Event], None] | None = None,
) -> dict[str, Result]:
    """Train what is missing, and return the results by key.

    What has finished is kept; what was under way when a sweep was ended starts over.

    Args:
        sweep: the sweep, which must be `locked`.
        place: its features.
        source: makes the jobs from the sweep and the results that are there; by default all that are missing.
        workers: processes.
        threads: of each.
        device: where to train.
        gru: how to compute the GRU.
        retry: also train what has failed before.
        stack: how many configurations to train side by side in this process instead of one a worker; by default what
            memory allows on a CUDA device, and none elsewhere.
        graphs: whether these take their steps as CUDA graphs.
        precision: of their matrix products, one of `config.PRECISIONS`.
        begin: told of the source and the results that are there.
        listen: told of every event.
    """
    for rubbish in (*sweep.path.glob(f"runs/{disk.TEMPORARY}*"), *sweep.path.glob(".features-*")):
        shutil.rmtree(rubbish, ignore_errors=True)
    if retry:
        for file in sweep.path.glob("failed/*.json"):
            file.unlink()
    results = {**sweep.failed(), **sweep.finished()}
    jobs = source(sweep, place, results) if source is not None else Listed(missing(sweep.definition, results))
    if begin is not None:
        begin(jobs, results)
    written = time.monotonic()
    folder = sweep.path / f".features-{time.time_ns()}"
    try:
        setup = place.setup(
            folder, sweep.path / "runs", device=device, threads=threads, gru=gru, graphs=graphs, precision=precision
        )
        engine: Pool | Stacks
        if stack is None and not device.startswith("cuda"):
            engine = Pool(setup, workers)
        else:
            from .stacks import Stacks

            engine = Stacks(setup, stack)
        with engine:
            for event in engine.run(jobs):
                if event.kind != EPOCH:
                    result = results[event.job.key] = record(sweep, event)
                    jobs.ended(result)
                    if time.monotonic() - written > RESULTS_SECONDS:
                        written = time.monotonic()
                        write_results(sweep.path, sweep.frame(results))
                if listen is not None:
                    listen(event)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        write_results(sweep.path, sweep.frame(results))
    return results


def record(sweep: Sweep, event: Event) -> Result:
    """Keep what a run came to: its folder is there already, its error is written here."""
    if event.kind == DONE:
        return replace(result_of(load_run(sweep.path / "runs" / event.job.name)), key=event.job.key)
    failure = {"key": event.job.key, "config": event.job.config.to_dict(), **event.values}
    disk.replace(sweep.path / "failed" / f"{event.job.key}.json", disk.to_json(failure))
    return Result(event.job.key, None, {}, str(event.values["error"]))


def folder_name(config: TrainConfig, key: str) -> str:
    """A run folder's name: readable, and one for each key."""
    fold = f"-fold{config.fold}" if config.fold else ""
    return f"{short_name(config)}{fold}-seed{config.seed}-{key}"


def _csv_row(*cells: str) -> str:
    import csv
    import io

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
