"""The data that a sweep runs on, and the creation and extension of sweep folders."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import disk
from ...cache import open_store, read_table
from ...errors import CacheError, RunError
from ...labels import listed
from ..config import TrainConfig, View, select_of
from ..features.find import stores_of_view
from ..lexicons.registry import parse_names
from ..protocols import protocol as protocols
from ..protocols.split import Inner, Split
from ..protocols.teaching import TargetSplitter
from ..runs.key import Identity
from ..runs.write import csv_bytes
from .axes import SweepPlan, Trial
from .folder import Definition, Sweep
from .setup import Setup

if TYPE_CHECKING:
    from ...cache import Table
    from ..features.features import Features


class SweepData:
    """The features that a sweep runs on, and the keys of runs on them.

    Args:
        table: the data set's table.
        stores: `itin.cache.Store` by kind, `find.CROP` among them where a view needs it.
        configs: configurations that together read all features that are needed.
        protocol: the protocol that makes the parts.
        parts: the part of each id, where the protocol fixes it and the sweep has recorded it.
        split: the description of these parts.
        allow_missing: whether many labelled samples may have no features or no part.
        select: the score that configurations are compared by; by default the one that all of them select by.
    """

    def __init__(
        self,
        table: Table,
        stores: Mapping[str, Any],
        configs: Iterable[TrainConfig],
        protocol: protocols.Protocol | None = None,
        parts: Mapping[str, str] | None = None,
        split: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
        select: str | None = None,
    ) -> None:
        from ..features.load import load_features

        self.table, self.stores = table, stores
        configs = list(configs)
        regions = max(config.regions for config in configs)
        inputs: dict[View, frozenset[str]] = {}
        for config in configs:
            inputs[config.view] = inputs.get(config.view, frozenset()) | config.inputs
        lexicons = parse_names("+".join(name for config in configs for name in config.lexicon_names))
        self._stores = {view: stores_of_view(stores, view) for view in sorted(inputs)}
        targets = list(dict.fromkeys(name for config in configs for name in config.targets))
        self.features: dict[View, Features] = {
            view: load_features(
                table,
                own,
                regions,
                view.keep_special,
                allow_missing=allow_missing,
                inputs=inputs[view],
                targets=targets,
                lexicons=lexicons,
            )
            for view, own in self._stores.items()
        }
        one = next(iter(self.features.values()))
        for features in self.features.values():
            if features.ids != one.ids:
                raise CacheError(
                    f"the context features of the images and of their centres in {table.dataset.get('name')} are not of"
                    " the same samples, so runs on them cannot be compared",
                    expected=f"{len(one.ids)} samples in both",
                    found=f"{len(set(features.ids) ^ set(one.ids))} in only one of them",
                    next_step="run `itin extract` again with both context encoders: it makes what is missing",
                )
        self.ids, self.dataset, self.mapped, self.outside = one.ids, one.dataset, one.mapped, one.outside
        self.classes, self.lexicons = list(one.classes), one.lexicons
        self.has = sorted(one.has)
        self.protocol = protocol or protocols.Protocol()
        self.known = one.known
        self.splitter = TargetSplitter.of(self.protocol, one, table, allow_missing, parts, split)
        self.targets = [one.column(name).target for name in targets]
        firsts = sorted({f"{config.targets[0]}, by {select or config.select}" for config in configs})
        if len(firsts) > 1:
            raise RunError(
                "the configurations are scored by different targets or scores, so they cannot be compared",
                expected="one first target in --target, and one --select",
                found="; ".join(firsts),
                next_step="make a sweep for each",
            )
        self.select = select or select_of(configs[0], self.targets[0])
        self._identities = {
            view: Identity(features, table, self._stores[view]) for view, features in self.features.items()
        }
        self._splits: dict[Hashable, tuple[Split, str]] = {}

    @property
    def samples(self) -> str:
        """The digest of the samples with their labels and inputs."""
        return next(iter(self._identities.values())).samples

    def setup(self, folder: Path, runs: Path, **options: Any) -> Setup:
        """Write the features where workers can map them, and return what workers need."""
        from ..features.shared import open_features, save_features

        paths = {}
        for number, (view, features) in enumerate(list(self.features.items())):
            paths[view] = folder / str(number)
            save_features(features, paths[view])
            if features.mapped:  # on the disk once, not twice
                self.features[view] = open_features(paths[view])
        return Setup(paths, dict(self.table.dataset), self._stores, runs, self.splitter, **options)

    def key(self, config: TrainConfig, inner: Inner | None = None) -> str:
        """Return the key of a run, or of one on an inner fold."""
        return self._identities[config.view].of(config, self._case(config, inner)[1])

    def keyed(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return trials with their keys."""
        return [replace(trial, key=self.key(trial.config, trial.inner)) for trial in trials]

    def split_for(self, config: TrainConfig) -> Split:
        """Return the parts that a configuration is trained on."""
        return self._case(config)[0]

    def _case(self, config: TrainConfig, inner: Inner | None = None) -> tuple[Split, str]:
        """Return the parts and their digest."""
        what = config.split_seed, config.fold, config.targets, config.train_share, inner
        case = self.splitter.case(*what)
        if case not in self._splits:
            split = self.splitter.split(*what)
            self._splits[case] = split, next(iter(self._identities.values())).parts(split)
        return self._splits[case]

    def work(self, config: TrainConfig) -> float:
        """Return the operations of a run's GRU, `choose.operations`."""
        from ..loop import work_of

        return work_of(config, self.features[config.view], self.split_for(config))


