"""The survey of a data set: every entry is scanned and the table written, or the last scan is taken as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...cache import write_table
from ...cache.format.sealed_json import read_json
from ...cache.table import damaged_tables, read_lines
from ...errors import CacheError
from ...paths import cache_root
from ..config import ExtractConfig
from .classes import parse_classes
from .datasets import open_dataset
from .images import MAX_BYTES
from .samples import DataSet, Entry, Rejected, Sample
from .scan import Scan, scan
from .sets.scores import parse_range
from .streams.survey import as_recorded, last_survey_stream, survey_stream
from .text_encoding import TextEncoding


@dataclass(frozen=True)
class Survey:
    """A data set, its folder in the cache, and the scan of its entries."""

    dataset: DataSet
    folder: Path
    scan: Scan


def open_config(config: ExtractConfig) -> tuple[DataSet, Path]:
    """Return the data set of a configuration, and its folder in the cache; only the data set's table is read."""
    dataset = open_dataset(
        config.dataset,
        config.root,
        name=config.name,
        table=config.table,
        columns=config.columns or None,
        allow_outside=config.allow_outside,
        encoding=config.encoding,
        classes=None if config.classes is None else parse_classes(config.classes),
        min_class_size=config.min_class_size,
        aspect=config.aspect,
        labelled_only=config.labelled_only,
        ordered=config.ordered,
        score_range=None if config.score_range is None else parse_range(config.score_range),
        cache=cache_root(config.cache),
    )
    return dataset, cache_root(config.cache) / dataset.name


def survey(dataset: DataSet, folder: Path, workers: int, progress: Callable[[int], None]) -> Survey:
    """Scan every entry, and write the data set's table beside its stores."""
    if dataset.stream is not None:
        dataset, seen = survey_stream(dataset.stream, folder, _record, workers, progress)
        return Survey(dataset, folder, seen)
    known = {row["id"]: Sample(**row) for row in _lines(folder, "samples.jsonl")}
    seen = scan(_with_known_encoding(dataset, folder), known, workers, progress)
    dataset = dataset.read_as(seen.encoding.name)
    labelled = sum(sample.label is not None for sample in seen.samples)
    rejected = [asdict(row) for row in (*dataset.rejected, *seen.rejected)]
    record = _record(dataset, len(seen.samples), labelled, len(rejected), seen.encoding.note)
    write_table(folder, record, (sample.row for sample in seen.samples), rejected)
    return Survey(dataset, folder, seen)


def _record(dataset: DataSet, samples: int, labelled: int, rejected: int, note: str | None = None) -> dict[str, Any]:
    """Return the content of `dataset.json`."""
    return {
        "name": dataset.name,
        "source": dataset.source,
        "samples": samples,
        "labelled": labelled,
        "classes": list(dataset.classes),
        "targets": [target.to_dict() for target in dataset.all_targets],
        **({"rare": dataset.rare} if dataset.rare else {}),
        "dropped": dataset.dropped,
        **({"undecided": dataset.undecided} if dataset.undecided else {}),
        "quarantined": rejected,
        "texts": note,
    }


def last_survey(dataset: DataSet, folder: Path) -> Survey | None:
    """Return the survey that the last scan wrote, without reading any image or text file.

    Many parts of one extraction take it as it is: none of them repeats the scan, and all see the same samples.

    Returns:
        The survey; None when there is no table, or when it does not hold each of today's entries: another root, rows
        that were added or changed, entries that could not be read, images whose orientation was not read.
    """
    dataset = _with_known_encoding(dataset, folder)
    record = read_json(folder / "dataset.json") if (folder / "dataset.json").exists() else {}
    if record.get("source") != dataset.source:
        return None
    if dataset.stream is not None:
        found = last_survey_stream(dataset.stream, folder, record)
        return None if found is None else Survey(as_recorded(dataset, record), folder, found)
    samples = {row["id"]: Sample(**row) for row in _lines(folder, "samples.jsonl")}
    rejected = {row["id"]: Rejected(**row) for row in _lines(folder, "quarantine.jsonl")}
    kept: list[Sample] = []
    refused: list[Rejected] = []
    for entry in dataset.entries:
        if entry.id in samples and _same(entry, samples[entry.id]):
            kept.append(samples[entry.id])
        elif entry.id in rejected and entry.id not in samples:
            refused.append(rejected[entry.id])
        else:
            return None
    return Survey(dataset, folder, Scan(kept, refused, [], TextEncoding(dataset.encoding, record.get("texts"))))


def _lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of the table of before, none where it is damaged: it is about to be written anew."""
    return [] if damaged_tables(folder) else read_lines(folder / name)


def _with_known_encoding(dataset: DataSet, folder: Path) -> DataSet:
    """Return the data set with the encoding decided or given for the same texts before, unless one is given now."""
    try:
        before = read_json(folder / "dataset.json").get("source") or {} if (folder / "dataset.json").exists() else {}
    except CacheError:  # the table is about to be written anew
        before = {}
    if dataset.encoding is not None or before.get("root") != dataset.source["root"]:
        return dataset
    return dataset.read_as(before.get("encoding"))


def _same(entry: Entry, sample: Sample) -> bool:
    names = ("label", "text_label", "image_label", "part", "targets", "within")
    text = not isinstance(entry.text, str) or entry.text.strip() == sample.text
    read = text and sample.orientation > 0
    return read and entry.image == Path(sample.image) and all(getattr(entry, n) == getattr(sample, n) for n in names)


def has_changed(sample: Sample) -> bool:
    """Return whether an image's file is no longer the one that was scanned, by its size and modification time.

    Raises:
        BadFile: it is missing.
        TransientError: its status could not be read this time.
    """
    return sample.locator.status(MAX_BYTES) != (sample.image_bytes, sample.image_mtime_ns)
