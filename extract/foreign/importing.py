"""The import of features that other tools made into a data set's folder of the cache, as a store like any other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import StoreWriter, Table
from ...cache.format.manifest import shard_sizes
from ...cache.format.schema import FLOATS, KINDS
from ...cache.format.shard_write import FeatureError
from ...cache.upkeep.remove import files_of, remove
from ...errors import DataError
from ...tabular.matching import MOST_LOST, Match
from ..data.samples import Rejected
from ..progress import Progress, SilentProgress
from .boxes import are_shares, in_pixels, is_scaled
from .forms.registry import FORMS, Form
from .naming import check_map, names_of
from .pairing import BY, Pairing
from .reading import records
from .record import Asked, Record
from .survey import SourceContents, check_used, outside, reasons, survey

UNKNOWN = "a bottom-up-attention detector that was not named"
UNNAMED = "an encoder that was not named"


@dataclass(frozen=True)
class ImportOptions:
    """How features are imported."""

    kind: str = "regions"
    """The kind of feature."""
    map: dict[str, str] = field(default_factory=dict)
    """Our names of arrays -> those in the source."""
    ids: Path | None = None
    """A file with the ids of the rows: one a line, or an array in .npy."""
    by: str | None = None
    """What the source's names are: `id`, or `text`; by default what the form has."""
    name: str | None = None
    """The name of the store; by default that of the form."""
    encoder: str | None = None
    """A short description of what made the features."""
    max_regions: int | None = None
    """Regions kept for each image; by default as many as the source has."""
    store_dtype: str | None = None
    """`float16` or `float32`; by default float16 for the bottom-up-attention family, else as in the source."""
    shard_size: int = 128
    """Samples a shard."""
    allow_missing: bool = False
    """Whether many of the samples may get no features."""

    def __post_init__(self) -> None:
        if (self.max_regions is not None and self.max_regions < 1) or self.shard_size < 1:
            raise ValueError("max_regions and shard_size must be at least 1")
        for name, value, allowed in (
            ("kind", self.kind, tuple(KINDS)),
            ("by", self.by, (None, *BY)),
            ("store_dtype", self.store_dtype, (None, *FLOATS)),
        ):
            if value not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(filter(None, allowed))}, got {value!r}")


@dataclass(frozen=True)
class ImportSummary:
    """The outcome of one import."""

    path: Path
    records: int
    """Samples in the source, readable or not."""
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
    checked: int
    """Rows whose source names the digest of the image or text that they were made from: the data set's."""
    match: Match
    """Match of the data set's samples with those of the source that can be used or are unknown."""
    rejected: list[Rejected]
    """Samples that cannot be used, and why."""
    notes: dict[str, int]
    """Note on what was left out -> number of records."""
    lacks: tuple[str, ...] = ()
    """Arrays that the source does not have for all samples, and that were filled in."""


