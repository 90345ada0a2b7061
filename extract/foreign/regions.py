"""The import of foreign region features into a data set's folder of the cache, as a store like any other."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import StoreWriter, Table
from ...cache.format.manifest import shard_sizes
from ...cache.format.shard_write import FeatureError
from ...cache.upkeep.remove import files_of, remove
from ...errors import DataError
from ...tabular.matching import MOST_LOST, Match, match
from ..data.samples import Rejected
from ..progress import Progress, SilentProgress
from .bua import READERS, ImageRegions

UNKNOWN = "a bottom-up-attention detector that was not named"
ROUNDING = 1e-3
"""Tolerance above 1 of a box's share of its image."""

SHAPE = 0.02
"""Tolerance between the aspect ratios of the features' image and the data set's, beside rounding to pixels."""


@dataclass(frozen=True)
class ImportSummary:
    """The outcome of one import."""

    path: Path
    records: int
    """Images in the source, readable or not."""
    made: int
    """Rows that are new in the store."""
    reused: int
    """Rows that were there before."""
    unscored: int
    """Stored rows without scores, which keep the order of the source."""
    scaled: int
    """Stored rows whose boxes were scaled to another image size."""
    shares: int
    """Stored rows whose boxes were shares of the image's width and height, between 0 and 1."""
    match: Match
    """Match of the data set's samples with those images of the source that can be used or are unknown."""
    rejected: list[Rejected]
    """Images that cannot be used, and why."""
    notes: dict[str, int]
    """Note on what was left out -> number of records."""


@dataclass(frozen=True)
class _SourceContents:
    """The contents of the source, as the first pass found them."""

    rows: dict[str, str]
    """Id -> digest of the data set's image, in the order of the source."""
    largest: int
    dim: int
    digest: str
    records: int
    shares: bool
    """Whether there are boxes between 0 and 1."""
    match: Match
    rejected: list[Rejected]


