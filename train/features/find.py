"""The search for a data set and its stores in a cache; nothing needs to be named where there is only one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...cache import Store, Table, find_stores, open_store, read_table
from ...cache.table import options_of
from ...errors import CacheError, RunError
from ...itin_head.registry import HEADS
from ...labels import listed
from ...targets import targets_of
from ..config import TrainConfig, View
from ..runs.folder import Run
from .features import only

CENTER = "-center"
"""The suffix of the name of a context encoder that reads only the centre of the image."""

CROP = "center-crop"
"""The key of such an encoder's store where runs on the whole image and on its centre are trained together."""

OPTIONS = {
    "regions": "--regions",
    "tokens": "--text-encoder",
    "context": "--context-encoder",
    "scene": "--scene-encoder",
}
"""The option that names a store of each kind."""


@dataclass(frozen=True)
class FeatureStores:
    """A data set and the stores that a run takes its features from."""

    table: Table
    stores: dict[str, Store]
    """By kind; `CROP` beside `context`, or instead of it, where a run uses the centre of the image."""

    def of(self, view: View) -> dict[str, Store]:
        """Return the stores of one view, by kind."""
        return stores_of_view(self.stores, view)


def stores_of_view(stores: Mapping[str, Any], view: View) -> dict[str, Any]:
    """Return the stores of one view, by kind.

    Args:
        stores: by kind, as `FeatureStores.stores`.
        view: the view.
    """
    chosen = {kind: store for kind, store in stores.items() if kind != CROP}
    if view.center_crop and CROP in stores:
        chosen["context"] = stores[CROP]
    return chosen


def find_features(
    cache: Path,
    dataset: str | None,
    named: Mapping[str, str | None],
    configs: Iterable[TrainConfig] = (TrainConfig(),),
) -> FeatureStores:
    """Find the stores of all kinds of feature of one data set.

    Args:
        cache: the cache folder.
        dataset: the data set's name there; None for the only one.
        named: store or encoder name by kind; None for the only one.
        configs: what is to be trained. A kind that none of them uses needs no store; a store that is there still
            decides which samples there are, so that all heads see the same ones. The scene is looked for only if one
            reads it.

    Raises:
        CacheError: a data set or store is missing, or must be named.
        ValueError: a scene is named, and nothing that is to be trained reads one.
    """
    configs = list(configs)
    table = find_table(cache, dataset)
    needed, wanted = set(), {"regions", "tokens"}
    for config in configs:
        context = CROP if config.center_crop else "context"
        wanted.add(context)
        needed |= {context if kind == "context" else kind for kind in config.inputs}
        wanted |= (config.inputs & {"scene"}) | config.optional
    if named.get("scene") is not None:
        if "scene" not in wanted:
            able = [head for head, spec in HEADS.items() if spec.can_read_scene]
            raise ValueError(
                f"scene_encoder: expected a head that reads the scene, {listed(able)}, and --scene where it does not do"
                f" so by default; got {listed(sorted({config.head for config in configs}))}"
            )
        needed.add("scene")
    stores = {}
    for name in [name for name in ("regions", "tokens", "context", CROP, "scene") if name in wanted]:
        kind = "context" if name == CROP else name

        def among(path: Path, centre: bool | None = {CROP: True, "context": False}.get(name)) -> bool:
            return centre is None or _centered(path) == centre

        there = filter(among, find_stores(table.folder, kind))
        if name not in needed and not any(map(_is_finished, there)):
            continue
        if name == CROP:
            stores[name] = _find_crop(table, named.get(kind))
        else:
            stores[name] = find_store(table.folder, kind, named.get(kind), among)
    if "tokens" in stores and any(config.head_config({}).has_table for config in configs):
        _check_token_ids(stores["tokens"])
    return FeatureStores(table, stores)


def _check_token_ids(store: Store) -> None:
    """Raise CacheError where features lack what a learned table is made of."""
    if "token_ids" in store.lacks:
        raise CacheError(
            f"{store.path.name} was imported without token ids, of which a head's learned table is made",
            expected="the id of each token in its tokenizer's vocabulary",
            next_step="train with --lexical 0, or import them again with --map token_ids=ARRAY",
        )


def _find_crop(table: Table, name: str | None) -> Store:
    """Return the store of context features of the image's centre; the error for none names the command to run."""
    paths = find_stores(table.folder, "context")
    if not any(_centered(path) for path in paths):
        words = ["itin", "extract", *options_of(table.dataset), "--cache", str(table.folder.resolve().parent)]
        words += ["--only", "context", "--context-encoder", f"resnet18{CENTER}"]
        for path in paths:
            if (seed := open_store(path).identity["weights"].get("random_init")) is not None:
                words += ["--random-init", str(seed)]
                break
        raise CacheError(
            f"no context features of the centre of the images in {table.folder}, which this reading needs",
            found=", ".join(path.name for path in paths) or "no context features",
            next_step=shlex.join(words),
        )
    named = [path for path in paths if _centered(path) and name is not None and _fits(path, "context", name)]
    return find_store(table.folder, "context", name if named else None, _centered)


