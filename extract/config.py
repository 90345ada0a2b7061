"""The options of stage one, without torch, so that the command line can show them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..cache.schema import FLOATS, KINDS
from ..parts import Part
from .frcnn.recipe import RECIPES

BACKENDS = ("itin", "detectron2")
"""What computes `vg-frcnn`: our own layers, or those of detectron2."""


@dataclass(frozen=True)
class EncoderConfig:
    """What decides the features; recorded with every store, so that a run can encode raw input the same way."""

    regions: str = "vg-frcnn"
    """Region encoder: `vg-frcnn`, `grid`, `grid-resnet18`, `grid-small`."""
    text_encoder: str = "bert-base-uncased"
    """Text encoder: the name of a BERT-like model or a folder that holds one."""
    context_encoder: str = "resnet18"
    """Context encoder: `resnet18`, or `resnet18-center` for the centre of the image."""
    max_regions: int = 36
    """Regions kept for each image, by descending score."""
    max_tokens: int = 100
    """WordPieces kept for each text, without [CLS] and [SEP]."""
    detector_weights: str | None = None
    """Checkpoint of the detector; None: the place that `itin weights` names."""
    detector_recipe: str | None = None
    """Resizing, proposals and box arithmetic of `vg-frcnn`: `caffe`, `airsplay`, `hf` or `d2`; None: the file's own, or
    `hf` for random weights."""
    detector_selection: str = "original"
    """How `vg-frcnn` chooses its boxes: `original` or `hf`."""
    detector_backend: str = "itin"
    """What computes `vg-frcnn`: `itin` or `detectron2`, which must be installed then."""
    min_regions: int | None = None
    """Regions that `vg-frcnn` keeps at least where there are as many proposals; None: 10 for the selection `original`,
    `max_regions` for `hf`."""
    object_names: str | None = None
    """File of the detector's object names, one a line; None: `objects_vocab.txt` beside its checkpoint, if there."""
    attribute_names: str | None = None
    """File of the detector's attribute names; None: `attributes_vocab.txt` beside its checkpoint, if there."""
    random_init: int | None = None
    """Seed of random weights for every encoder; None: trained weights are required."""
    store_dtype: str = "float16"
    """Dtype of stored features: `float16` or `float32`."""
    compute_dtype: str = "float32"
    """Dtype in which encoders compute: `float32` or `bfloat16`."""

    def __post_init__(self) -> None:
        if self.max_regions < 1 or self.max_tokens < 1:
            raise ValueError("max_regions and max_tokens must be at least 1")
        if self.min_regions is not None and not 0 <= self.min_regions <= self.max_regions:
            raise ValueError(f"min_regions must lie between 0 and max_regions, got {self.min_regions}")
        if self.detector_recipe is not None and self.detector_recipe not in RECIPES:
            raise ValueError(f"detector_recipe must be one of {', '.join(RECIPES)}, got {self.detector_recipe!r}")
        if self.detector_backend not in BACKENDS:
            raise ValueError(f"detector_backend must be one of {', '.join(BACKENDS)}, got {self.detector_backend!r}")
        if self.store_dtype not in FLOATS:
            raise ValueError(f"store_dtype must be one of {', '.join(FLOATS)}, got {self.store_dtype!r}")
        if self.compute_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"compute_dtype must be float32 or bfloat16, got {self.compute_dtype!r}")


@dataclass(frozen=True)
class ExtractConfig:
    """One extraction: which data set, into which cache, with which encoders, and how."""

    dataset: str
    """`mvsa-single`, `mvsa-multiple` or `folder`."""
    root: Path | None = None
    """The data set's folder; None: `$ITIN_DATA/<dataset>`."""
    name: str | None = None
    """Name of a folder data set in the cache; None: its folder's name with a short hash of its path."""
    table: Path | None = None
    """Table of a folder data set; None: the only one in its root."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which columns of the table are `id`, `image`, `text` and `label`, where they are named otherwise."""
    allow_outside: bool = False
    """Whether image paths of a table may lead out of its root."""
    encoding: str | None = None
    """What MVSA's text files are read as, `gb18030` or `utf-8`; None: what was decided before, else what fits."""
    cache: Path | None = None
    """Cache folder; None: `$ITIN_CACHE`, else a place under the user's cache folder."""
    encoders: EncoderConfig = field(default_factory=EncoderConfig)
    """What decides the features."""
    only: tuple[str, ...] = tuple(KINDS)
    """The kinds of feature to extract."""
    limit: int | None = None
    """Extract only the first so many samples of the plan."""
    shard_size: int = 128
    """Samples a shard; a kill loses at most one shard of work."""
    batch_size: int | None = None
    """Images a batch; None: what suits each encoder."""
    workers: int | None = None
    """Threads that decode images; None: one a core, at most 16."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    retry_quarantined: bool = False
    """Whether samples in quarantine are tried again."""
    part: Part | None = None
    """Which part of the shards to make, without a manifest; None: all, and the manifest."""
    plan: bool = False
    """Only scan, load the encoders and plan: what parts start from."""
    into: str | None = None
    """Names of the only stores that may be filled, with commas between: those that were planned elsewhere."""
    consolidate: bool = False
    """Only verify that every shard is there and sound, and write the manifests."""

    def __post_init__(self) -> None:
        if (self.part is not None) + self.plan + self.consolidate > 1:
            raise ValueError("part, plan and consolidate exclude one another: choose one")
        unknown = sorted(set(self.only) - set(KINDS))
        if unknown or not self.only:
            raise ValueError(f"only must name some of {', '.join(KINDS)}, got {', '.join(unknown) or 'nothing'}")
        for option in ("limit", "shard_size", "batch_size", "workers"):
            value: Any = getattr(self, option)
            if value is not None and value < 1:
                raise ValueError(f"{option} must be at least 1, got {value}")

    def to_record(self) -> dict[str, Any]:
        """Return the fields as JSON values, for `from_record`; which part of the work is not among them."""
        values = asdict(self)
        del values["part"]
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> ExtractConfig:
        """Return the configuration that `to_record` gave.

        Raises:
            ValueError: a name that is no field, a missing one, or a wrong value.
        """
        known = {one.name for one in fields(cls)} | {one.name for one in fields(EncoderConfig)}
        given = {**values, **values.get("encoders", {})}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        if "dataset" not in values:
            raise ValueError("dataset: expected a name, got none")
        own = dict(values)
        own |= {name: Path(own[name]) for name in ("root", "table", "cache") if own.get(name) is not None}
        own |= {"encoders": EncoderConfig(**own.get("encoders", {})), "only": tuple(own.get("only", KINDS))}
        return cls(**own)