def import_regions(
    source: Path,
    form: str,
    table: Table,
    *,
    detector: str | None = None,
    max_regions: int | None = None,
    store_dtype: str = "float16",
    shard_size: int = 128,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Fill a `regions` store with features from `source`; rows that it holds already are not written again.

    A record belongs to the sample of the same id, and its row is that of the data set's present image, so that training
    finds it. Whether the features were made from the same file cannot be checked; boxes of an image of another size,
    and boxes that are shares of width and height, are scaled, and an image of another shape is rejected.

    Args:
        source: a folder, or a file.
        form: one of `READERS`.
        table: the data set.
        detector: a short description of the weights that made the features.
        max_regions: regions kept for each image; None: as many as the source has.
        store_dtype: `float16` or `float32`.
        shard_size: samples a shard.
        allow_missing: whether more than `MOST_LOST` of the samples may get no features.
        progress: receives the progress.

    Raises:
        DataError: the source has no such files, none of them belongs to the data set or can be used, or many samples
            get no features.
        CacheError: the store cannot be written.
        ValueError: an argument is out of range.
    """
    if form not in READERS:
        raise ValueError(f"features can be imported from {', '.join(READERS)}, not from {form!r}")
    if (max_regions is not None and max_regions < 1) or shard_size < 1:
        raise ValueError("max_regions and shard_size must be at least 1")
    source = source.expanduser().resolve()
    samples = {str(sample["id"]): sample for sample in table.samples.to_dict("records")}
    contents = _survey_source(source, form, samples, table)
    # Features that others made of MVSA are those of the pairs with a label.
    undecided = bool(table.dataset.get("undecided"))
    needed = {id for id, sample in samples.items() if not undecided or isinstance(sample["label"], str)}
    if len(needed.intersection(contents.match.ours)) > MOST_LOST * len(needed) and not allow_missing:
        raise DataError(
            f"{source} has no features for {len(contents.match.ours)} of {len(samples)} pairs of {table.folder.name}",
            expected=f"features that can be used for at least {1 - MOST_LOST:.0%} of them",
            found="; ".join([*outside(contents.match), *_reasons(contents.rejected)]),
            next_step="fix the ids or the files, or go on without these pairs: --allow-missing",
        )
    most = max_regions or max(contents.largest, 1)
    weights = {"imported": detector or UNKNOWN, "sha256": contents.digest}
    writer = StoreWriter(
        table.folder,
        {
            "kind": "regions",
            "name": form,
            "weights": weights,
            "preprocessing": {
                "order": "descending score where there are scores, else as in the source",
                **({"boxes": "those between 0 and 1 are shares of width and height"} if contents.shares else {}),
            },
            "dims": {"feature": contents.dim, "max_regions": most},
            "dtype": store_dtype,
        },
    )
    numbers = dict(zip(contents.rows, writer.extend(contents.rows.items(), shard_size), strict=True))
    waiting = {piece.block: set(piece.rows) for piece in writer.missing(numbers.values())}
    left = {row: block for block, rows in waiting.items() for row in rows}
    refused = writer.quarantined()
    reused = len(set(numbers.values()) - set(left) - set(refused))
    progress = progress or SilentProgress()
    progress.start("regions", len(numbers), len(numbers) - len(left))
    rejected, notes, finished = list(contents.rejected), Counter[str](), dict[int, dict[int, Any]]()
    rejected += [Rejected(id, refused[row]) for id, row in numbers.items() if row in refused]  # by an earlier import
    made = unscored = scaled = shares = 0
    for record in READERS[form](source):
        if isinstance(record, Rejected) or record.id not in numbers:
            continue
        row, sample = numbers.pop(record.id), samples[record.id]
        notes.update([record.note] if record.note else [])
        unscored += not record.scored
        scaled += (record.width, record.height) != (sample["width"], sample["height"])
        shares += _are_shares(record)
        if row not in left:
            continue
        block = left[row]
        try:
            finished.setdefault(block, {})[row] = writer.stored(_fitted(record, sample, most, contents.dim))
        except FeatureError as error:
            writer.quarantine(row, str(error))
            rejected.append(Rejected(record.id, str(error)))
        waiting[block].discard(row)
        if not waiting[block] and block in finished:
            made += writer.commit(block, finished.pop(block))
        progress.advance("regions", 1)
    for block, rows in finished.items():  # the source has shrunk since the first pass
        made += writer.commit(block, rows)
    if not made + reused:
        if not shard_sizes(writer.folder):  # it may hold features of the images as they were before
            remove(files_of(writer.folder), [writer.folder])
        raise DataError(
            f"no features in {source} can be used",
            expected="finite numbers that fit the store",
            found="; ".join(_reasons(rejected)),
            next_step="fix the features, and import them again",
        )
    provenance = {
        "options": None,  # no encoder here makes these features
        "imported": {
            "from": form,
            "source": str(source),
            "records": contents.records,
            "without_scores": unscored,
            "scaled_boxes": scaled,
            **({"boxes_as_shares": shares} if shares else {}),
            "left_out": dict(notes),
            "images": "matched by id; whether the features were made from the same image files was not checked",
        },
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "itin": version("itin"),
    }
    writer.finish(provenance)
    return ImportSummary(
        path=writer.folder,
        records=contents.records,
        made=made,
        reused=reused,
        unscored=unscored,
        scaled=scaled,
        shares=shares,
        match=contents.match,
        rejected=rejected,
        notes=dict(notes),
    )


def _survey_source(source: Path, form: str, samples: Mapping[str, Mapping[Any, Any]], table: Table) -> _SourceContents:
    """Read all of the source once, and return which samples it has, how many regions, and of what length."""
    rows: dict[str, str] = {}
    digest = hashlib.sha256()
    largest = dim = records = 0
    shares = False
    unknown: list[str] = []
    rejected: list[Rejected] = []
    for record in READERS[form](source):
        records += 1
        if isinstance(record, Rejected):
            rejected.append(record)
            continue
        digest.update(f"{record.id} {record.sha256}\n".encode())
        length = record.arrays["regions"].shape[1]
        if record.id not in samples:
            unknown.append(record.id)
        elif record.id in rows:
            rejected.append(Rejected(record.id, "occurs twice: the first is taken"))
        elif reason := _other_shape(record, samples[record.id]):
            rejected.append(Rejected(record.id, reason))
        elif dim and length and length != dim:
            rejected.append(Rejected(record.id, f"features of {length} values, those before have {dim}"))
        else:
            dim = dim or length
            largest = max(largest, len(record.arrays["scores"]))
            shares |= _are_shares(record)
            rows[record.id] = samples[record.id]["image_sha256"]
    met = match(samples, [*rows, *unknown])
    if not rows or not dim:
        raise DataError(
            f"no features in {source} belong to the data set {table.folder.name}",
            expected="file names or image ids that are ids of the data set",
            found="; ".join([*_reasons(rejected), *outside(met)]) or "nothing",
            next_step="fix the ids, or name the data set that they were made from with --dataset",
        )
    return _SourceContents(rows, largest, dim, digest.hexdigest(), records, shares, met, rejected)


def outside(met: Match) -> list[str]:
    """Return what only the data set or only the source has, and the likely cause, a line each."""
    return met.lines("pairs without features", "images of no pair of the data set")


def _reasons(rejected: list[Rejected]) -> list[str]:
    """Return the images that cannot be used, for a message."""
    listed = [*(f"{row.id}: {row.reason}" for row in rejected[:2]), *(["and so on"] if len(rejected) > 2 else [])]
    return [f"cannot be used: {len(rejected)} ({', '.join(listed)})"] if rejected else []


def _are_shares(record: ImageRegions) -> bool:
    """Return whether boxes are shares of width and height: in pixels, all would lie within the image's first pixel."""
    boxes = record.arrays["boxes"]
    return bool(
        boxes.size and boxes.min() >= 0 and 0 < boxes.max() <= 1 + ROUNDING and record.width * record.height > 1
    )


def _other_shape(record: ImageRegions, sample: Mapping[Any, Any]) -> str | None:
    """Return why the features' image cannot be the sample's at another size; None if it can."""
    wide, high = record.width * sample["height"], record.height * sample["width"]
    slack = max(record.width, record.height, sample["width"], sample["height"])  # half a pixel at either size
    if abs(wide - high) <= max(SHAPE * max(wide, high), slack):
        return None
    return (
        f"was made from an image of {record.width}x{record.height} pixels, the data set's has"
        f" {sample['width']}x{sample['height']}"
    )


def _fitted(record: ImageRegions, sample: Mapping[Any, Any], most: int, dim: int) -> dict[str, np.ndarray]:
    """Return the first regions, with boxes in pixels of the data set's image."""
    size = (1, 1) if _are_shares(record) else (record.width, record.height)
    factors = np.array([sample["width"] / size[0], sample["height"] / size[1]] * 2, np.float32)
    arrays = {name: array[:most] for name, array in record.arrays.items()}
    arrays["boxes"] = arrays["boxes"] * factors
    if not len(arrays["scores"]):
        arrays["regions"] = np.zeros((0, dim), np.float32)
    return arrays