def create(path: Path, plan: SweepPlan, data: SweepData, **definition: Any) -> Sweep:
    """Make a sweep folder.

    Args:
        path: the folder, which must not exist; its parents are made.
        plan: its trials.
        data: the features.
        definition: of `folder.Definition`: `mode`, `axes`, `seeds`, `number`, `folder`, and what is not its default.

    Raises:
        RunError: the path exists, or cannot be written.
    """
    fixed = data.splitter.parts
    made = Definition(
        trials=data.keyed(plan.trials),
        left_out=plan.left_out,
        dataset=data.dataset,
        stores={
            kind: {"path": str(store.path.resolve()), "fingerprint": store.fingerprint}
            for kind, store in data.stores.items()
        },
        split=data.splitter.splitter.split().description if fixed is not None else None,
        protocol=data.protocol.name,
        duplicates=data.protocol.duplicates,
        samples=data.samples,
        classes=data.classes,
        targets=[target.to_dict() for target in data.targets],
        select=data.select,
        has=data.has,
        untrained=sorted(kind for kind, store in data.stores.items() if store.untrained),
        created=datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"),
        **definition,
    )
    names = ("runs", "failed", *(["inner"] if definition.get("inner_folds") else []))
    with disk.creating_folder(
        path, _not_made
    ) as folder:  # with its record from the first on, so that it can be resumed
        for name in names:
            (folder / name).mkdir()
        if fixed is not None:
            disk.replace(folder / "split.csv", csv_bytes(["id", "part"], fixed.items()))
        disk.replace(folder / "sweep.json", made.to_json())
    return Sweep(path)


def _not_made(path: Path, error: OSError) -> RunError:
    taken = path.exists()
    return RunError(
        f"cannot make the sweep folder {path}: {'File exists' if taken else error.strerror or error}",
        expected="a free name" if taken else None,
        next_step=f"choose another --out, or go on with it: itin sweep --resume {path}"
        if taken
        else "fix the cause, or choose another place with --out, and run the same command again",
    )


def extend(sweep: Sweep, plan: SweepPlan, data: SweepData) -> None:
    """Add the trials of a plan that a sweep does not have yet; those that it has do not change.

    Args:
        sweep: a sweep on the same features, which must be `locked`.
        plan: the trials that the sweep must have.
        data: the features.
    """
    definition = sweep.definition
    there = {(one.axis, one.key) for one in definition.trials}
    definition.trials += [one for one in data.keyed(plan.trials) if (one.axis, one.key) not in there]
    definition.seeds = sorted({*definition.seeds, *(one.config.seed for one in plan.trials)})
    disk.replace(sweep.path / "sweep.json", definition.to_json())


def data_of(sweep: Sweep, cache: Path | None = None) -> SweepData:
    """Return the data that a sweep was begun on.

    Args:
        sweep: the sweep.
        cache: where the cache is now; None for where it was.

    Raises:
        RunError: it is gone, or has changed.
    """
    definition = sweep.definition
    folder = Path(definition.folder) if cache is None else cache / Path(definition.folder).name
    stores = {}
    for kind, entry in definition.stores.items():
        path = Path(entry["path"]) if cache is None else folder / Path(entry["path"]).name
        if not path.is_dir():
            raise RunError(
                f"the {kind} features of the sweep {sweep.path} are gone",
                expected=str(path),
                next_step="name the cache folder with --cache, or run the same `itin extract` again",
            )
        stores[kind] = open_store(path)
    parts = None
    if definition.split is not None:
        with (sweep.path / "split.csv").open(encoding="utf-8", newline="") as file:
            parts = {row["id"]: row["part"] for row in csv.DictReader(file)}
    data = SweepData(
        read_table(folder),
        stores,
        definition.readers,
        definition.protocol_used,
        parts,
        definition.split,
        allow_missing=True,  # the sweep keeps the samples that it was begun on: `check_same`
        select=definition.select,
    )
    check_same(sweep, data)
    return data


def check_same(sweep: Sweep, data: SweepData) -> None:
    """Raise RunError unless these are the features that a sweep was begun on."""
    definition = sweep.definition
    for kind, entry in definition.stores.items():
        store = data.stores.get(kind)
        if store is None or store.fingerprint != entry["fingerprint"]:
            raise RunError(
                f"the sweep {sweep.path} was begun on other {kind} features",
                expected=f"fingerprint {entry['fingerprint'][:12]}",
                found="no store" if store is None else f"fingerprint {store.fingerprint[:12]}",
                next_step="name the sweep's own cache with --cache, or start a new sweep",
            )
    if data.classes != definition.classes:
        raise RunError(
            f"the sweep {sweep.path} was begun on other classes than the data set has now",
            expected=listed(definition.classes),
            found=listed(data.classes),
            next_step="start a new sweep, or name the sweep's own: `itin extract --classes`",
        )
    changed = [one.key for one in definition.trials if data.key(one.config, one.inner) != one.key]
    if data.samples != definition.samples or changed:
        raise RunError(
            f"the sweep {sweep.path} was begun on other samples",
            expected=f"the samples, labels and parts of {definition.created}",
            found="others: the data set was extracted again, or it or a lexicon's package changed since",
            next_step="start a new sweep",
        )
