"""The options that `itin train`, `sweep` and `reproduce` share: features, protocol, computing and output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...fields import check, option
from ...itin_head.config import GRUS
from ...train.config import DUPLICATES, PRECISIONS, TrainConfig
from ...train.presets import fitted
from .options import usage_errors

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ...train.features.find import FeatureStores
    from ...train.protocols.protocol import Protocol


@dataclass(frozen=True, repr=False, eq=False)
class FeatureOptions:
    """The features of a run."""

    dataset: str | None = option(None, group="Data and split")
    """Name of the data set in the cache; may be left out if there is only one."""
    regions: str | None = option(None)
    """Which region features, where there are several: name of the encoder or the store."""
    text_encoder: str | None = option(None)
    """Which token features, where there are several."""
    context_encoder: str | None = option(None)
    """Which context features, where there are several."""
    scene_encoder: str | None = option(None)
    """Which scene features, where there are several, for heads that read them."""
    allow_missing: bool = False
    """Continue if more than 5% of the pairs have no features or no part."""
    cache: Path | None = option(None, metavar="DIR")
    """Cache folder; by default $ITIN_CACHE, else ~/.cache/itin/features."""

    def find(self, configs: Iterable[TrainConfig]) -> FeatureStores:
        """Return the stores that configurations need, by `train.features.find.find_features`."""
        from ...paths import cache_root
        from ...train.features.find import find_features

        named = {"regions": self.regions, "tokens": self.text_encoder, "context": self.context_encoder}
        named["scene"] = self.scene_encoder
        with usage_errors():
            return find_features(cache_root(self.cache), self.dataset, named, configs)

    def fitted(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return what a preset has another way on the data set, and what it is without, by `train.presets.fitted`."""
        from ...paths import cache_root
        from ...train.features.find import find_table, has_scene

        table = find_table(cache_root(self.cache), self.dataset)
        scene = self.scene_encoder is not None or has_scene(table.folder)  # one that is named and missing is an error
        return fitted(values, scene)


@dataclass(frozen=True, repr=False, eq=False)
class ProtocolOptions:
    """The protocol that splits samples into parts."""

    protocol: str | None = option(None, group="Data and split")
    """How samples become parts: itin-811 (the default), own (the data set's), clmlf, folds:K, agree or file:PATH."""
    split: Path | None = option(None)
    """Short for --protocol file:PATH."""
    group_duplicates: str | None = option(None, choices=DUPLICATES, alone="exact")
    """Keep equal texts and equal images in one part; stripped: texts without URLs and RT prefixes."""

    def __post_init__(self) -> None:
        check(self)
        if self.protocol is not None and self.split is not None:
            raise ValueError("--split is short for --protocol file:PATH: give one of them")

    def protocol_of(self) -> Protocol:
        """Return the protocol.

        Raises:
            ValueError: the protocol is unknown.
        """
        from ...train.protocols.protocol import Protocol

        if self.split is not None:
            return Protocol("file", path=self.split, duplicates=self.group_duplicates)
        return Protocol.parse("itin-811" if self.protocol is None else self.protocol, self.group_duplicates)


@dataclass(frozen=True, repr=False, eq=False)
class Computing:
    """The device, processes and precision of runs."""

    device: str = option("auto", group="Computing")
    """Where to compute: auto, cpu, cuda, cuda:1 or mps."""
    workers: int | None = option(None, least=1)
    """Processes; by default one per core, or one on a GPU."""
    threads: int = option(1, least=1)
    """Threads of each process."""
    stack: int | None = option(None, least=1)
    """Train that many runs side by side; by default as many as fit into memory on a GPU."""
    gru: str = option("auto", choices=GRUS)
    """How to compute the GRU; auto: the fastest way here."""
    precision: str = option("float32", choices=PRECISIONS)
    """Precision of matrix products in training; evaluation stays in float32."""
    cuda_graphs: bool | None = option(None, switch=True)
    """Run each training step as one CUDA graph; by default on a GPU, without dropout."""

    def __post_init__(self) -> None:
        check(self)

    def arguments(self, device: torch.device, gru: str) -> dict[str, Any]:
        """Return the arguments for `train.sweeps.run.run`, given the chosen device and GRU."""
        from ...parts import cores

        workers = self.workers or (max(1, cores() // self.threads) if device.type == "cpu" else 1)
        return {
            "workers": workers, "threads": self.threads, "stack": self.stack, "device": str(device), "gru": gru,
            "graphs": self.cuda_graphs, "precision": self.precision,
        }  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class OutputOptions:
    """The output of runs."""

    out: Path | None = option(None, metavar="DIR", group="Output")
    """Folder to write; by default a new one in ./runs."""
    tensorboard: Path | None = option(None, metavar="DIR")
    """Also write event files for TensorBoard there."""
