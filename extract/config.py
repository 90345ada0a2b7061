"""The options of stage one, without torch, so that the command line can show them at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..cache.format.schema import FLOATS, KINDS
from ..fields import Limits, check, option
from ..parts import Part
from .data.classes import parse_classes
from .data.datasets import ASPECTS, HF_FORM
from .data.datasets import KINDS as DATASETS_BY_NAME
from .data.sets.scores import parse_range
from .data.text_encoding import ENCODINGS
from .frcnn.recipe import RECIPES

EVERY = ("regions", "tokens", "context")
"""The kinds of feature that every extraction makes if it is not told which; `scene` is made where it is asked for."""

BACKENDS = ("itin", "detectron2")
"""The implementations of `vg-frcnn`: our own layers, or those of detectron2."""


@dataclass(frozen=True)
class EncoderConfig:
    """The options that decide the features; every store records them, so that a run can encode raw input alike."""

    regions: str = option("vg-frcnn", group="Encoders")
    """Region encoder: vg-frcnn, grid, grid-resnet18, grid-small or efficientnet-lite0; a detector or vision model by
    name or folder; or your own, module:Class."""
    text_encoder: str = option("bert-base-uncased")
    """Text encoder: minilm, or a model of texts by name (BERT, RoBERTa, DeBERTa-v3, CLIP ...), or a folder that holds
    one; or your own, module:Class."""
    context_encoder: str = option("resnet18")
    """Context encoder: resnet18, resnet18-center for the centre of the image, efficientnet-lite0, or
    efficientnet-lite0-stages for its inner layers; a vision model by name or folder; or your own, module:Class."""
    scene_encoder: str | None = option(None)
    """Scene encoder, a second context that some heads read beside the first: any context encoder; by default none."""
    max_regions: int = option(36, least=1)
    """Regions kept for each image, by descending score."""
    region_grid: str | None = option(None, metavar="RxC")
    """Pool the cells of a vision model to R rows and C columns of regions; by default every cell is a region, or
    3x3 with efficientnet-lite0."""
    max_tokens: int = option(100, least=1)
    """WordPieces kept for each text, without [CLS] and [SEP]."""
    text_normalize: str | None = option(None, choices=("tweet",))
    """How texts are changed before they are read: tweet makes @user of names and http of links, as models that were
    trained on tweets expect."""
    detector_weights: str | None = option(None, metavar="FILE")
    """Checkpoint of vg-frcnn; by default the one in $ITIN_WEIGHTS (~/.cache/itin/weights), else the hub's."""
    detector_recipe: str | None = option(None, choices=RECIPES)
    """Resizing, proposals and box arithmetic of vg-frcnn; by default those of the checkpoint's family, or hf for random
    weights."""
    detector_selection: str = option("original", choices=("original", "hf"))
    """How vg-frcnn chooses its boxes."""
    detector_backend: str = option("itin", choices=BACKENDS)
    """What computes vg-frcnn: our own layers, or those of detectron2, which must be installed then."""
    min_regions: int | None = option(None, least=0)
    """Regions that vg-frcnn and torchvision's detectors keep at least, where there are as many proposals; by default
    10, or all with the selection hf."""
    object_names: str | None = option(None, metavar="FILE")
    """Object names of vg-frcnn, one a line; by default objects_vocab.txt beside its checkpoint, if there."""
    attribute_names: str | None = option(None, metavar="FILE")
    """Attribute names of vg-frcnn; by default attributes_vocab.txt beside its checkpoint, if there."""
    random_init: int | str | None = option(None, metavar="SEED")
    """Use untrained encoders with random weights of this seed, of some kinds alone as in context=0,tokens=1; by default
    trained weights are required."""
    store_dtype: str = option("float16", choices=FLOATS, group="Output")
    """Dtype of the stored features."""
    compute_dtype: str = option("float32", choices=("float32", "bfloat16"), group="Computing")
    """Dtype of the encoders' arithmetic."""

    def __post_init__(self) -> None:
        check(self)
        kinds = EVERY if self.scene_encoder is None else tuple(KINDS)
        object.__setattr__(self, "random_init", _seeds(self.random_init, kinds))
        if self.region_grid is not None and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", self.region_grid):
            raise ValueError(f"region_grid: expected rows and columns such as 3x3, got {self.region_grid!r}")
        if self.min_regions is not None and self.min_regions > self.max_regions:
            raise ValueError(f"min_regions: expected at most max_regions = {self.max_regions}, got {self.min_regions}")

    def seed_of(self, kind: str) -> int | None:
        """Return the seed of the random weights of a kind's encoder; None: trained weights."""
        if isinstance(self.random_init, str):
            return dict(_seed_pairs(self.random_init)).get(kind)
        return self.random_init

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of `region_grid`."""
        if self.region_grid is None:
            return None
        rows, columns = self.region_grid.split("x")
        return int(rows), int(columns)


def _seeds(given: int | str | None, kinds: tuple[str, ...]) -> int | str | None:
    """Return `random_init` in its one form: a number, `kind=number` pairs in the order of `KINDS`, or None.

    Args:
        given: what was given.
        kinds: the kinds that there are encoders of.

    Raises:
        ValueError: it is neither.
    """
    text = str(given).strip() if isinstance(given, int | str) and not isinstance(given, bool) else ""
    if given is None or text.isdecimal():
        return None if given is None else int(text)
    try:
        pairs = _seed_pairs(text)
    except ValueError as error:
        raise ValueError(
            f"random_init: expected a seed, or KIND=SEED for some of {', '.join(KINDS)}, got {given!r}"
        ) from error
    seeds = dict(pairs)
    if set(kinds) <= set(seeds) and len(set(seeds.values())) == 1:
        return pairs[0][1]
    return ",".join(f"{kind}={seeds[kind]}" for kind in KINDS if kind in seeds)


def _seed_pairs(text: str) -> list[tuple[str, int]]:
    pairs = [part.strip().partition("=") for part in text.split(",")]
    kinds = [kind.strip() for kind, _, _ in pairs]
    if len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS) or not all(one.isdecimal() for *_, one in pairs):
        raise ValueError(text)
    return [(kind, int(seed)) for kind, (_, _, seed) in zip(kinds, pairs, strict=True)]


@dataclass(frozen=True)
class ExtractConfig:
    """One extraction: which data set, into which cache, with which encoders, and how."""

    dataset: str = option(choices=DATASETS_BY_NAME, form=HF_FORM, metavar="NAME", group="Data set")
    """Which data set; `folder` for your own with a table, `webdataset` for tar archives."""
    root: Path | None = option(None)
    """Folder of the data set; by default $ITIN_DATA/<dataset>. For `webdataset` the archives: a folder of .tar files,
    or a pattern such as 'data/{00000..00099}.tar'."""
    name: str | None = option(None)
    """Its name in the cache; by default the data set's, for `folder` the folder's with a short hash of its path."""
    table: Path | None = option(None)
    """For `folder`: its CSV, TSV, JSONL or Parquet table, if it holds several."""
    columns: dict[str, str] = field(default_factory=dict, metadata={"limits": Limits(metavar="id=ID,text=TWEET,...")})
    """For `folder` and `hf`: columns that have other names than id, image, text, label and score; for `webdataset` the
    names of text, label and score in .json; for `msed` and `memotion` label=NAME alone, the column of the label."""
    classes: str | None = option(None, metavar="NAME,...")
    """For all but MVSA: the classes, in their order; by default the data set's own; for `folder` those recorded
    before, else positive, neutral and negative, else all labels, by name."""
    min_class_size: int | None = option(None, least=1)
    """For your own data: leave rows unlabelled whose label has fewer rows; by default only labels of a single row."""
    ordered: bool | None = option(None, switch=True)
    """For your own data: the classes go from the least to the greatest, in the order of --classes or by name; by
    default as recorded before."""
    score_range: str | None = option(None, metavar="LO,HI")
    """For your own data: the least and the greatest score; by default what was recorded before, else those of the
    column."""
    allow_outside: bool = False
    """For `folder` and `hf`: accept images outside of the root."""
    aspect: str | None = option(None, choices=ASPECTS)
    """For `twitter-2015` and `twitter-2017`: how a text names the aspect that its label is about; by default pair: the
    text with $T$ in the aspect's place, [SEP] and the aspect."""
    labelled_only: bool = False
    """For MVSA: leave out the pairs that its label rule gives no label; other targets can be learnt from them."""
    encoding: str | None = option(None, choices=ENCODINGS)
    """For MVSA: what its text files are read as; by default as recorded before, else what fits their bytes."""
    cache: Path | None = option(None, group="Output")
    """Cache folder; by default $ITIN_CACHE, else ~/.cache/itin/features."""
    encoders: EncoderConfig = field(default_factory=EncoderConfig)
    """What decides the features."""
    only: tuple[str, ...] = option(EVERY, metavar="KIND,...", group="Encoders")
    """Kinds of feature to extract; with --scene-encoder also scene."""
    limit: int | None = option(None, least=1, group="Data set")
    """Extract only the first N samples; pairs that MVSA's label rule gives no label are extracted beside them, and do
    not count."""
    ids: Path | None = option(None, metavar="FILE")
    """Extract only the samples that this file lists, one id a line."""
    shard_size: int = option(128, least=1, group="Output")
    """Samples a shard; a kill loses at most one shard of work."""
    batch_size: int | None = option(None, least=1, group="Computing")
    """Images a batch; by default what suits each encoder."""
    workers: int | None = option(None, least=1)
    """Threads that decode images, of all devices together; by default one a core, at most 16."""
    device: str = option("auto")
    """Where to compute: auto, cpu, cuda, cuda:1 or mps; on several at once as in cuda:0,cuda:1, or all for all CUDA
    devices, with one process each."""
    retry_quarantined: bool = option(False, group="Data set")
    """Try samples again that are in quarantine."""
    part: Part | None = option(None, group="In parts")
    """Make only the shards of part i of N (i from 0), from the last scan's table, and write no manifest."""
    plan: bool = False
    """Only scan the data set, load the encoders and plan the shards: what parts start from."""
    into: str | None = option(None, metavar="NAME,...")
    """Fill only these stores, which were planned elsewhere."""
    consolidate: bool = False
    """Only verify that every shard is there and sound, and write the manifests."""

    def __post_init__(self) -> None:
        check(self)
        if self.classes is not None:
            parse_classes(self.classes)
        if self.score_range is not None:
            parse_range(self.score_range)
        if (self.part is not None) + self.plan + self.consolidate > 1:
            raise ValueError("--part, --plan and --consolidate exclude each other: choose one")
        if self.limit is not None and self.ids is not None:
            raise ValueError("--limit and --ids exclude each other: choose one")
        unknown = sorted(set(self.only) - set(KINDS))
        if unknown or not self.only:
            raise ValueError(f"only: expected some of {', '.join(KINDS)}, got {', '.join(unknown) or 'nothing'}")
        if self.encoders.scene_encoder is not None and self.only == EVERY:
            object.__setattr__(self, "only", (*EVERY, "scene"))
        if "scene" in self.only and self.encoders.scene_encoder is None:
            raise ValueError("only: scene has no encoder by default: name one, such as --scene-encoder resnet18")

    def to_record(self) -> dict[str, Any]:
        """Return the fields as JSON values, for `from_record`, all but `part`."""
        values = asdict(self)
        del values["part"]
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> ExtractConfig:
        """Return the configuration that `to_record` recorded.

        Raises:
            ValueError: a name is not a field, the data set is missing, or a value is wrong.
        """
        known = {one.name for one in fields(cls)} | {one.name for one in fields(EncoderConfig)}
        given = {**values, **values.get("encoders", {})}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"unknown fields: {', '.join(unknown)}")
        if "dataset" not in values:
            raise ValueError("dataset: expected a name, got none")
        own = dict(values)
        own |= {name: Path(own[name]) for name in ("root", "table", "cache", "ids") if own.get(name) is not None}
        own |= {"encoders": EncoderConfig(**own.get("encoders", {})), "only": tuple(own.get("only", EVERY))}
        return cls(**own)
