"""Keys of runs: a digest of all that a run's result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...itin_head.config import HeadConfig
from ...itin_head.registry import HEADS
from ...labels import LABELS
from ...targets import LABEL
from ..config import PARTED, STEPS, TrainConfig, scores_of
from ..lexicons.values import record_of
from ..protocols.split import Split

if TYPE_CHECKING:
    from ...cache import Table
    from ..features.features import Features

REVISION = 1
"""The revision of the keys, raised when a configuration changes its meaning: another default, another formula."""

_DEFAULTS = TrainConfig()
DIMS = {"regions": "region_dim", "tokens": "token_dim", "context": "context_dim", "scene": "scene_dim"}
"""The field of a head's configuration that holds the length of each kind of feature."""


def canonical(config: TrainConfig, dataset: str) -> TrainConfig:
    """Return the canonical form of a configuration: fields that it does not use have their default.

    Args:
        config: a recipe.
        dataset: the data set's name, which may decide the batch size.
    """
    config = replace(config, batch_size=config.batch_for(dataset))
    if config.effective_ablation == "only-context":
        config = replace(config, m=0, ablation="only-context")
    head, partner = config.head_config({}), config.beside
    settings = frozenset().union(*(each.settings for each in config.head_configs()))
    unused = {field.name for field in fields(HeadConfig)} - settings - {"head"}
    if "tokens" not in config.reads_of({}):
        unused |= {"keep_special"}
    if not head.reads_text:
        unused |= {"lexicons"}
    if "context" not in config.reads_of({}):
        unused |= {"center_crop"}
    if "regions" not in head.inputs and config.m:
        unused |= {"m"}
    unused |= set(STEPS) if HEADS[config.head].solved else set()
    if partner is None:
        unused |= {"partner"} if HEADS[config.head].solved else {"partner", "logistic_c"}
    if config.schedule != "step":
        unused |= {"lr_step", "lr_gamma"}
    recipe: dict[str, Any] = {field.name: field.default for field in fields(TrainConfig)}
    return replace(config, **{name: recipe[name] for name in unused & set(recipe)})


class Identity:
    """The keys of runs on the same features.

    A key depends on the recipe, the head's sizes, the classes, the samples with their labels and the digests of their
    inputs, the encoders that made the features (the stores' fingerprints), the lexicons and the parts, and on the names
    of the regions and the ends of sentences where the head reads them. It does not
    depend on the device, the threads, the way that the GRU is computed or the precision of products, which change
    results only by rounding and which every run records.

    Args:
        features: the features that are trained on.
        table: the data set's table.
        stores: `itin.cache.Store` by kind.
    """

    def __init__(self, features: Features, table: Table, stores: Mapping[str, Any]) -> None:
        self._ids, self._dims, self._dataset, self._stores = features.ids, features.dims, features.dataset, stores
        self._sentence_ends = features.sentence_ends
        self._names = {} if features.named is None else features.named.names
        self._columns = {name: features.column(name) for name in features.known}
        inputs: dict[str, list[str]] = {}
        for column in ("image_sha256", "text_sha256"):
            if column in table.samples:
                for sample, digest in zip(table.samples["id"], table.samples[column], strict=True):
                    inputs.setdefault(str(sample), []).append(str(digest))
        self._inputs = inputs
        self._samples: dict[tuple[str, ...], str] = {}
        self.samples = self.samples_of(tuple(features.known))
        """The digest of all samples with their targets and inputs."""

    def samples_of(self, targets: tuple[str, ...]) -> str:
        """Return a digest of the samples that have a value for some target, with their values and inputs."""
        if targets not in self._samples:
            columns = [self._columns[name] for name in targets]
            known = np.any([column.taught for column in columns], axis=0)
            first = columns[0].target
            # What was always learnt stays as it was, so that the keys of old runs do not change.
            named: list[list[object]] = []
            if targets != (LABEL,) or first.kind != "classes":
                named = [["target", json.dumps(column.target.to_dict(), sort_keys=True)] for column in columns]
            elif first.classes != LABELS:
                named = [["classes", *first.classes]]
            # `tolist` of numbers gives Python's, whose text is the shortest that is the same number.
            values = [column.values.tolist() for column in columns]
            values += [column.shares.tolist() for column in columns if column.shares is not None]
            self._samples[targets] = _digest(
                [
                    *named,
                    *(
                        [sample, *(each[row] for each in values), *self._inputs.get(sample, ())]
                        for row, sample in enumerate(self._ids)
                        if known[row]
                    ),
                ]
            )
        return self._samples[targets]

    def key(self, config: TrainConfig, split: Split) -> str:
        """Return the key of a run, 12 hexadecimal digits."""
        return self.of(config, self.parts(split))

    def parts(self, split: Split) -> str:
        """Return a digest of the parts."""
        return _digest(split.pairs(self._ids))

    def of(self, config: TrainConfig, parts: str) -> str:
        """Return the key of a run on these parts, for many runs on the same ones."""
        config = self._canonical(config)
        head, spec = config.head_config(self._dims), HEADS[config.head]
        inputs = config.reads_of(self._dims)
        # Whether the scene is read is said by its store; what then reads no region does not depend on their number.
        unsaid = {*PARTED, "scene", *(("m",) if head.reads_scene and "regions" not in inputs else ())}
        identity = {
            "revision": REVISION,
            # Fields at their default stay out, so that a new field does not change the keys of old runs; the parts
            # stand for the fields that decide them.
            "recipe": {
                name: value
                for name, value in config.to_dict().items()
                if name not in unsaid and value != getattr(_DEFAULTS, name)
            },
            "dims": {
                name: size for name, size in self._dims.items() if name in map(DIMS.get, inputs) or name in head.uses
            },
            "dataset": self._dataset,
            "samples": self.samples_of(config.targets),
            "stores": {kind: store.fingerprint for kind, store in self._stores.items() if kind in inputs},
            "parts": parts,
            **({"lexicons": record_of(config.lexicon_names)} if config.lexicon_names else {}),
            **({"head": spec.revision} if spec.revision > 1 else {}),
            **({"sentence_ends": self._sentence_ends} if "sentence_ends" in head.uses else {}),
            **({"names": _digest(self._names.items())} if spec.by_lexicon and "attributes" in head.uses else {}),
        }
        return _digest([[json.dumps(identity, sort_keys=True)]])[:12]

    def _canonical(self, config: TrainConfig) -> TrainConfig:
        """Return the canonical form of a configuration on these targets."""
        config = canonical(config, self._dataset)
        targets = [self._columns[name].target for name in config.targets]
        weights = "+".join(map(repr, config.weights))
        return replace(
            config,
            target="+".join(config.targets),
            target_weights=None if set(config.weights) == {1.0} else weights,
            loss=config.loss if any(target.is_number for target in targets) else _DEFAULTS.loss,
            select=None if config.select == scores_of(targets[0])[0] else config.select,
        )


def _digest(rows: Iterable[Iterable[object]]) -> str:
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(json.dumps(list(row), ensure_ascii=False).encode() + b"\n")
    return sha256.hexdigest()