def import_features(
    source: Path,
    form: str,
    table: Table,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> ImportSummary:
    """Fill a store with features from `source`; rows that it holds already are not written again.

    A record belongs to the sample of the same id (or image, or text), and its row is that of the data set's present
    input, so that training finds it. Where the source names the input's digest it is compared; elsewhere it cannot be
    known whether the features were made from the same file. Boxes of an image of another size, and boxes that are
    shares of width and height, are scaled, and an image of another shape is rejected.

    Args:
        source: a folder, or a file.
        form: one of `FORMS`.
        table: the data set.
        options: how to import; the defaults take regions.
        progress: receives the progress.

    Raises:
        DataError: the source has no such files, none of them belongs to the data set or can be used, or many samples
            get no features.
        CacheError: the store cannot be written.
        ValueError: an argument is out of range.
    """
    options = options or ImportOptions()
    if form not in FORMS:
        raise ValueError(f"features can be imported from {', '.join(FORMS)}, not from {form!r}")
    known = FORMS[form]
    if known.kinds and options.kind not in known.kinds:
        raise ValueError(f"{form} holds {', '.join(known.kinds)}, not {options.kind}: name the kind with --kind")
    names = {name: theirs for name, theirs in known.map.items() if name in names_of(options.kind)}
    asked = Asked(options.kind, {**names, **options.map}, options.ids and options.ids.expanduser().resolve())
    check_map(asked)
    source = source.expanduser().resolve()
    pairing = Pairing(table, options.kind, options.by or known.by)
    contents = survey(records(source, known, asked), options.kind, pairing)
    check_used(contents, source, table.folder.name)
    _check_many(contents, source, table, pairing, options)
    writer = StoreWriter(table.folder, _identity(known, contents, options))
    return _Import(writer, contents, pairing, options).run(source, known, asked, progress or SilentProgress())


def _check_many(contents: SourceContents, source: Path, table: Table, pairing: Pairing, options: ImportOptions) -> None:
    """Raise DataError where too many of the samples that are trained on get no features."""
    # Features that others made of MVSA are those of the pairs with a label.
    undecided = bool(table.dataset.get("undecided"))
    needed = {id for id, sample in pairing.samples.items() if not undecided or isinstance(sample["label"], str)}
    lost = contents.match.ours
    if len(needed.intersection(lost)) > MOST_LOST * len(needed) and not options.allow_missing:
        raise DataError(
            f"{source} has no features for {len(lost)} of {len(pairing.samples)} pairs of {table.folder.name}",
            expected=f"features that can be used for at least {1 - MOST_LOST:.0%} of them",
            found="; ".join([*outside(contents.match, contents.kind), *reasons(contents.rejected)]),
            next_step="fix the ids or the files, or go on without these pairs: --allow-missing",
        )


def _identity(form: Form, contents: SourceContents, options: ImportOptions) -> dict[str, Any]:
    """Return the identity of the store: what the features are by the digest of all that was read."""
    family = form.kinds == ("regions",)  # of bottom-up attention, whose stores are named as ever
    preprocessing: dict[str, Any] = {}
    dims = {"feature": contents.dim}
    if KINDS[options.kind][0].axis == "region":
        preprocessing["order"] = "descending score where there are scores, else as in the source"
        dims["max_regions"] = options.max_regions or max(contents.largest, 1)
        if contents.shares:
            preprocessing["boxes"] = "those between 0 and 1 are shares of width and height"
    if contents.lacks:
        preprocessing["lacks"] = sorted(contents.lacks)
    as_in_source = "float16" if family or contents.half else "float32"
    return {
        "kind": options.kind,
        "name": options.name or form.name,
        "weights": {"imported": options.encoder or (UNKNOWN if family else UNNAMED), "sha256": contents.digest},
        "preprocessing": preprocessing,
        "dims": dims,
        "dtype": options.store_dtype or as_in_source,
    }


class _Import:
    """The second pass: what the first one found is written, block by block."""

    def __init__(self, writer: StoreWriter, contents: SourceContents, pairing: Pairing, options: ImportOptions) -> None:
        self._writer, self._contents, self._pairing, self._options = writer, contents, pairing, options
        rows = contents.rows
        self._numbers = dict(zip(rows, writer.extend(rows.items(), options.shard_size), strict=True))
        self._waiting = {piece.block: set(piece.rows) for piece in writer.missing(self._numbers.values())}
        self._left = {row: block for block, rows in self._waiting.items() for row in rows}
        self._finished: dict[int, dict[int, Any]] = {}
        self._rejected, self._notes = list(contents.rejected), Counter[str]()
        refused = writer.quarantined()  # by an earlier import
        self._rejected += [Rejected(id, refused[row]) for id, row in self._numbers.items() if row in refused]
        self._reused = len(set(self._numbers.values()) - set(self._left) - set(refused))
        self._made = self._unscored = self._scaled = self._shares = self._checked = 0

    def run(self, source: Path, form: Form, asked: Asked, progress: Progress) -> ImportSummary:
        progress.start(asked.kind, len(self._numbers), len(self._numbers) - len(self._left))
        failed = {}
        for record in records(source, form, asked):
            if isinstance(record, Rejected):
                failed[record.id] = record.reason
            else:
                for id in self._pairing(record.id):
                    if id in self._numbers:
                        self._take(record, id, progress)
        for block, rows in self._finished.items():  # the source has shrunk since the first pass
            self._made += self._writer.commit(block, rows)
        for id, row in self._numbers.items():
            if row in self._left:
                why = failed.get(id, "it is gone or has changed")
                self._rejected.append(Rejected(id, f"could not be read a second time: {why}"))
        if not self._made + self._reused:
            self._nothing(source)
        self._writer.finish(self._provenance(source, form))
        return ImportSummary(
            path=self._writer.folder,
            records=self._contents.records,
            made=self._made,
            reused=self._reused,
            unscored=self._unscored,
            scaled=self._scaled,
            shares=self._shares,
            checked=self._checked,
            match=self._contents.match,
            rejected=self._rejected,
            notes=dict(self._notes),
            lacks=tuple(sorted(self._contents.lacks)),
        )

    def _take(self, record: Record, id: str, progress: Progress) -> None:
        if record.sha256 != self._contents.digests[id]:
            return  # another of the same name, or the source has changed: its rows stay missing
        row, sample = self._numbers.pop(id), self._pairing.samples[id]
        self._notes.update([record.note] if record.note else [])
        self._checked += bool(record.input)
        if KINDS[self._options.kind][0].axis == "region":
            self._unscored += not record.scored
            self._scaled += is_scaled(record, sample)
            self._shares += are_shares(record)
            record = replace(record, arrays=self._fitted(record, sample))
        if row not in self._left:
            return
        block = self._left[row]
        try:
            self._finished.setdefault(block, {})[row] = self._writer.stored(record.arrays)
        except FeatureError as error:
            self._writer.quarantine(row, str(error))
            self._rejected.append(Rejected(id, str(error)))
        self._waiting[block].discard(row)
        if not self._waiting[block] and block in self._finished:
            self._made += self._writer.commit(block, self._finished.pop(block))
        progress.advance(self._options.kind, 1)

    def _fitted(self, record: Record, sample: Mapping[Any, Any]) -> dict[str, np.ndarray]:
        """Return the first regions, with boxes in pixels of the data set's image."""
        dims = self._writer.identity["dims"]
        arrays = {**record.arrays, "boxes": in_pixels(record, sample)}
        arrays = {name: array[: dims["max_regions"]] for name, array in arrays.items()}
        if not len(arrays["scores"]):
            arrays["regions"] = np.zeros((0, dims["feature"]), np.float32)
        return arrays

    def _nothing(self, source: Path) -> None:
        folder = self._writer.folder
        if not shard_sizes(folder):  # it may hold features of the images as they were before
            remove(files_of(folder), [folder])
        raise DataError(
            f"no features in {source} can be used",
            expected="finite numbers that fit the store",
            found="; ".join(reasons(self._rejected)),
            next_step="fix the features, and import them again",
        )

    def _provenance(self, source: Path, form: Form) -> dict[str, Any]:
        told = "matched by id; whether the features were made from the same image files was not checked"
        if self._checked:
            told = f"matched by id; {self._checked} by the digest of their image or text too"
        return {
            "options": None,  # no encoder here makes these features
            "imported": {
                "from": form.name,
                "source": str(source),
                "records": self._contents.records,
                "without_scores": self._unscored,
                "scaled_boxes": self._scaled,
                **({"boxes_as_shares": self._shares} if self._shares else {}),
                **({"map": self._options.map} if self._options.map else {}),
                "left_out": dict(self._notes),
                "images": told,
            },
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "itin": version("itin"),
        }