def stores_of_run(run: Run, cache: Path | None = None) -> FeatureStores:
    """Return the data set and the stores that a run was trained on.

    Args:
        run: the run.
        cache: where the cache is now; None for where it was.

    Raises:
        CacheError: they are not there.
        RunError: they hold other features than the run was trained on, or the data set has none of its targets.
    """
    paths = {kind: Path(entry["path"]) for kind, entry in run.record["stores"].items()}
    if cache is not None:
        paths = {kind: cache / path.parent.name / path.name for kind, path in paths.items()}
    for kind, path in paths.items():
        if not path.is_dir() and kind in run.inputs:
            raise RunError(
                f"the {kind} features that the run {run.path} was trained on are gone",
                expected=str(path),
                next_step="name the cache folder with --cache, or run the same `itin extract` again",
            )
    stores = {kind: open_store(path) for kind, path in paths.items() if path.is_dir()}
    run.check_stores(stores)
    table = read_table(next(iter(paths.values())).parent)
    there = targets_of(table.dataset)
    if gone := [target.name for target in run.targets if target.name not in there]:
        raise RunError(
            f"the data set in {table.folder} does not have what the run {run.path} was trained on",
            expected=f"the target {gone[0]}",
            found=f"the targets {listed(list(there)) or 'none'}",
            next_step="name the run's own cache with --cache, or extract the data set with that target again",
        )
    return FeatureStores(table, stores)


def has_scene(folder: Path) -> bool:
    """Return whether there are finished features of the scene in the folder of a data set."""
    return any(map(_is_finished, find_stores(folder, "scene")))


def find_table(cache: Path, dataset: str | None = None) -> Table:
    """Return the table of the data set of that name, or of the only one in the cache.

    Raises:
        CacheError: none there, or several and none named.
    """
    names = sorted(path.parent.name for path in cache.glob("*/dataset.json"))
    if dataset is None and len(names) == 1:
        return read_table(cache / names[0])
    if dataset is None or dataset not in names:
        several = dataset is None and names
        raise CacheError(
            f"the cache {cache} holds several data sets"
            if several
            else f"no data set{f' {dataset}' if dataset else ''} in {cache}",
            expected="one named with --dataset" if several else "what `itin extract` writes",
            found=", ".join(names) or "nothing",
            next_step=f"add --dataset {names[0]}"
            if several
            else f"name one that is there, or run `itin extract --dataset {dataset}`"
            if names
            else "run `itin extract` first, or name --cache DIR",
        )
    return read_table(cache / dataset)


def find_store(
    folder: Path, kind: str, name: str | None = None, among: Callable[[Path], bool] = lambda path: True
) -> Store:
    """Return the store of a kind that is named, or the only one.

    Args:
        folder: the data set's folder in the cache.
        kind: `regions`, `tokens`, `context` or `scene`.
        name: the encoder's name, or the store's folder name, or the beginning of its fingerprint.
        among: whether a store may be chosen.

    Raises:
        CacheError: none, or several that fit.
    """
    paths = [path for path in find_stores(folder, kind) if among(path)]
    fitting = [path for path in paths if name is None or _fits(path, kind, name)]
    ready = [path for path in fitting if _is_finished(path)] or fitting
    if len(ready) == 1:
        return open_store(ready[0])
    found = ", ".join(path.name for path in (ready or paths)) or "none"
    if not ready:
        raise CacheError(
            f"no {kind} features{f' of {name}' if name else ''} in {folder}",
            found=found,
            next_step="run `itin extract` with that encoder, or name one of those that are there"
            if paths
            else f"run `itin extract {only(kind)}` for this data set",
        )
    raise CacheError(
        f"several stores hold {kind} features in {folder}",
        expected=f"one named with {OPTIONS[kind]}: its encoder, or its folder's name",
        found=found,
        next_step=f"add {OPTIONS[kind]} {ready[0].name}",
    )


def _is_finished(path: Path) -> bool:
    return (path / "manifest.json").exists()


def _centered(path: Path) -> bool:
    return path.name.removeprefix("context-").rpartition("-")[0].endswith(CENTER)


def _fits(path: Path, kind: str, name: str) -> bool:
    encoder, _, fingerprint = path.name.removeprefix(f"{kind}-").rpartition("-")
    clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return name == path.name or clean == encoder or (len(name) >= 4 and fingerprint.startswith(name))
